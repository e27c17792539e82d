# Every target makes the virtual environment first when it is missing or out of date.
# Numbers in comments were measured on 2 cores; see LOG.md.
SHELL  := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# `nproc` believes OMP_NUM_THREADS, which is one here.
CORES  ?= $(shell env -u OMP_NUM_THREADS nproc)
# One more process than cores: tests that start Ray or a server wait for it half of their time.
# Tests that share what they made stay in one process (tests/conftest.py); Ray's, the longest, go first.
WORKERS ?= $(shell expr $(CORES) + 1)
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
PYTEST := $(BIN)/pytest -q --instafail -n $(WORKERS) --no-loadscope-reorder
ALL    := tests/cluster tests/real tests/browser tests/unit tests/conformance tests/golden
ALIGN   ?= jobs/recipes/sample_align.yaml
TRANSLATE ?= jobs/recipes/sample.yaml
SEEDS   ?= 1,2,3
export OMP_NUM_THREADS := 1
export RAY_DATA_DISABLE_PROGRESS_BARS := 1
# Hundreds of processes import the package; without bytecode each compiles it anew.
export PYTHONDONTWRITEBYTECODE :=
# Environments that tests make are used once or twice.
export PIP_NO_COMPILE := 1

# docker, podman or buildah; default: the first that works.
BUILDER ?=
DEVICE  ?= cpu

.PHONY: wheel image submit-elsewhere sweep install bench throughput alignment soak proofs defects fuzz gpu four-bits memory unit test test-all browser check lint up down ui constraints clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)) and "Kinesweep needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	@# Python's own pip of 2023 takes 132 s of CPU for all below, pip 26 takes 67.
	$(PIP) --upgrade 'pip>=26'
	$(PIP) torch==2.13.0
	$(PIP) -e '.[dev]'
	@# pip would compile on one core. Some packages hold files that are not meant to compile.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@touch $@

sweep: $(STAMP)  ## the whole path on an embedded corpus: extract, search, finals, test, export
	$(BIN)/kinesweep sample .kinesweep/sample --keep
	$(BIN)/kinesweep up
	$(BIN)/kinesweep submit search_spaces/sample.yaml --resume

up: $(STAMP)  ## local Ray and MLflow, on loopback
	$(BIN)/kinesweep up

down: $(STAMP)  ## stop what `up` started
	$(BIN)/kinesweep down

install: $(STAMP)  ## the virtual environment

unit: $(STAMP)  ## single modules, without Ray and without whole training runs
	$(BIN)/pytest tests/unit tests/conformance -m 'not integration and not slow and not proof' -n $(CORES) -q

test: $(STAMP)  ## what a change must pass: all but slow tests
	$(PYTEST) $(ALL) -m 'not slow and not proof' --durations=8

test-all: lint  ## everything but proofs, as CI runs it
	$(PYTEST) $(ALL) -m 'not proof and not gpu' --durations=30

ui: $(STAMP)  ## start MLflow if it does not run, print links to all sweeps
	$(BIN)/kinesweep ui

wheel: $(STAMP)  ## dist/kinesweep-VERSION.whl, with the recipes and search spaces
	@# Files that are gone from the sources would be taken from an earlier build.
	rm -rf build/lib build/bdist.* dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

image:  ## image of jobs/cluster/Dockerfile: DEVICE=cpu or cuda, BUILDER=docker, podman or buildah; CHECK=1 runs it
	@BUILDER="$(BUILDER)" BASE="$(BASE)" CHECK="$(CHECK)" jobs/cluster/build_image.sh $(DEVICE) $(IMAGE_ARGS)

submit-elsewhere: $(STAMP)  ## a sweep submitted to a Ray head whose environment has no Kinesweep
	$(BIN)/pytest tests/cluster/test_submit_elsewhere.py -v -rP

bench: $(STAMP)  ## seconds from one trial to the next: warm slots beside stock Ray
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/trial_start.py

throughput: $(STAMP)  ## samples a second of a whole `kinesweep train`, and its padding
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/throughput.py $(CORPUS)

alignment: $(STAMP)  ## translation with and without the alignment stage: ALIGN=recipe TRANSLATE=recipe SEEDS=1,2,3
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/alignment_stage.py $(ALIGN) $(TRANSLATE) --seeds $(SEEDS) $(ARGS)

soak: $(STAMP)  ## drivers, workers, slots, nodes of whole sweeps killed five times each; MLflow away for a minute
	KINESWEEP_KILLS=5 $(BIN)/pytest tests/cluster/test_kills.py tests/cluster/test_pool.py -k kill -v
	KINESWEEP_AWAY_S=60 $(BIN)/pytest tests/cluster/test_submit.py -k tracking -v

proofs: $(STAMP)  ## what takes minutes and has a short form in test-all: simulations, learning, kills, costs
	$(BIN)/pytest tests/unit tests/real tests/cluster/test_tracking_load.py -m proof -n $(CORES) -v -rP
	$(BIN)/pytest tests/cluster --ignore=tests/cluster/test_tracking_load.py -m proof -v -rP

defects: $(STAMP)  ## known defects planted one by one in a copy: each must turn a test red
	$(BIN)/python tests/defects/plant.py

fuzz: $(STAMP)  ## 5,000 mutated inputs over all readers: read or refused, in 2 s and 1 GB
	PYTHONPATH=tests $(BIN)/python tests/fuzz/fuzz_readers.py

gpu: $(STAMP)  ## what needs a CUDA GPU: QLoRA of a billion weights, and its peak memory
	$(BIN)/pytest tests -m gpu -v -rP

four-bits: $(STAMP)  ## QLoRA: tiny on a CPU; on a GPU of a billion weights, and its peak memory
	$(BIN)/pytest tests/unit/training/test_four_bits.py -q -rPs

memory: $(STAMP)  ## memory of an hour of film, and over 10,000 short clips
	KINESWEEP_MEMORY_CLIPS=10000 $(BIN)/pytest tests/unit/store/test_video_memory.py -m proof -v -rP

browser: $(STAMP)  ## the report and MLflow's pages in Chromium; pictures in build/screenshots
	$(BIN)/pytest tests/browser -q

lint: $(STAMP)  ## format, lint, types, floors
	$(BIN)/ruff format --check platform tests jobs
	$(BIN)/ruff check platform tests jobs
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint unit  ## the quick half of what a change must pass

constraints:  ## renew constraints.txt from a fresh environment
	rm -rf build/fresh && $(PYTHON) -m venv build/fresh
	build/fresh/bin/pip install --quiet torch==2.13.0
	build/fresh/bin/pip install --quiet torch==2.13.0 -e '.[dev,qlora]'
	{ grep '^#' constraints.txt; build/fresh/bin/pip freeze --exclude-editable | sed 's/+cpu//' \
	  | grep -viE '^(pip|setuptools|wheel)='; } > build/constraints.txt
	mv build/constraints.txt constraints.txt && rm -rf build/fresh

clean:  ## remove the virtual environment and caches; state in .kinesweep stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache platform/*.egg-info
