"""A bundle that compares motions: its embedder goes with it, a file alone is its own reference."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.core.errors import BundleError, ClipError, InputError, SourceError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.units import Span
from kinesweep.export import Bundle, Input, export_bundle, find_inputs
from kinesweep.export.pyfunc_model import BundleModel
from kinesweep.export.verify import compare_bundle_with_run
from kinesweep.features.frame_embedder_io import write_embedder
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from skeletons import motions, skeleton_recipe, write_pack, write_rows

pytestmark = pytest.mark.integration

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
    train_run(RunSpec(recipe, store.folder, run), NullRunLogger(), lambda _: True)
    bundle = export_bundle(run, folder / "bundle", store)
    assert compare_bundle_with_run(bundle, store, run) == 2
    shutil.rmtree(folder / "embedder")
    for number, x_TJC in enumerate(motions(8)):
        np.save(folder / f"{number}.npy", x_TJC)
    return folder, bundle


def test_the_embedder_goes_with_the_bundle(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder, path = made
    assert str(folder) not in (path / "recipe.yaml").read_text()
    bundle = Bundle.load(path)
    found = bundle.compute_features(folder / "6.npy", Span.from_frames(1, 0), folder / "1.npy")
    assert found["pose"].shape == found["reference"].shape
    assert not np.array_equal(found["pose"], found["reference"])
    alone = bundle.compute_features(folder / "6.npy")
    np.testing.assert_array_equal(alone["pose"], alone["reference"])
    texts = bundle.translate([Input(folder / "6.npy", auxiliary_file=folder / "1.npy")])
    assert len(texts) == 1
    np.save(tmp_path / "flat.npy", motions(1)[0][..., :2])
    with pytest.raises(InputError, match=r"flat\.npy` does not have the same points"):
        bundle.compute_features(folder / "6.npy", Span(), tmp_path / "flat.npy")
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
        compare_bundle_with_run(path, extract_locally(recipe), folder / "run")


def test_translate_says_what_is_compared_with_itself(made: tuple[Path, Path]) -> None:
    folder, path = made
    files = [str(folder / "6.npy"), str(folder / "7.npy")]
    alone = CliRunner().invoke(app, ["translate", str(path), *files])
    assert alone.exit_code == 0, alone.output
    assert "each of 2 clips is compared with itself" in alone.output
    given = ["--reference", str(folder / "1.npy")]
    other = CliRunner().invoke(app, ["translate", str(path), *files, *given])
    assert other.exit_code == 0 and "compared with itself" not in other.output


def streams(bundle: Bundle, item: Input) -> dict[str, np.ndarray]:
    return {name: one.x_TD for name, one in bundle.compute_input_features(item).items()}


def test_rows_are_read_as_the_corpus_was(made: tuple[Path, Path], tmp_path: Path) -> None:
    """Motions of a pack beside the table, parts of them, references by id and by number."""
    folder, path = made
    bundle = Bundle.load(path)
    write_pack(tmp_path / "new.npz", motions(8))
    rows = ("a 6 b 0", "b 1 - 1", "c 7 2 0", "d 3 - 0")
    write_rows(tmp_path / "new.tsv", "id index reference start", rows)
    named = dict(find_inputs([tmp_path / "new.tsv"], bundle.loaded.recipe.corpora[0]))
    assert list(named) == ["a", "b", "c", "d"]
    np.save(tmp_path / "later.npy", motions(8)[1][1:])
    for item, (number, other) in {
        "a": (6, tmp_path / "later.npy"),
        "c": (7, folder / "2.npy"),
        "d": (3, None),
    }.items():
        wanted = bundle.compute_features(folder / f"{number}.npy", auxiliary_file=other)
        found = streams(bundle, named[item])
        for stream, x_TD in wanted.items():
            np.testing.assert_array_equal(found[stream], x_TD)
    assert len(streams(bundle, named["b"])["pose"]) == len(motions(8)[1]) - 1
    assert len(bundle.translate(list(named.values()))) == 4


def test_rows_name_files_beside_the_table(made: tuple[Path, Path]) -> None:
    folder, path = made
    bundle = Bundle.load(path)
    write_rows(folder / "files.tsv", "id reference", ("6 1", "7 -"))
    (_, first), (_, second) = find_inputs([folder / "files.tsv"], bundle.loaded.recipe.corpora[0])
    found = streams(bundle, first)
    wanted = bundle.compute_features(folder / "6.npy", auxiliary_file=folder / "1.npy")
    np.testing.assert_array_equal(found["reference"], wanted["reference"])
    assert not first.is_compared_with_itself and second.is_compared_with_itself


def test_faulty_tables_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = Bundle.load(made[1]).loaded.recipe
    table = tmp_path / "new.tsv"
    write_rows(table, "id index", ("a 0",))
    with pytest.raises(ClipError, match=r"new\.tsv:2: `.*new\.npz` does not exist"):
        find_inputs([table], recipe.corpora[0])
    write_rows(table, "id sentence", ("a Go.",))
    with pytest.raises(SourceError, match="column `sentence` is unknown"):
        find_inputs([table], recipe.corpora[0])
    write_pack(tmp_path / "new.npz", motions(1))
    write_rows(table, "id start end", ("a 2 1",))
    with pytest.raises(InputError, match="starts at frame 2 and ends at 1"):
        find_inputs([table], recipe.corpora[0])


def test_translate_counts_rows_without_a_reference(made: tuple[Path, Path]) -> None:
    folder, path = made
    table = write_rows(folder / "some.tsv", "id reference", ("6 1", "7 -"))
    found = CliRunner().invoke(app, ["translate", str(path), table])
    assert found.exit_code == 0, found.output
    assert "1 of 2 clips is compared with itself" in found.output
    given = ["--reference", str(folder / "1.npy")]
    refused = CliRunner().invoke(app, ["translate", str(path), table, *given])
    assert refused.exit_code != 0 and "its own column `reference`" in refused.output


def test_references_are_sent_beside_motions(
    made: tuple[Path, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is compared; one warning says that a motion came alone."""
    folder, path = made
    bundle = Bundle.load(path)
    read: list[dict[str, np.ndarray]] = []
    monkeypatch.setattr(
        Bundle, "translate_features", lambda self, clips: read.extend(clips) or [""] * len(read)
    )
    own, other = ((folder / f"{number}.npy").read_bytes() for number in (6, 1))
    served = BundleModel(bundle)
    with caplog.at_level(logging.WARNING, "kinesweep"):
        served.predict(pd.DataFrame([{"motion": own, "reference": other}]))
    assert not caplog.records
    wanted = bundle.compute_features(folder / "6.npy", auxiliary_file=folder / "1.npy")
    np.testing.assert_array_equal(read[0]["reference"], wanted["reference"])
    with caplog.at_level(logging.WARNING, "kinesweep"):
        served.predict(pd.DataFrame([{"motion": own, "reference": other}, {"motion": own}]))
        served.predict(pd.DataFrame([{"motion": own}]))
    assert [r.getMessage()[:26] for r in caplog.records] == ["row 1 has no `reference`, "]
    with pytest.raises(InputError, match="give either `motion`"):
        served.predict(pd.DataFrame([{"reference": other}]))
    columns = (path / "MLmodel").read_text()
    assert '"name": "reference"' in columns and '"name": "features_reference"' in columns
