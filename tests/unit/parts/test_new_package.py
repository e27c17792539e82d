"""Packages that `kinesweep new` writes: found, green, swept over, exported, and missed by name.

A package with an encoder, a source, a metric and a loss each, installed by pip into a folder of its
own, as somebody else's environment would have them.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinesweep as ks
from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.parts import PART_GROUPS
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.export.bundle import export_bundle
from kinesweep.scaffolding import ROLES, write_part_package
from kinesweep.store.extraction.build import extract_locally
from kinesweep.sweeps.feature_stores import FeatureStores
from kinesweep.sweeps.job_factory import JobFactory
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.space.loading import apply_overrides
from once import made_once
from sweeping import Here, Lab

pytestmark = pytest.mark.integration

SWEPT = ("encoder", "source", "metric", "loss")
TESTS = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join(map(str, [TESTS.parent / "platform", TESTS]))
EDITS = {
    "encoder": (
        "nn.functional.glu(gated_B2ET, dim=1)",
        "nn.functional.glu(gated_B2ET.sin(), dim=1)",
    ),
    "source": ('texts=(row["text"],)', 'texts=(row["text"].lower(),), signer=row["id"][-1]'),
    "metric": ("return 100.0 * found.total()", "return 10.0 * found.total()"),
    "loss": (".pow(self.gamma)", ".pow(self.gamma + 0.5)"),
}
"""What an author would change in the written module, by kind of part."""
TRANSLATE = """
import json, sys
from pathlib import Path
from kinesweep.export import Bundle
bundle = Bundle.load(Path(sys.argv[1]))
print(json.dumps(bundle.translate(sys.argv[2:])))
"""


def python(*arguments: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process that has the packages of `path`, or none of them."""
    folders = PYTHONPATH if path is None else f"{path}{os.pathsep}{PYTHONPATH}"
    environment = {**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def make_packages(folder: Path) -> None:
    """Write, edit and install the packages of all roles: `source/` and `site/`."""
    for role in ROLES:
        package = write_part_package(role, f"lab_{role}", folder / "source")
        if role in EDITS:
            module = package / f"lab_{role}.py"
            old, new = EDITS[role]
            assert module.read_text().count(old) == 1
            module.write_text(module.read_text().replace(old, new))
    packages = sorted((folder / "source").iterdir())
    options = ["--no-deps", "--no-build-isolation", "--no-compile", "--no-index", "-q"]
    result = python("-m", "pip", "install", *options, "--target", folder / "site", *packages)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "packages", make_packages)


@pytest.fixture(scope="module")
def installed(packages: Path) -> Iterator[Path]:
    sys.path.insert(0, str(packages / "site"))
    yield packages / "site"
    sys.path.remove(str(packages / "site"))


def write_corpus(folder: Path) -> None:
    """Clips whose three values say which of four words is meant."""
    draws = np.random.default_rng(0)
    for split, count in (("train", 32), ("validation", 8), ("test", 4)):
        lines = []
        for index in range(count):
            x_TD = draws.normal(size=(6 + index % 4, 4)).astype(np.float32)
            x_TD[:, index % 4] += 3
            np.save(folder / f"{split}{index}.npy", x_TD)
            text = f"The {['bear', 'fox', 'hen', 'owl'][index % 4]} walks"
            line = {"id": f"{split}/{index}", "file": f"{split}{index}.npy", "text": text}
            lines.append(json.dumps(line))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))


def make_recipe(folder: Path) -> Recipe:
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    splits = {name: str(folder / f"{name}.jsonl") for name in ("train", "validation", "test")}
    plain |= {"source": {"kind": "lab_source", **splits}, "features": {"kind": "precomputed"}}
    plain["evaluation"] |= {"extra_metrics": [{"kind": "lab_metric"}]}
    plain["training"] |= {"metric_for_best_model": "lab_metric", "max_steps": 8}
    return validate_config(Recipe, plain, "the recipe")


def open_log(*_: Any) -> NullRunLogger:
    return NullRunLogger()


