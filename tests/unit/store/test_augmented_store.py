"""Stores of clips with augmented texts and spans of references: kept, told apart, shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.errors import SourceError
from kinesweep.core.units import Span
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.inspect.show import describe_store
from skeletons import motions, skeleton_recipe, write_pack, write_rows

COLUMNS = "id index ref1 augmented1 augmented2 reference reference_start reference_end start end"
TRAIN = ("t0 3 Go. Walk. Run. 7 2 5 1 4", "t1 2 Turn. - - - - - - -", "t2 3 Up. Rise. - t1 1 4 0 3")
VALIDATION = ("v0 3 Stop. Halt. Rest. t1 3 0 4 0",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pack(tmp_path / "all.npz", motions(8))
    return tmp_path


def recipe(
    folder: Path, train: tuple[str, ...] = TRAIN, columns: str = COLUMNS, **reference: Any
) -> Recipe:
    features = {"kind": "skeleton", "centre": "none", "reference": {"method": "given", **reference}}
    store = {"dtype": "float32", "root": str(folder / "stores"), "max_dropped_share": 1}
    made = skeleton_recipe(folder, features=features, store=store)
    write_rows(folder / "train.tsv", columns, train)
    write_rows(folder / "validation.tsv", columns, VALIDATION)
    return made


def clips(store: Store) -> dict[str, Any]:
    return {r.clip.id: r for split in store.splits for r in store.get_records(split)}


def test_an_opened_store_has_them_all(folder: Path) -> None:
    store = open_store(extract_locally(recipe(folder)).folder)
    found = clips(store)
    assert [r.clip.augmented_texts for r in found.values()] == [
        ("Walk.", "Run."), (), ("Rise.",), (),
    ]  # fmt: skip
    assert [r.clip.texts for r in found.values()] == [("Go.",), ("Turn.",), ("Up.",), ("Stop.",)]
    spans = [Span(2, 5, "frames"), Span(), Span(1, 4, "frames"), Span(3, None, "frames")]
    assert [r.clip.reference_span for r in found.values()] == spans
    stored = motions(8)
    for name, own, other in (
        ("t0", stored[3][1:4], stored[7][2:5]),
        ("t1", stored[2], stored[2]),
        ("t2", stored[3][:3], stored[2][1:4]),
        ("v0", stored[3][4:], stored[2][3:]),
    ):
        streams = store.get_features(found[name])
        np.testing.assert_array_equal(streams["pose"], own.reshape(len(own), -1))
        np.testing.assert_array_equal(streams["reference"], other.reshape(len(other), -1))
    console = Console(width=200, record=True, file=(folder / "shown").open("w"))
    console.print(describe_store(store, "t0"))
    assert "augmented text 2" in console.export_text()


def test_other_augmented_texts_or_spans_are_another_store(folder: Path) -> None:
    first, *others = TRAIN
    variants = [TRAIN, (first.replace("Run.", "Leap."), *others)]
    variants.append((first.replace("7 2 5", "7 1 4"), *others))
    stores = [extract_locally(recipe(folder, train)) for train in variants]
    assert len({store.fingerprint for store in stores}) == 3
    assert [store.extraction.computed for store in stores if store.extraction] == [4, 0, 1]


def test_a_reference_of_another_length_drops_its_clip(folder: Path) -> None:
    store = extract_locally(recipe(folder, (TRAIN[0].replace("7 2 5", "7 2 4"), *TRAIN[1:])))
    assert store.manifest["dropped"]["reasons"] == {"reference_length": 1}
    assert "t0" not in clips(store)


def test_the_first_frame_is_held(folder: Path) -> None:
    store = extract_locally(recipe(folder, method="first_frame"))
    for record in clips(store).values():
        found = store.get_features(record)
        np.testing.assert_array_equal(
            found["reference"], np.repeat(found["pose"][:1], len(found["pose"]), axis=0)
        )


def test_wrong_columns_and_spans_are_refused(folder: Path) -> None:
    rows = ("a 0 Go. - - - 1 2 0 0", "b 1 Go. - - a 2 2 0 0", "c 2 Go. - - a x 0 0 0")
    write_rows(folder / "train.tsv", COLUMNS, rows)
    plain = {"kind": "skeletons", "fps": 20, "motions": str(folder / "all.npz")}
    plain["train"] = str(folder / "train.tsv")
    with pytest.raises(SourceError) as refused:
        SkeletonsSource(SkeletonsConfig.model_validate(plain)).list_clips("train")
    for said in (
        "train.tsv:2  `reference_start` and `reference_end` need a `reference`",
        "train.tsv:3  the segment of the reference starts at 2, ends at 2",
        "train.tsv:4  `reference_start` must be a whole number of 0 or more, but is `x`",
    ):
        assert said in str(refused.value)
    write_rows(folder / "train.tsv", "id index ref1 anew", ("a 0 Go. Run.",))
    named = {**plain, "columns": {"augmented1": "anew"}}
    clip = SkeletonsSource(SkeletonsConfig.model_validate(named)).list_clips("train")[0]
    assert (clip.texts, clip.augmented_texts) == (("Go.",), ("Run.",))
    with pytest.raises(ValueError, match="did you mean `augmented`"):
        SkeletonsConfig.model_validate({**plain, "columns": {"augmentd": "anew"}})
