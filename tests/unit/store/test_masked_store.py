"""Stores of points with their mask: told in the manifest, copied with it, drawn without it."""

import json
from pathlib import Path

import numpy as np
import pytest

from corpus import tiny_corpus, tiny_recipe
from kinesweep.core.schema import StreamSchema
from kinesweep.core.skeleton.skeleton import SMPL_22
from kinesweep.core.vocabulary import TokenVocabulary
from kinesweep.report.pose_scene import build_scene, load_clip_scenes
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.extraction.chunk_processor import ClipStatus, StreamStatus
from kinesweep.store.extraction.extract import _decode_clip_status, _encode_clip_status


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("masked")
    tiny_corpus(made, clips=12)
    return made


def extract(folder: Path, **features: object) -> Store:
    return extract_locally(tiny_recipe(folder / "corpus", folder / "stores", features=features))


def test_zero_and_interpolate_store_what_earlier_versions_did(folder: Path) -> None:
    stores = {missing: extract(folder, missing=missing) for missing in ("zero", "interpolate")}
    keys = {"width", "rate_hz", "dtype", "layout"}
    assert all(set(store.manifest["streams"]["pose"]) == keys for store in stores.values())
    (zero, filled) = (
        store.get_features(store.get_records("train")[0])["pose"] for store in stores.values()
    )
    np.testing.assert_array_equal(filled[zero != 0], zero[zero != 0])
    assert (filled == 0).mean() < (zero == 0).mean()


def test_the_mask_is_one_more_value_a_point(folder: Path) -> None:
    zero, masked = extract(folder), extract(folder, missing="mask")
    schema = masked.schema.streams["pose"]
    assert schema.has_mask and schema.width == 178 * 4
    assert schema.layout == zero.schema.streams["pose"].layout
    for old, new in zip(zero.get_records("train"), masked.get_records("train"), strict=True):
        x_TJC = masked.get_features(new)["pose"].reshape(-1, 178, 4)
        plain = zero.get_features(old)["pose"].reshape(-1, 178, 3)
        np.testing.assert_array_equal(x_TJC[..., :3], plain)
        assert set(np.unique(x_TJC[..., 3])) == {0, 1}
        assert not x_TJC[..., :3][x_TJC[..., 3] == 0].any()


def test_copied_clips_keep_it(folder: Path) -> None:
    first = extract(folder, missing="mask")
    table = folder / "corpus/train.tsv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    try:
        second = extract(folder, missing="mask")
    finally:
        table.write_text("".join(lines))
    assert second.folder != first.folder and second.extraction.computed == 0
    assert second.schema == first.schema


def test_it_crosses_processes_as_json() -> None:
    for has_mask in (False, True):
        status = ClipStatus(0, {"pose": StreamStatus(5, 88, 25.0, SMPL_22.layout, has_mask)})
        row = json.loads(json.dumps(_encode_clip_status(status)))
        assert _decode_clip_status(row) == status
        schema = StreamSchema(88, None, "float16", SMPL_22.layout, has_mask, ((24.0, 3), (25.0, 1)))
        assert StreamSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema

    tokens = TokenVocabulary("bytes", 256, 64 * "0")
    status = ClipStatus(0, {"text": StreamStatus(5, 1, 1.0, vocabulary=tokens)})
    assert _decode_clip_status(json.loads(json.dumps(_encode_clip_status(status)))) == status


def test_drawings_show_coordinates_and_what_was_found(folder: Path) -> None:
    zero, masked = extract(folder), extract(folder, missing="mask")
    (old,), (new,) = (
        load_clip_scenes(store, store.get_records("test")[0]) for store in (zero, masked)
    )
    np.testing.assert_array_equal(new.points_TJC, old.points_TJC)
    np.testing.assert_array_equal(new.detected_TJ, old.detected_TJ)


def test_two_coordinates_and_a_mask_are_not_drawn_as_three() -> None:
    x_TJC = np.ones((4, 22, 3), np.float32)
    x_TJC[1, 5] = 0
    scene = build_scene("s", x_TJC.reshape(4, 66), SMPL_22.layout, 25.0, has_mask=True)
    assert scene.points_TJC.shape == (4, 22, 2)
    assert scene.detected_TJ.sum() == 4 * 22 - 1
