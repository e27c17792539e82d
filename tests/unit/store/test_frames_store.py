"""Stores of frames: pixels in bytes, or only lengths beside the videos."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from films import write_video
from frames import SCRATCH, SIZE, frames_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.frames import decode_frames
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.pipelines.extraction import find_training_store, open_existing_store
from kinesweep.store.export.export_h5 import export_h5_shards
from kinesweep.store.export.export_ssvp import export_ssvp_features
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.plan import summarize_extraction_plan
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.inspect.checks import find_shared_features, verify_store
from kinesweep.store.inspect.show import describe_store
from kinesweep.store.inspect.statistics import compute_frame_statistics
from kinesweep.training.loop.run import write_initial_model
from parts import POSE, films_with_poses, parts_recipe
from vision import film_corpus

pytestmark = pytest.mark.integration


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return film_corpus(tmp_path / "corpus", train=3, validation=1)


def shown(renderable: Any) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def read_all(store: Store) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {
        record.clip.id: store.get_features(record)["video"]
        for split in store.splits
        for record in store.get_records(split)
    }


def test_both_storages_give_the_pixels_of_the_films(corpus: Path, tmp_path: Path) -> None:
    stores = {
        storage: extract_locally(frames_recipe(corpus, tmp_path / "stores", storage))
        for storage in ("decoded", "video")
    }
    for storage, store in stores.items():
        schema = store.schema.streams["video"]
        assert (schema.width, schema.dtype, schema.rate_hz) == (SIZE * SIZE * 3, "uint8", 25)
        assert (schema.frame_size, schema.reads_video) == (SIZE, storage == "video")
        for record in store.get_records("train"):
            pixels = store.get_features(record)["video"]
            expected = decode_frames(VideoSegment(corpus / record.clip.media), SIZE, 25)
            assert pixels.dtype == np.uint8
            np.testing.assert_array_equal(pixels, expected)
            assert record.lengths == {"video": len(expected)}
        verify_store(store)
        assert find_shared_features(store) == []
        # In another process, the store is opened again.
        again = read_all(pickle.loads(pickle.dumps(store)))
        assert all(np.array_equal(again[name], x) for name, x in read_all(store).items())
    digests = [[r.digest for r in store.get_records("train")] for store in stores.values()]
    assert digests[0] == digests[1]
    # 10, 27, 44 and 11 frames.
    decoded, video = stores.values()
    pixel_bytes = sum(map(len, read_all(decoded).values())) * SIZE * SIZE * 3
    assert pixel_bytes == 92 * 768 <= decoded.manifest["bytes"] < 92 * 768 + 20_000
    assert list(video.manifest["files"]) == ["index.arrow"]
    record = decoded.get_records("train")[0]
    assert [s.compute_clip_bytes(record) for s in stores.values()] == [10 * 768, 0]


def test_a_shard_of_frames_holds_one_clip_per_batch(corpus: Path, tmp_path: Path) -> None:
    store = extract_locally(frames_recipe(corpus, tmp_path / "stores"))
    record = store.get_records("train")[2]
    with pa.memory_map(str(store.folder / record.shard)) as file:
        shard = pa.ipc.open_file(file)
        assert [shard.get_batch(i).num_rows for i in range(shard.num_record_batches)] == [1, 1, 1]
    # Views of the file, not copies.
    assert not store.get_features(record)["video"].flags.writeable
    assert not list(store.folder.rglob(".*"))


def test_a_dropped_clip_takes_no_row(corpus: Path, tmp_path: Path) -> None:
    (corpus / "films" / "1.mp4").write_bytes(b"not a video")
    for storage in ("decoded", "video"):
        store = extract_locally(
            frames_recipe(corpus, tmp_path / "stores", storage, store={"max_dropped_share": 0.5})
        )
        assert store.manifest["dropped"]["reasons"] == {"not_a_video": 1}
        first, last = store.get_records("train")
        for record, number in ((first, 0), (last, 2)):
            expected = decode_frames(VideoSegment(corpus / f"films/{number}.mp4"), SIZE, 25)
            np.testing.assert_array_equal(store.get_features(record)["video"], expected)


@pytest.mark.parametrize("storage", ["decoded", "video"])
def test_unchanged_films_are_not_decoded_again(
    corpus: Path, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = frames_recipe(corpus, tmp_path / "stores", storage)
    old = extract_locally(recipe)
    summary = summarize_extraction_plan(recipe)
    assert (summary.exists, summary.num_to_reuse) == (True, 4)
    write_video(corpus / "films" / "1.mp4", 33)
    summary = summarize_extraction_plan(recipe)
    assert (summary.num_to_compute, summary.num_to_reuse) == (1, 3)
    decoded = []
    monkeypatch.setattr(
        "kinesweep.features.frames.FrameReader",
        _record_calls(decoded, "kinesweep.features.frames.FrameReader"),
    )
    new = extract_locally(recipe)
    assert decoded == ["1.mp4"]
    assert new.extraction is not None and old.folder != new.folder
    assert (new.extraction.computed, new.extraction.reused) == (1, 3)
    monkeypatch.undo()
    # The same store as one that is built from nothing.
    alone = extract_locally(frames_recipe(corpus, tmp_path / "others", storage))
    assert (alone.folder / "manifest.json").read_bytes() == (
        new.folder / "manifest.json"
    ).read_bytes()
    assert {name: len(x) for name, x in read_all(new).items()}["1"] == 33


def _record_calls(paths: list[str], target: str) -> Any:
    """A frame reader that notes the names of the files that are decoded."""
    from kinesweep.sources.video.frame_reader import FrameReader

    def read(segment: VideoSegment, size: int | None) -> FrameReader:
        paths.append(segment.path.name)
        return FrameReader(segment, size)

    return read


def test_the_plan_knows_the_size_of_frames(corpus: Path, tmp_path: Path) -> None:
    for storage, dtype, expected in (
        ("decoded", "float32", 92 * 768),
        ("decoded", "float16", 92 * 768),
        ("video", "float32", 0),
    ):
        recipe = frames_recipe(corpus, tmp_path, storage, store={"dtype": dtype})
        summary = summarize_extraction_plan(recipe)
        assert summary.store_bytes == pytest.approx(expected, rel=0.1)
    # The type of numbers does not concern pixels, so it changes no store.
    fingerprints = {
        summarize_extraction_plan(frames_recipe(corpus, tmp_path, store={"dtype": dtype})).folder
        for dtype in ("float16", "float32")
    }
    assert len(fingerprints) == 1


def test_a_changed_or_missing_film_is_an_error(corpus: Path, tmp_path: Path) -> None:
    store = extract_locally(frames_recipe(corpus, tmp_path / "stores", "video"))
    first, second, third = store.get_records("train")
    write_video(corpus / first.clip.media, 10, width=64)  # as many frames, but other ones
    (corpus / second.clip.media).unlink()
    (corpus / third.clip.media).write_bytes((corpus / third.clip.media).read_bytes()[:300])
    with pytest.raises(StoreError, match=r"films/0.mp4` of clip `0` shows other frames"):
        store.get_features(first)
    with pytest.raises(StoreError, match=r"clip `1` cannot be read any more: .*does not exist"):
        store.get_features(second)
    with pytest.raises(StoreError, match=r"clip `2` cannot be read any more"):
        store.get_features(third)
    store.get_features(store.get_records("validation")[0])


def test_a_moved_corpus_is_found_by_its_recipe(corpus: Path, tmp_path: Path) -> None:
    recipe = frames_recipe(corpus, tmp_path / "stores", "video")
    old = read_all(extract_locally(recipe))
    moved = Path(shutil.move(corpus, tmp_path / "moved"))
    store = open_store(next((tmp_path / "stores").glob("*/manifest.json")).parent)
    with pytest.raises(StoreError, match="cannot be read any more"):
        read_all(store)
    recipe = frames_recipe(moved, tmp_path / "stores", "video")
    found = open_existing_store(recipe)
    assert found.folder == store.folder
    assert all(np.array_equal(old[name], x_TD) for name, x_TD in read_all(found).items())
    record = found.folder.with_name(f"{found.folder.name}.videos.json")
    assert json.loads(record.read_text())["train"] == str(moved / "train.tsv")
    record.unlink()
    with pytest.raises(StoreError, match=r"`.*videos.json` beside it.*run `kinesweep extract`"):
        read_all(open_store(found.folder))
    assert extract_locally(recipe).folder == found.folder
    assert read_all(open_store(found.folder)).keys() == old.keys()


def test_an_evaluation_reads_the_videos_that_an_override_names(
    corpus: Path, tmp_path: Path
) -> None:
    recipe = frames_recipe(corpus, tmp_path / "stores", "video")
    store = extract_locally(recipe)
    write_initial_model(recipe, store, tmp_path / "model")
    moved = Path(shutil.move(corpus, tmp_path / "moved"))
    with pytest.raises(StoreError, match="cannot be read any more"):
        read_all(find_training_store(tmp_path / "model"))
    tables = [f"source.{split}={moved / split}.tsv" for split in ("train", "validation")]
    found = find_training_store(tmp_path / "model", [*tables, "source.test=null"])
    assert found.folder == store.folder and read_all(found)


def test_spans_of_several_corpora_are_decoded(tmp_path: Path) -> None:
    """Ids are prefixed with the name of the corpus, and each corpus has a root of its own."""
    corpora = []
    for name in ("one", "two"):
        folder = film_corpus(tmp_path / name, train=2, validation=1)
        (folder / "train.tsv").write_text(
            "signal\tsignal_start\tsignal_end\toutput\nfilms/1.mp4\t200\t600\tYes.\n"
            "films/1.mp4\t480\t1000\tNo.\n"
        )
        tables = {split: str(folder / f"{split}.tsv") for split in ("train", "validation")}
        corpora.append({"kind": "video_tsv", "name": name, **tables})
    base = frames_recipe(tmp_path / "one", tmp_path / "stores", "video").model_dump(mode="json")
    recipe = type(frames_recipe(tmp_path / "one", tmp_path)).model_validate(
        base | {"source": corpora}
    )
    store = extract_locally(recipe)
    records = store.get_records("train")
    assert [record.lengths["video"] for record in records] == [10, 13, 10, 13]
    whole = decode_frames(VideoSegment(tmp_path / "two" / "films" / "1.mp4"), SIZE, 25)
    np.testing.assert_array_equal(store.get_features(records[2])["video"], whole[5:15])
    segment = VideoSegment(tmp_path / "two" / "films" / "1.mp4", Span.from_ms(480, 1000))
    np.testing.assert_array_equal(
        store.get_features(records[3])["video"], decode_frames(segment, SIZE, 25)
    )


def test_the_schema_of_frames() -> None:
    plain = StreamSchema(8, 25.0, "float16")
    assert plain.to_json() == {"width": 8, "rate_hz": 25.0, "dtype": "float16", "layout": None}
    for schema in (
        StreamSchema(768, 25.0, "uint8", frame_size=16),
        StreamSchema(768, 25.0, "uint8", frame_size=16, reads_video=True),
    ):
        assert StreamSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
        assert schema.bytes_per_frame == (0 if schema.reads_video else 768)
    assert plain.bytes_per_frame == 16


def test_a_store_of_frames_is_shown(corpus: Path, tmp_path: Path) -> None:
    recipe = frames_recipe(corpus, tmp_path / "stores", "video")
    store = extract_locally(recipe)
    text = shown(describe_store(store))
    assert "16 × 16 × 3" in text and "uint8, read from the videos" in text
    clip = shown(describe_store(store, "0"))
    assert "10 frames × 16 × 16 × 3, 0.40 s at 25 Hz; mean brightness" in clip
    assert "train 3, validation 1" in repr(store)
    assert "frames of 16 × 16 pixels, decoded from the videos" in store._repr_html_()


def test_pixels_are_not_exported_as_features(corpus: Path, tmp_path: Path) -> None:
    store = extract_locally(frames_recipe(corpus, tmp_path / "stores"))
    for export in (export_h5_shards, export_ssvp_features):
        with pytest.raises(InputError, match="`video` holds frames of 16 × 16 pixels, and both"):
            export(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("decode", [False, True])
def test_a_check_finds_what_an_extraction_drops(corpus: Path, tmp_path: Path, decode: bool) -> None:
    content = (corpus / "films" / "2.mp4").read_bytes()
    (corpus / "films" / "2.mp4").write_bytes(content[: len(content) // 2])
    found = check_corpus(frames_recipe(corpus, tmp_path), decode=decode)
    assert [row.row for row in found.invalid_rows] == ["train.tsv:4"]
    assert ("not scaled" in found.not_checked) == decode


@pytest.mark.parametrize("storage", ["decoded", "video"])
def test_frames_beside_poses_are_read_from_the_store_of_their_part(
    tmp_path: Path, storage: str
) -> None:
    corpus = films_with_poses(tmp_path / "corpus", train=3, validation=1)
    film = {"name": "film", "kind": "frames", "size": SIZE, "storage": storage}

    def build(corpus: Path) -> Recipe:
        plain = parts_recipe(corpus, tmp_path / "stores", [POSE]).model_dump(mode="json")
        plain["model"] |= {"vision": {"scratch": SCRATCH}}
        plain["model"]["encoder"]["standardize"] = False
        return Recipe.model_validate(plain | {"features": [POSE, film]})

    recipe = build(corpus)
    store = extract_locally(recipe)
    assert store.schema.streams["film"].frame_size == SIZE
    for record in store.get_records("train"):
        streams = store.get_features(record)
        expected = decode_frames(VideoSegment(corpus / "films" / f"{record.clip.id}.mp4"), SIZE, 25)
        np.testing.assert_array_equal(streams["film"], expected)
        assert streams["pose"].dtype == np.float16
    assert list(compute_frame_statistics(store)) == ["pose"]
    verify_store(store)
    moved = Path(shutil.move(corpus, tmp_path / "moved"))
    found = open_existing_store(build(moved))
    assert found.fingerprint == store.fingerprint
    verify_store(found)
