"""Signs of a Kinect, from a skeleton declared in a recipe to the best encoder over signer folds."""

from pathlib import Path

import numpy as np
import pytest

from kinect import POINTS, write_kinect_corpus
from kinesweep.core.skeleton.skeleton import find_skeleton
from kinesweep.export import Bundle, Input
from kinesweep.pipelines.sweeps.cross_validation import (
    CrossValidation,
    FoldSettings,
    cross_validate,
)
from kinesweep.pipelines.sweeps.sweep import SweepRequest
from kinesweep.store import open_store

SPACE = Path(__file__).resolve().parents[2] / "search_spaces" / "kinect_words.yaml"
SHORT = (
    *("recipe.training.max_steps=4", "recipe.training.eval_steps=2"),
    *("recipe.training.warmup_steps=1", "finalists.count=1"),
    "search.trials=2",
)


def search(
    folder: Path, monkeypatch: pytest.MonkeyPatch, folds: int, *more: str
) -> CrossValidation:
    monkeypatch.setenv("KINESWEEP_HOME", str(folder / "home"))
    monkeypatch.setenv("KINESWEEP_KINECT", str(folder / "data"))
    request = SweepRequest(SPACE, ("recipe.tracking=none", *more), "kinect", folder)
    return cross_validate(request, FoldSettings("signer", folds), resume=True)


def assert_complete(
    result: CrossValidation, folder: Path, signers: int, configurations: int
) -> None:
    """Both encoders have a score on every fold, and each fold's signers are unknown to its runs."""
    kinds = [one.values["model.encoder.kind"] for one in result.configurations]
    assert sorted(set(kinds)) == ["linear", "stgcn"] and len(kinds) == configurations
    assert all(None not in one.scores and one.mean is not None for one in result.configurations)
    known: set[str] = set()
    for fold in range(len(result.sweeps)):
        rows = [
            (result.folder / f"fold-{fold}" / f"{split}.tsv").read_text().splitlines()[1:]
            for split in ("train", "validation")
        ]
        mine = {name for line in rows[1] for name in line.split("\t") if name.startswith("signer")}
        theirs = {
            name for line in rows[0] for name in line.split("\t") if name.startswith("signer")
        }
        assert mine and not mine & theirs and not mine & known
        known |= mine
    assert len(known) == signers


@pytest.mark.slow
@pytest.mark.integration
def test_a_declared_skeleton_is_searched_over_folds_of_signers(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kinect_corpus(tmp_path / "data", words=5, signers=3, takes=4)
    result = search(tmp_path, monkeypatch, 2, *SHORT)
    assert_complete(result, tmp_path, signers=3, configurations=2)
    stores = [path.parent for path in (tmp_path / "home" / "stores").glob("*/manifest.json")]
    assert len(stores) == 2
    for store in stores:
        layout = open_store(store).schema.streams["pose"].layout
        skeleton = find_skeleton(layout)
        assert skeleton is not None and skeleton.name == "kinect_8"
        assert skeleton.layout.point_names == POINTS and len(skeleton.bones) == 7
    # The bundle reads an array that names no joints, as the recipe declared them.
    bundle = Bundle.load(tmp_path / "home" / "exports" / "kinect-fold-0")
    motion = tmp_path / "unknown.npy"
    np.save(motion, np.load(tmp_path / "data" / "motions" / "s0_w1_0.npy"))
    assert len(bundle.translate([Input(motion)])) == 1
    again = search(tmp_path, monkeypatch, 2, *SHORT)
    assert again.configurations == result.configurations


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_2700_clips_of_ten_signers(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kinect_corpus(tmp_path / "data")
    assert len(list((tmp_path / "data" / "motions").iterdir())) == 2700
    result = search(tmp_path, monkeypatch, 5)
    assert_complete(result, tmp_path, signers=10, configurations=4)
    best = result.configurations[0]
    for one in result.configurations:
        print(one.values, one.scores, one.mean, one.gap_interval)
    # Chance is 100 / 30.
    assert best.mean is not None and best.mean > 50
