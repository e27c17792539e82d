"""Stores of skeletons: what is compared with what is kept, and one changed motion is one clip."""

from pathlib import Path

import numpy as np
import pytest

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ConfigError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.format.fingerprint import compute_split_fingerprint
from kinesweep.store.format.index import ClipRecord, build_index_table, parse_index_table
from kinesweep.training.loop.run import RunSpec, train_run
from skeletons import HEADER, motions, skeleton_recipe, write_pack, write_rows


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_pack(tmp_path / "all.npz", motions(8))
    return skeleton_recipe(tmp_path)


def test_references_stay_with_their_clips(recipe: Recipe) -> None:
    store = extract_locally(recipe)
    known = {r.clip.id: r.clip for split in store.splits for r in store.get_records(split)}
    assert {i: clip.reference for i, clip in known.items() if clip.reference} == {
        **{f"t{n}": "t0" for n in range(1, 6)},
        "v0": "t1",
    }
    assert known["t2"].texts == ("Lift 2.", "Up 2.")
    assert store.schema.streams["pose"].layout == SMPL_22.layout


def test_an_index_without_references_has_the_bytes_it_had(recipe: Recipe) -> None:
    store = extract_locally(recipe)
    records = store.get_records("train")
    assert "reference" in build_index_table(records, ["pose"]).column_names
    alone = [r for r in records if not r.clip.reference]
    table = build_index_table(alone, ["pose"])
    assert "reference" not in table.column_names
    again: list[ClipRecord] = parse_index_table(table, ["pose"])
    assert again == alone


def test_one_changed_motion_computes_its_clip_and_those_compared_with_it(tmp_path: Path) -> None:
    stored = motions(8)
    write_pack(tmp_path / "all.npz", stored)
    recipe = skeleton_recipe(tmp_path)
    before = extract_locally(recipe)
    stored[1][0, 0, 0] += 1
    write_pack(tmp_path / "all.npz", stored)
    after = extract_locally(recipe)
    assert after.fingerprint != before.fingerprint
    assert (after.extraction.computed, after.extraction.reused) == (2, 6)  # t1, and v0 beside it


def test_another_reference_is_another_store(recipe: Recipe, tmp_path: Path) -> None:
    before = extract_locally(recipe)
    rows = ["v0 6 Turn. - t1 0", "v1 7 Go. - t2 1"]
    write_rows(tmp_path / "validation.tsv", HEADER, rows)
    assert extract_locally(recipe).fingerprint != before.fingerprint
    one, other, none = (Clip("a", "train", "m", reference=name) for name in ("b", "c", ""))
    assert len({compute_split_fingerprint([(clip, "key")]) for clip in (one, other, none)}) == 3


def test_it_is_trained_on(recipe: Recipe, tmp_path: Path) -> None:
    store = extract_locally(recipe)
    x_TD = store.get_features(store.get_records("train")[0])["pose"]
    assert x_TD.shape == (3, 66) and np.abs(x_TD[0, :3]).max() == 0
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    result = train_run(spec, NullRunLogger(), lambda _: True)
    assert result.status == "finished"


def test_a_clip_in_a_mirror_needs_a_centre(tmp_path: Path) -> None:
    recipe = skeleton_recipe(tmp_path, batch={"augmentation": {"mirror": 0.5}})
    assert recipe.features.kind == "skeleton"
    with pytest.raises(ConfigError, match=r"`features\.centre` is none"):
        skeleton_recipe(
            tmp_path,
            batch={"augmentation": {"mirror": 0.5}},
            features={"kind": "skeleton", "centre": "none"},
        )
    with pytest.raises(ConfigError, match=r"needs `features\.kind: skeleton`"):
        skeleton_recipe(tmp_path, features={"kind": "pose"})
