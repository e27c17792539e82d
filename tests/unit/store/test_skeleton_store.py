"""Stores of skeletons: what is compared with what is kept, and one changed motion is one clip."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import tiny_recipe
from kinesweep.core.clip import Clip
from kinesweep.core.config import validate
from kinesweep.core.errors import ConfigError
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import NullRunLog
from kinesweep.core.skeleton import SMPL_22
from kinesweep.store.build import extract_locally
from kinesweep.store.fingerprint import split_fingerprint
from kinesweep.store.index import ClipRecord, index_records, index_table
from kinesweep.training.run import RunSpec, train_run
from skeletons import motions, write_pack, write_rows

HEADER = "id index ref1 ref2 reference"
VALIDATION = ["v0 6 Turn. - t1", "v1 7 Go. - -"]


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    train = [f"t{n} {n} Lift_{n}. Up_{n}. {'t0' if n else '-'}" for n in range(6)]
    plain["source"] = {
        "kind": "skeletons",
        "fps": 20,
        "motions": str(folder / "all.npz"),
        "train": write_rows(folder / "train.tsv", HEADER, train),
        "validation": write_rows(
            folder / "validation.tsv", HEADER, ["v0 6 Turn. - t1", "v1 7 Go. - -"]
        ),
    }
    return validate(Recipe, {**plain, "features": {"kind": "skeleton"}, **changes}, "test")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_pack(tmp_path / "all.npz", motions(8))
    return recipe_of(tmp_path)


def test_references_stay_with_their_clips(recipe: Recipe) -> None:
    store = extract_locally(recipe)
    known = {r.clip.id: r.clip for split in store.splits for r in store.records(split)}
    assert {i: clip.reference for i, clip in known.items() if clip.reference} == {
        **{f"t{n}": "t0" for n in range(1, 6)},
        "v0": "t1",
    }
    assert known["t2"].texts == ("Lift 2.", "Up 2.")
    assert store.schema.streams["pose"].layout == SMPL_22.layout


def test_an_index_without_references_has_the_bytes_it_had(recipe: Recipe) -> None:
    store = extract_locally(recipe)
    records = store.records("train")
    assert "reference" in index_table(records, ["pose"]).column_names
    alone = [r for r in records if not r.clip.reference]
    table = index_table(alone, ["pose"])
    assert "reference" not in table.column_names
    again: list[ClipRecord] = index_records(table, ["pose"])
    assert again == alone


def test_one_changed_motion_computes_its_clip_and_those_compared_with_it(tmp_path: Path) -> None:
    stored = motions(8)
    write_pack(tmp_path / "all.npz", stored)
    recipe = recipe_of(tmp_path)
    before = extract_locally(recipe)
    stored[1][0, 0, 0] += 1
    write_pack(tmp_path / "all.npz", stored)
    after = extract_locally(recipe)
    assert after.fingerprint != before.fingerprint
    assert (after.extraction.computed, after.extraction.reused) == (2, 6)  # t1, and v0 beside it


def test_another_reference_is_another_store(recipe: Recipe, tmp_path: Path) -> None:
    before = extract_locally(recipe)
    rows = ["v0 6 Turn. - t1", "v1 7 Go. - t2"]
    write_rows(tmp_path / "validation.tsv", HEADER, rows)
    assert extract_locally(recipe).fingerprint != before.fingerprint
    one, other, none = (Clip("a", "train", "m", reference=name) for name in ("b", "c", ""))
    assert len({split_fingerprint([(clip, "key")]) for clip in (one, other, none)}) == 3


def test_it_is_trained_on(recipe: Recipe, tmp_path: Path) -> None:
    store = extract_locally(recipe)
    x_TD = store.features(store.records("train")[0])["pose"]
    assert x_TD.shape == (3, 66) and np.abs(x_TD[0, :3]).max() == 0
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    result = train_run(spec, NullRunLog(), lambda _: True)
    assert result.status == "finished"


def test_a_clip_in_a_mirror_needs_a_centre(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, batch={"augmentation": {"mirror": 0.5}})
    assert recipe.features.kind == "skeleton"
    with pytest.raises(ConfigError, match=r"`features\.centre` is none"):
        recipe_of(
            tmp_path,
            batch={"augmentation": {"mirror": 0.5}},
            features={"kind": "skeleton", "centre": "none"},
        )
    with pytest.raises(ConfigError, match=r"needs `features\.kind: skeleton`"):
        recipe_of(tmp_path, features={"kind": "pose"})
