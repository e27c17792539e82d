"""A bundle that compares motions: its embedder goes with it, a file alone is its own reference."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.core.errors import BundleError, InputError
from kinesweep.core.runlog import NullRunLog
from kinesweep.core.units import Span
from kinesweep.export import Bundle, Input, export_bundle
from kinesweep.export.verify import compare
from kinesweep.features.embedder import write_embedder
from kinesweep.store.build import extract_locally
from kinesweep.training.run import RunSpec, train_run
from skeletons import motions, skeleton_recipe, write_pack

STEPS = [["aten.linear.default", [{"input": 0}, {"weight": "matrix"}], {}]]


def embedder(folder: Path) -> Path:
    described = {"stream": "pose", "width": 66, "size": 3, "layout": None, "score": {}}
    write_embedder(folder, described, STEPS, {"matrix": torch.eye(66)[60:63]})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with a corpus, and a bundle whose embedder is no longer where it was."""
    folder = tmp_path_factory.mktemp("references")
    write_pack(folder / "all.npz", motions(8))
    reference = {"on": "embeddings", "embedder": str(embedder(folder / "embedder"))}
    recipe = skeleton_recipe(folder, features={"kind": "skeleton", "reference": reference})
    store, run = extract_locally(recipe), folder / "run"
    train_run(RunSpec(recipe, store.folder, run), NullRunLog(), lambda _: True)
    bundle = export_bundle(run, folder / "bundle", store)
    assert compare(bundle, store, run) == 2
    shutil.rmtree(folder / "embedder")
    for number, x_TJC in enumerate(motions(8)):
        np.save(folder / f"{number}.npy", x_TJC)
    return folder, bundle


def test_the_embedder_goes_with_the_bundle(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder, path = made
    assert str(folder) not in (path / "recipe.yaml").read_text()
    bundle = Bundle.load(path)
    found = bundle.features(folder / "6.npy", Span.from_frames(1, 0), folder / "1.npy")
    assert found["pose"].shape == found["reference"].shape
    assert not np.array_equal(found["pose"], found["reference"])
    alone = bundle.features(folder / "6.npy")
    np.testing.assert_array_equal(alone["pose"], alone["reference"])
    texts = bundle.translate([Input(folder / "6.npy", reference=folder / "1.npy")])
    assert len(texts) == 1
    np.save(tmp_path / "flat.npy", motions(1)[0][..., :2])
    with pytest.raises(InputError, match=r"flat\.npy` has not the points of"):
        bundle.features(folder / "6.npy", Span(), tmp_path / "flat.npy")
    copy = shutil.copytree(path, tmp_path / "copy")
    (copy / "embedder" / "embedder.safetensors").unlink()
    with pytest.raises(BundleError, match=r"embedder/embedder\.safetensors` is missing"):
        Bundle.load(copy)


def test_a_store_of_other_references_is_found_out(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder, path = made
    corpus = tmp_path / "other"
    corpus.mkdir()
    stored = motions(8)
    stored[1] = stored[1] * 2  # what v0 is compared with
    write_pack(corpus / "all.npz", stored)
    reference = {"on": "embeddings", "embedder": str(path / "embedder")}
    recipe = skeleton_recipe(corpus, features={"kind": "skeleton", "reference": reference})
    with pytest.raises(BundleError, match="computes other features of `v0`"):
        compare(path, extract_locally(recipe), folder / "run")


def test_translate_says_what_is_compared_with_itself(made: tuple[Path, Path]) -> None:
    folder, path = made
    files = [str(folder / "6.npy"), str(folder / "7.npy")]
    alone = CliRunner().invoke(app, ["translate", str(path), *files])
    assert alone.exit_code == 0, alone.output
    assert "each of 2 clips is compared with itself" in alone.output
    given = ["--reference", str(folder / "1.npy")]
    other = CliRunner().invoke(app, ["translate", str(path), *files, *given])
    assert other.exit_code == 0 and "compared with itself" not in other.output
