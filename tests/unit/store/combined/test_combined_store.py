"""A combined store joins the clips of its parts; each part is computed once, whoever uses it."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import SourceError, StoreError
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.store import Store, open_store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.store.format.reader import ExtractionCounts
from kinesweep.store.format.test_set_ledger import count_test_evaluations, log_test_evaluation
from kinesweep.store.inspect.checks import verify_store
from kinesweep.store.inspect.show import describe_store
from kinesweep.store.inspect.statistics import compute_frame_statistics
from parts import POSE, films_with_poses, parts_recipe, video_part

HALF = {**POSE, "name": "half", "stride": 2}
"""Every second pose: a second stream without a video model."""
Make = Callable[..., Recipe]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return films_with_poses(tmp_path / "corpus", train=5, validation=2, test=2)


@pytest.fixture
def make(corpus: Path, tmp_path: Path) -> Make:
    """`make(POSE, HALF, streams="pose")`: a recipe with these parts; further keys are sections."""

    def build(*parts: dict[str, Any], streams: str = "all", **changes: Any) -> Recipe:
        features = {"kind": "combined", "parts": list(parts), "streams": streams}
        return parts_recipe(corpus, tmp_path / "stores", features, **changes)

    return build


def single(recipe: Recipe, **features: Any) -> Recipe:
    """A recipe with only the poses of a recipe."""
    plain = recipe.model_dump(mode="json")
    of_videos = {"poses", "allow_empty_texts"}
    source = {key: value for key, value in plain["source"].items() if key not in of_videos}
    source |= {"kind": "pose_tsv", "root": plain["source"]["poses"], "names_videos": True}
    own = {key: value for key, value in POSE.items() if key != "name"}
    return validate_config(Recipe, {**plain, "source": source, "features": own | features}, "one")


def ids(store: Store, split: str = "train") -> list[str]:
    return [record.clip.id for record in store.get_records(split)]


def test_the_streams_of_all_parts_are_read(make: Make, tmp_path: Path) -> None:
    recipe = make(POSE, video_part("dino", tmp_path / "dino"), HALF)
    store = extract_locally(recipe)
    assert store.extraction == ExtractionCounts(computed=27, reused=0, dropped=0)
    again = extract_locally(recipe)
    assert again.extraction == ExtractionCounts(computed=0, reused=27, dropped=0)
    assert again.folder == store.folder and again.fingerprint == store.fingerprint
    assert store.schema.widths == {"pose": 18, "dino": 16, "half": 18}
    assert store.schema.streams["half"].rate_hz == 12.5
    for opened in (open_store(store.folder), pickle.loads(pickle.dumps(store))):
        for record in opened.get_records("train"):
            streams = opened.get_features(record)
            assert {name: len(x) for name, x in streams.items()} == record.lengths
            np.testing.assert_array_equal(streams["half"], streams["pose"][::2])
    verify_store(store)
    describe_store(store)
    describe_store(store, "0")
    assert set(store.quality) == {"train", "validation", "test"}
    assert all(store.get_media_statistics("train"))
    assert compute_frame_statistics(store)["pose"][0].shape == (18,)
    assert not list(store.folder.glob("shards/*")), "nothing is copied"
    log_test_evaluation(store, "model", {"bleu": 1.0})
    assert count_test_evaluations(open_store(store.folder)) == 1


def test_a_part_is_found_by_a_recipe_without_others_and_finds_its_store(make: Make) -> None:
    recipe = make(POSE, HALF)
    alone = extract_locally(single(recipe, stride=2))
    assert alone.extraction is not None and alone.extraction.computed == 9
    store = extract_locally(recipe)
    assert store.extraction == ExtractionCounts(computed=9, reused=9, dropped=0)
    assert extract_locally(single(recipe)).extraction == ExtractionCounts(0, 9, 0)


def test_leaving_a_stream_out_gives_the_store_of_a_recipe_without_it(make: Make) -> None:
    """Also the hash of the configuration, with settings for the stream that is left out."""
    settings: dict[str, Any] = {
        "batch": {"truncate_frames": {"half": 5}},
        "model": {"encoders": {"half": {"kind": "mlp"}}},
    }
    recipe = make(POSE, HALF, streams="pose", **settings)
    store = extract_locally(recipe)
    alone = single(recipe.model_copy(update={"batch": make(POSE).batch, "model": make(POSE).model}))
    own = extract_locally(alone)
    assert (store.folder, store.parts) == (own.folder, None)
    assert recipe.compute_config_hash(store.fingerprint) == alone.compute_config_hash(
        own.fingerprint
    )
    assert recipe.effective_batch == alone.effective_batch
    assert recipe.effective_model == alone.effective_model
    # A third part changes neither, as long as it loses no clip.
    both = extract_locally(make(POSE, HALF))
    third = {**POSE, "name": "third", "stride": 3}
    more = extract_locally(make(POSE, third, HALF, streams="pose+half"))
    assert more.fingerprint == both.fingerprint
    swapped = extract_locally(make(POSE, HALF, streams="half+pose"))
    assert swapped.fingerprint != both.fingerprint
    assert list(swapped.schema.streams) == ["half", "pose"]


def test_clips_must_have_every_part_whichever_are_selected(
    make: Make, corpus: Path, tmp_path: Path
) -> None:
    """An own source lists two clips of the corpus less, and one more."""
    own = tmp_path / "own"
    shutil.copytree(corpus, own)
    lines = (own / "train.tsv").read_text().splitlines()
    (own / "train.tsv").write_text("\n".join([lines[0], *lines[3:], "films/5.mp4\tAnother."]))
    (corpus / "poses/films/4.pose").write_bytes(b"no pose")
    source = {
        "kind": "pose_tsv",
        "root": str(own / "poses"),
        "names_videos": True,
        **{split: str(own / f"{split}.tsv") for split in ("train", "validation", "test")},
    }
    # The validation clip 5 is in train of the own source.
    lines = (own / "validation.tsv").read_text().splitlines()
    (own / "validation.tsv").write_text("\n".join([lines[0], lines[2]]))
    half = {**HALF, "source": source}
    with pytest.raises(StoreError, match="clip `5` is in the split validation"):
        extract_locally(make(POSE, half, store={"max_dropped_share": 0.9}))
    text = (own / "train.tsv").read_text().replace("films/5.mp4", "films/55.mp4")
    shutil.copyfile(own / "poses/films/5.pose", own / "poses/films/55.pose")
    (own / "train.tsv").write_text(text)
    with pytest.raises(StoreError, match=r"4 of 9 clips .* cannot be used"):
        extract_locally(make(POSE, half, store={"max_dropped_share": 0.2}))
    with pytest.raises(StoreError, match="does not allow these splits"):
        limits = {"max_dropped_share": 0.9, "required_splits": ["validation"]}
        extract_locally(make(POSE, half, store=limits))
    for streams in ("pose", "half", "pose+half"):
        recipe = make(POSE, half, streams=streams, store={"max_dropped_share": 0.9})
        store = extract_locally(recipe)
        assert ids(store) == ["2", "3"] and ids(store, "validation") == ["6"]
        assert list(store.schema.streams) == streams.split("+")
        dropped = store.manifest["dropped"]
        assert list(dropped["reasons"].values()) == [3, 1]
        assert dropped["reasons"]["missing_stream"] == 3
        check = check_corpus(recipe)
        assert sorted((row.clip_id, row.reason) for row in check.problems) == sorted(
            (row["clip_id"], row["reason"]) for row in dropped["rows"]
        )
        assert [clip.id for clip in check.clips] == ["2", "3", "6", "7", "8"]


def test_a_column_names_the_media_of_a_part(make: Make, corpus: Path) -> None:
    """Ids stay those of `signal`, also where names repeat; an empty field is counted."""
    for path in corpus.glob("*.tsv"):
        header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
        table = [[*header, "other"], *([*row, f"again/{row[0][6:-4]}.pose"] for row in rows)]
        if path.stem == "train":
            table[1][2] = ""
        path.write_text("\n".join("\t".join(row) for row in table))
    shutil.copytree(corpus / "poses/films", corpus / "poses/again")
    column = {**HALF, "column": "other", "root": str(corpus / "poses")}
    limits = {"store": {"max_dropped_share": 0.2}}
    store = extract_locally(make(POSE, column, **limits))
    assert ids(store) == ["1", "2", "3", "4"]
    (row,) = store.manifest["dropped"]["rows"]
    assert (row["clip_id"], row["reason"], row["split"]) == ("0", "missing_media", "train")
    for record in store.get_records("train"):
        streams = store.get_features(record)
        np.testing.assert_array_equal(streams["half"], streams["pose"][::2])
    with pytest.raises(SourceError, match="there is no column `others`; the table has `signal`"):
        ignored = {"ignore_columns": ["other"]}
        extract_locally(make(POSE, {**column, "column": "others"}, source=ignored))


def test_each_column_has_its_own_times(make: Make, corpus: Path) -> None:
    """Tables without `signal`: clips are named by `source.column`, with its times."""
    header = ["film", "film_start", "film_end", "motion", "motion_start", "motion_end", "output"]
    for path in corpus.glob("*.tsv"):
        rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
        table = [
            [row[0], "0", "320", f"again/{row[0][6:-4]}b.pose", "80", "0", row[-1]] for row in rows
        ]
        path.write_text("\n".join("\t".join(row) for row in [header, *table]))
    (corpus / "poses/again").mkdir()
    for pose in (corpus / "poses/films").glob("*.pose"):
        shutil.copy(pose, corpus / f"poses/again/{pose.stem}b.pose")
    source = {"column": "film"}
    motion = {**HALF, "stride": 1, "column": "motion", "root": str(corpus / "poses")}
    store = extract_locally(make(POSE, motion, source=source))
    assert ids(store) == [f"{number}@0-320" for number in range(5)]
    for number, record in enumerate(store.get_records("train")):
        streams, num_frames = store.get_features(record), 10 + number * 17 % 50
        assert len(streams["pose"]) == 8 and len(streams["half"]) == num_frames - 2
        np.testing.assert_array_equal(streams["pose"][2:], streams["half"][:6])


def test_the_plan_sums_the_parts(make: Make, tmp_path: Path) -> None:
    recipe = make(POSE, video_part("dino", tmp_path / "dino"))
    summary = summarize_extraction_plan(recipe)
    assert (summary.num_to_compute, summary.exists) == (18, False)
    extract_locally(make(POSE))
    summary = summarize_extraction_plan(recipe)
    assert (summary.num_to_compute, summary.num_to_reuse) == (9, 9)
    extract_locally(recipe)
    assert summarize_extraction_plan(recipe).exists


def test_a_part_that_is_gone_or_another_is_named(make: Make) -> None:
    store = extract_locally(make(POSE, HALF))
    pose, half = ((store.folder / part["folder"]).resolve() for part in store.manifest["parts"])
    pose.rename(pose.with_name("moved"))
    with pytest.raises(StoreError, match=f"{pose.name}` contains no feature store"):
        open_store(store.folder)
    shutil.copytree(half, pose)
    with pytest.raises(StoreError, match=r"the stream `pose` of .* has other features"):
        open_store(store.folder)
    assert json.loads((store.folder / "manifest.json").read_text())["parts"]