@pytest.fixture(scope="module")
def lab(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    write_corpus(folder)
    recipe = make_recipe(folder)
    return Lab(recipe, extract_locally(recipe))


def test_a_sweep_compares_them_with_ours(lab: Lab, tmp_path: Path) -> None:
    parameters = {
        "model.encoder.kind": {"choices": ["linear", "lab_encoder"]},
        "model.encoder.reach": {"choices": [0, 2], "when": {"model.encoder.kind": "lab_encoder"}},
        "training.loss.kind": {"choices": ["cross_entropy", "lab_loss"]},
    }
    space = lab.space(
        search={"kind": "grid", "trials": 6},
        metric={"name": "lab_metric", "mode": "max"},
        parameters=parameters,
    )
    journal = Journal(tmp_path)
    stores = FeatureStores.from_store(lab.recipe.features, lab.store)
    jobs = JobFactory(lab.recipe, stores, tmp_path, open_log)
    Here().run_policy(lab.search(space, journal), jobs)
    trials = journal.trials
    assert {trial.state for trial in trials} == {"finished"}
    keys = ("model.encoder.kind", "model.encoder.reach", "training.loss.kind")
    assert len({tuple(trial.values.get(key) for key in keys) for trial in trials}) == 6
    assert len({trial.config_hash for trial in trials}) == 6
    assert all("lab_metric" in trial.scores for trial in trials)


@pytest.mark.slow
def test_written_packages_are_green_as_they_are(packages: Path) -> None:
    tests = sorted((packages / "source").glob("*/test_*.py"))
    assert len(tests) == len(ROLES)
    options = ["-p", "no:cacheprovider", "-q", "--import-mode=importlib"]
    result = python(
        "-m", "pytest", *options, "--rootdir", packages / "source", *tests, path=packages / "site"
    )
    assert result.returncode == 0, result.stdout[-3000:]


def test_a_bundle_needs_the_packages_and_says_so(lab: Lab, installed: Path, tmp_path: Path) -> None:
    values = {"model.encoder.kind": "lab_encoder", "training.loss.kind": "lab_loss"}
    recipe = apply_overrides(lab.recipe, values)
    ks.train(recipe, tmp_path / "run", on_ray=False)
    run = tmp_path / "run"
    identity = json.loads((run / "run.json").read_text())["parts"]
    assert identity == {
        f"{PART_GROUPS[role][10:]}.lab_{role}": f"lab-{role} 0.1.0" for role in SWEPT
    }
    bundle = export_bundle(run, tmp_path / "bundle", lab.store)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {(part["kind"], part["package"], part["version"]) for part in manifest["parts"]} == {
        (f"lab_{role}", f"lab-{role}", "0.1.0") for role in SWEPT
    }
    assert "lab-encoder==0.1.0\n" in (bundle / "requirements.txt").read_text()
    corpus = Path(str(lab.recipe.source.validation)).parent
    files = [corpus / f"validation{index}.npy" for index in range(4)]
    without = python("-c", TRANSLATE, bundle, *files)
    assert without.returncode == 1
    for role in SWEPT:
        assert f"`lab_{role}` ({PART_GROUPS[role]}) of lab-{role} 0.1.0" in without.stderr
    assert (
        "is not installed" in without.stderr and "pip install lab-encoder==0.1.0" in without.stderr
    )
    first, again = (python("-c", TRANSLATE, bundle, *files, path=installed) for _ in range(2))
    assert first.returncode == 0, first.stderr
    texts = json.loads(first.stdout.splitlines()[-1])
    assert texts == json.loads(again.stdout.splitlines()[-1])
    predictions = (bundle / "predictions.tsv").read_text()
    assert all(f"validation/{index}\t" in predictions for index in range(4))
    for index, text in enumerate(texts):
        (line,) = [row for row in predictions.splitlines() if f"validation/{index}\t" in row]
        assert text in line.split("\t")


@pytest.mark.parametrize(
    ("role", "name", "message"),
    [
        ("encodr", "mine", "is no kind of part; choose one of encoder, source"),
        ("encoder", "My-encoder", "lower-case letters"),
        ("encoder", "class", "lower-case letters"),
        ("encoder", "../up", "lower-case letters"),
        ("encoder", "", "lower-case letters"),
        ("encoder", "json", "is the name of an installed module"),
        ("encoder", "setup", "meaning of its own for pip"),
        ("encoder", "conftest", "meaning of its own for pip"),
        ("encoder", "a" * 65, "at most 64 lower-case letters"),
        ("encoder", "linear", r"`linear` is one of Kinesweep's own kinds .kinesweep.encoders."),
        ("source", "corpora", "own kinds"),
        ("metric", "torchmetrics", "own kinds"),
        ("loss", "cross_entropy", "own kinds"),
        ("backbone", "causal", "own kinds"),
        ("sampler", "tpe", "own kinds"),
        ("feature", "combined", "own kinds"),
        ("estimator", "mediapipe", "own kinds"),
    ],
)
def test_bad_names_are_refused(tmp_path: Path, role: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_part_package(role, name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = write_part_package("loss", "mine_too", tmp_path)
    (folder / "mine_too.py").write_text("my work")
    with pytest.raises(InputError, match="exists and is not overwritten"):
        write_part_package("loss", "mine_too", tmp_path)
    assert (folder / "mine_too.py").read_text() == "my work"


@pytest.mark.parametrize(
    ("role", "name"),
    [("source", "path"), ("source", "clip"), ("metric", "counter"), ("encoder", "tensor")],
)
def test_no_class_of_the_template_is_redefined(role: str, name: str, tmp_path: Path) -> None:
    folder = write_part_package(role, name, tmp_path)
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names = {alias.name for node in imports for alias in node.names}
        assert not names & {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        assert path.name != f"{name}.py" or name.capitalize() in names, "or nothing is tested"


def test_no_folder_hides_its_module(tmp_path: Path) -> None:
    """Python would import the folder as a namespace instead of the installed module."""
    folder = write_part_package("loss", "gated", tmp_path)
    assert folder.name == "gated-loss"
    assert 'name = "gated-loss"' in (folder / "pyproject.toml").read_text()
    assert write_part_package("loss", "my_gated", tmp_path).name == "my-gated"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"file` cannot be made"):
        write_part_package("loss", "mine_too", tmp_path / "file")
