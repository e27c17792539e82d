"""Stores of several streams: what goes in comes out; a stream that lacks or differs is named."""

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fake_corpus import LAYOUT, FakeStep, extraction, make_corpus

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import KinesweepError, StoreError
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.core.schema import StreamSchema
from kinesweep.features import Features
from kinesweep.sources import build_source
from kinesweep.store import open_store
from kinesweep.store.extraction.build import build_store, extract_locally
from kinesweep.store.extraction.corpus_scan import ExtractionSpec
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.store.inspect.checks import verify_store
from shards import WIDTHS, h5_corpus


@dataclass(frozen=True)
class TwoSteps(FakeStep):
    """The poses, and every other frame of them in two numbers."""

    streams: tuple[str, ...] = ("pose", "half")

    def compute_features(self, pose: Any) -> dict[str, Features]:
        found = super().compute_features(pose)["pose"]
        half = Features(found.x_TD[::2, :2].copy(), pose.fps / 2)
        return {"half": half, "pose": found}

    def estimate_shapes(self, pose: Any) -> dict[str, tuple[int, int]]:
        frames = len(pose.points_TPJC)
        return {"pose": (frames, 6), "half": (-(-frames // 2), 2)}


def recipe_of(folder: Path, streams: str = "", **source: Any) -> Recipe:
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    plain["source"] = {**h5_corpus(folder), **source}
    plain["features"] = {"kind": "streams", **({"streams": streams} if streams else {})}
    return validate_config(Recipe, plain, "test")


def test_streams_have_lengths_rates_and_widths_of_their_own(tmp_path: Path) -> None:
    source = make_corpus(tmp_path, train=3, test=2)
    store = build_store(extraction(source, tmp_path / "stores", step=TwoSteps()))
    assert list(store.schema.streams) == ["pose", "half"]
    assert store.schema.streams == {
        "pose": StreamSchema(6, 25.0, "float16", LAYOUT),
        "half": StreamSchema(2, 12.5, "float16"),
    }
    for split in store.splits:
        for record in store.get_records(split):
            found = store.get_features(record)
            assert record.lengths == {name: len(x_TD) for name, x_TD in found.items()}
            assert record.rates_hz == {"pose": 25.0, "half": 12.5}
            np.testing.assert_array_equal(found["half"], found["pose"][::2, :2])
    frames = {name: sum(r.lengths[name] for r in store.get_records("train")) for name in found}
    assert store.manifest["splits"]["train"] == {"clips": 3, "frames": frames}
    assert store.manifest["tree"]["streams"] == ["pose", "half"]
    verify_store(store)
    written = sum(
        store.compute_clip_bytes(r) for split in store.splits for r in store.get_records(split)
    )
    again = extraction(source, tmp_path / "more", step=TwoSteps())
    assert written == sum(
        x_TD.nbytes
        for split in store.splits
        for record in store.get_records(split)
        for x_TD in store.get_features(record).values()
    )
    assert compute_file_hashes(build_store(again).folder) == compute_file_hashes(store.folder)


def test_a_copied_clip_has_all_its_streams(tmp_path: Path) -> None:
    source = make_corpus(tmp_path, train=3)
    first = build_store(extraction(source, tmp_path / "stores", step=TwoSteps()))
    fewer = replace(source, listed=source.listed[1:])
    second = build_store(extraction(fewer, tmp_path / "stores", step=TwoSteps()))
    assert (second.extraction.computed, second.extraction.reused) == (0, 2)
    for old, new in zip(first.get_records("train")[1:], second.get_records("train"), strict=True):
        assert (old.digest, old.key, old.lengths) == (new.digest, new.key, new.lengths)
    one = build_store(extraction(source, tmp_path / "stores", step=FakeStep()))
    assert one.extraction.computed == 3


def test_a_clip_that_lacks_a_stream_is_counted_and_named(tmp_path: Path) -> None:
    class Lacking(TwoSteps):
        def compute_features(self, pose: Any) -> dict[str, Features]:
            found = super().compute_features(pose)
            return found if len(pose.points_TPJC) > 2 else {"pose": found["pose"]}

    source = make_corpus(tmp_path, train=3)
    with pytest.raises(StoreError, match=r"train\.tsv:2: missing_stream: .*`half`"):
        build_store(extraction(source, tmp_path / "stores", step=Lacking()))
    wide = extraction(source, tmp_path / "stores", step=Lacking(), max_dropped_share=0.5)
    assert build_store(wide).manifest["dropped"]["reasons"] == {"missing_stream": 1}


def test_a_width_or_value_that_does_not_fit_names_its_stream(tmp_path: Path) -> None:
    class Ragged(TwoSteps):
        def compute_features(self, pose: Any) -> dict[str, Features]:
            found = super().compute_features(pose)
            x_TD = found["half"].x_TD
            return {**found, "half": Features(x_TD[:, : 1 + len(x_TD) % 2], 12.5)}

    class Infinite(TwoSteps):
        def compute_features(self, pose: Any) -> dict[str, Features]:
            found = super().compute_features(pose)
            return {**found, "half": Features(np.full_like(found["half"].x_TD, np.inf), 12.5)}

    source = make_corpus(tmp_path, train=3)
    with pytest.raises(StoreError, match=r"train\.tsv:2: wrong_width: `half`: the features have 2"):
        build_store(extraction(source, tmp_path / "stores", step=Ragged()))
    with pytest.raises(StoreError, match=r"nan_features: `half`: \d of"):
        build_store(extraction(source, tmp_path / "stores", step=Infinite()))


def test_shards_become_a_store_to_the_bit(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    store = extract_locally(recipe)
    assert store.schema.widths == WIDTHS
    clips = build_source(recipe.effective_source).list_clips("validation")
    assert [record.clip for record in store.get_records("validation")] == clips
    assert clips[0].keywords and len(clips[0].texts) == 3
    for record in store.get_records("train"):
        number = int(record.clip.document[-1])
        for stream, x_TD in store.get_features(record).items():
            with h5py.File(tmp_path / stream / f"{stream}.train.{number % 2}.h5") as file:
                np.testing.assert_array_equal(x_TD, file[record.clip.id][()])
    again = pickle.loads(pickle.dumps(store))
    assert again.get_records("train") == store.get_records("train")


def test_one_new_clip_of_a_shard_is_computed_alone(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    store = extract_locally(recipe)
    assert summarize_extraction_plan(recipe).exists
    path = tmp_path / "dino" / "dino.train.0.h5"
    with h5py.File(path, "a") as file:
        file["train_video0/clip_01"][0, 0] += 1
    plan = summarize_extraction_plan(recipe)
    assert (plan.exists, plan.num_to_compute, plan.num_to_reuse) == (False, 1, 16)
    changed = extract_locally(recipe)
    assert (changed.extraction.computed, changed.extraction.reused) == (1, 16)
    assert changed.fingerprint != store.fingerprint


def test_the_order_and_choice_of_streams_is_the_recipes(tmp_path: Path) -> None:
    store = extract_locally(recipe_of(tmp_path, "sign2vec+pose"))
    assert list(store.schema.streams) == ["sign2vec", "pose"]
    (tmp_path / "dino" / "dino.dev.0.h5").unlink()
    alone = recipe_of(tmp_path / "other", "pose")
    for name in ("dino", "sign2vec"):
        (tmp_path / "other" / name).rename(tmp_path / f"gone_{name}")
    found = extract_locally(alone)
    assert found.manifest["tree"]["stream"] == "pose" and "streams" not in found.manifest["tree"]


def test_keywords_change_the_store_and_nothing_where_there_are_none(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    store = extract_locally(recipe)
    path = tmp_path / "annotation.train.json"
    videos = json.loads(path.read_text())
    videos["train_video0"]["clip_00"]["keywords"] = ["other"]
    path.write_text(json.dumps(videos))
    changed = extract_locally(recipe)
    assert changed.fingerprint != store.fingerprint and changed.extraction.computed == 0
    assert open_store(changed.folder).get_records("train")[0].clip.keywords == ("other",)


def test_validation_is_complete_or_nothing_is_extracted(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    with h5py.File(tmp_path / "sign2vec" / "sign2vec.dev.1.h5", "a") as file:
        del file["dev_video1/clip_03"]
    with pytest.raises(
        StoreError, match=r"1 of validation[\s\S]*annotation\.dev\.json:dev_video1/"
    ):
        build_store(ExtractionSpec.from_recipe(recipe))


def test_two_corpora_of_shards_are_one(tmp_path: Path) -> None:
    plain = tiny_recipe(tmp_path, tmp_path / "stores").model_dump(mode="json")
    first = {**h5_corpus(tmp_path / "one"), "name": "one"}
    second = {**h5_corpus(tmp_path / "two", seed=1, prefix="dino"), "name": "two"}
    plain |= {"source": [first, second], "features": {"kind": "streams"}}
    recipe = validate_config(Recipe, plain, "test")
    store = extract_locally(recipe)
    assert recipe.selected_streams == tuple(WIDTHS) == tuple(store.schema.streams)
    ids = [record.clip.id for record in store.get_records("validation")]
    assert len(ids) == 14 and ids[7] == "two/dev_video0/clip_00"
    second["streams"] = second["streams"][:1]
    with pytest.raises(KinesweepError, match="names dino, sign2vec, but the source has pose"):
        validate_config(Recipe, {**plain, "source": [first, second]}, "test")
