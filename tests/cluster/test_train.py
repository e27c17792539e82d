"""Runs on Ray Train: the bits of a run without Ray, two workers, and what a kill leaves.

That sharded weights are those of whole ones is `tests/unit/training/distributed/test_fsdp.py`'s.
"""

import json
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from fresh_process import FreshProcess
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, TrainingError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store import Store
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import train_run
from kinesweep.training.run_records.result import RunSpec, read_run_result
from ranks import run_ranks
from sweeping import KilledLog, TimedLog

ROOT = Path(__file__).resolve().parents[2]
TRAIN = """
import json, sys
from pathlib import Path
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
train_run(RunSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3])), NullRunLogger(), lambda _: True)
"""
RANKS = """
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.loop.run import RunSpec, train_run
recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
spec = RunSpec(recipe, Path(sys.argv[2]), Path(sys.argv[3]))
print(json.dumps(train_run(spec, NullRunLogger(), lambda _: True).weights_sha256))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def recipe(corpus: Path) -> Recipe:
    return tiny_recipe(corpus, corpus.parent / "stores")


@pytest.fixture(scope="module")
def store(recipe: Recipe) -> Store:
    return tiny_store(recipe)


@pytest.mark.slow
def test_what_a_worker_refuses_is_raised_here(
    recipe: Recipe, store: Store, tmp_path: Path, cluster: None
) -> None:
    """That Ray changes no bit of a run: `test_pool.py`."""
    spec = RunSpec(recipe, store.folder, tmp_path / "run", full_decoding=False)
    train_run(spec, NullRunLogger(), lambda _: True)
    handler = signal.getsignal(signal.SIGINT)
    refused, killed = tmp_path / "refused.jsonl", tmp_path / "killed.jsonl"
    with pytest.raises(CheckpointError, match="another run"):
        train_on_ray(
            RunSpec(recipe.with_seed(9), store.folder, tmp_path / "run"), partial(TimedLog, refused)
        )
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(refused.read_text().splitlines()) == 1, "what is refused once is not tried again"
    with pytest.raises(TrainingError, match="killed twice"):
        train_on_ray(RunSpec(recipe, store.folder, tmp_path / "other"), partial(KilledLog, killed))
    assert len(killed.read_text().splitlines()) == 2
    assert read_run_result(tmp_path / "other") is None


@pytest.mark.slow
def test_two_sharded_workers_count_every_clip_once(
    corpus: Path, store: Store, tmp_path: Path, cluster: None
) -> None:
    """And have the bits of the same run in two processes without Ray."""
    cut = tiny_recipe(
        corpus, corpus.parent / "stores", training={"fsdp": True}, resources={"workers": 2}
    )
    (tmp_path / "cut.json").write_text(cut.model_dump_json())
    sharded = train_on_ray(RunSpec(cut, store.folder, tmp_path / "ray"))
    assert (sharded.status, sharded.step) == ("finished", 12)
    lines = (tmp_path / "ray/predictions/validation.tsv").read_text().splitlines()[1:]
    assert len(lines) == len(store.get_records("validation"))
    ids = [line.split("\t")[0] for line in lines]
    assert len(set(ids)) == len(ids)
    words = [str(tmp_path / "cut.json"), str(store.folder), str(tmp_path / "ranks")]
    assert run_ranks(RANKS, words, 2) == [sharded.weights_sha256] * 2
    assert sharded.weights_sha256 != ""


def kill_and_go_on(recipe: Recipe, store: Store, folder: Path, kills: int, seed: int) -> int:
    """Runs a run in processes of its own, killed at random moments. Returns kills that hit."""
    draw = random.Random(seed)
    asked = folder.with_suffix(".recipe.json")
    asked.write_text(recipe.model_dump_json())
    words = [str(asked), str(store.folder), str(folder)]
    hits = 0
    while hits < kills:
        process = FreshProcess(TRAIN, words)
        saving = folder / "checkpoints"
        before = len(list(saving.glob("*"))) if saving.exists() else 0
        give_up = time.monotonic() + 120
        # Half of the kills wait for a checkpoint that is just being written.
        while process.is_alive() and time.monotonic() < give_up:
            now = len(list(saving.glob("*"))) if saving.exists() else 0
            if now != before:
                break
            time.sleep(0.002)
        time.sleep(draw.choice([0.0, 0.0, 0.005, 0.02, 0.1, 0.3]))
        if not process.is_alive():
            break
        process.kill()
        hits += 1
    done = FreshProcess(TRAIN, words).wait(300)
    assert done.returncode == 0, done.stderr
    return hits


@pytest.mark.parametrize(("kills", "seed"), [(3, 0), pytest.param(10, 1, marks=pytest.mark.proof)])
def test_killed_and_resumed_is_uninterrupted(
    corpus: Path, store: Store, tmp_path: Path, kills: int, seed: int
) -> None:
    changes = {"max_steps": 16 * kills, "eval_steps": 8}
    recipe = tiny_recipe(corpus, corpus.parent / "stores", training=changes)
    whole = train_run(
        RunSpec(recipe, store.folder, tmp_path / "whole"), NullRunLogger(), lambda _: True
    )
    hits = kill_and_go_on(recipe, store, tmp_path / "killed", kills, seed)
    assert hits == kills
    again = read_run_result(tmp_path / "killed")
    assert again is not None
    assert again.weights_sha256 == whole.weights_sha256
    assert (again.step, again.samples, again.scores) == (whole.step, whole.samples, whole.scores)
    rows = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert rows[0] == rows[1]
    steps = [json.loads(r)["step"] for r in rows[0].splitlines() if "bleu" in json.loads(r)]
    assert steps == list(range(8, 16 * kills + 1, 8))
