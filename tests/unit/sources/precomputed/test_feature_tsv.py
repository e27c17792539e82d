"""Tables of feature files: all formats and axes, spans in each unit; what is wrong is named."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kinesweep.config.loading import validate_config
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.core.errors import ClipError, ConfigError, SourceError
from kinesweep.sources import build_source

HEADER = "signal\tsignal_start\tsignal_end\tencoder_prompt\tdecoder_prompt\toutput"


def features(frames: int = 10, width: int = 3) -> NDArray[np.float32]:
    """Every number another."""
    return np.arange(1, 1 + frames * width, dtype=np.float32).reshape(frames, width)


def source_of(folder: Path, *rows: str, **settings: Any) -> Any:
    """A corpus with these rows of path, start and end; each has prompts and a text."""
    lines = [f"{row}\t__asl__\t__en__\tA text." for row in rows]
    (folder / "train.tsv").write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    plain = {"kind": "feature_tsv", "fps": 25, "train": str(folder / "train.tsv"), **settings}
    return build_source(validate_config(FeatureTsvConfig, plain, "test"))


def read_only_clip(source: Any) -> Any:
    (clip,) = source.list_clips("train")
    return source.read(clip)


def save(path: Path, x: Any) -> None:
    if path.suffix == ".pt":
        torch.save(torch.from_numpy(x) if isinstance(x, np.ndarray) else x, path)
    elif path.suffix == ".npz":
        np.savez(path, features=x)
    else:
        np.save(path, x)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.pt", "A.NPY"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_all_formats_and_floats_are_read(tmp_path: Path, name: str, dtype: Any) -> None:
    save(tmp_path / "a.tmp.npy" if name == "A.NPY" else tmp_path / name, features().astype(dtype))
    if name == "A.NPY":
        (tmp_path / "a.tmp.npy").rename(tmp_path / name)
    source = source_of(tmp_path, f"{name}\t0\t0")
    (clip,) = source.list_clips("train")
    assert (clip.id, clip.encoder_prompt, clip.decoder_prompt) == (name[0], "__asl__", "__en__")
    found = source.read(clip)
    assert found.x_TD.dtype == np.float32 and found.rate_hz == 25
    np.testing.assert_array_equal(found.x_TD, features())


def test_a_bfloat16_tensor_is_read(tmp_path: Path) -> None:
    torch.save(torch.from_numpy(features()).bfloat16().requires_grad_(), tmp_path / "a.pt")
    np.testing.assert_array_equal(read_only_clip(source_of(tmp_path, "a.pt\t\t")).x_TD, features())


@pytest.mark.parametrize(
    ("shape", "axis"), [((10, 3), 0), ((3, 10), 1), ((1, 10, 3), 1), ((3, 1, 10), 2)]
)
def test_time_may_be_any_axis(tmp_path: Path, shape: tuple[int, ...], axis: int) -> None:
    stored = features() if axis == len(shape) - 2 or axis == 0 else features().T
    np.save(tmp_path / "a.npy", stored.reshape(shape))
    found = read_only_clip(source_of(tmp_path, "a.npy\t0\t0", time_axis=axis))
    np.testing.assert_array_equal(found.x_TD, features())


def test_further_axes_are_flattened_in_their_order(tmp_path: Path) -> None:
    x = np.arange(4 * 2 * 3, dtype=np.float32).reshape(4, 2, 3)
    np.save(tmp_path / "a.npy", x)
    found = read_only_clip(source_of(tmp_path, "a.npy\t0\t0"))
    np.testing.assert_array_equal(found.x_TD, x.reshape(4, 6))


@pytest.mark.parametrize(
    ("unit", "times", "kept"),
    [("ms", "80\t200", (2, 5)), ("s", "0.08\t0.2", (2, 5)), ("frames", "2\t5", (2, 5))],
)
def test_spans_count_at_the_rate_of_the_features(
    tmp_path: Path, unit: str, times: str, kept: tuple[int, int]
) -> None:
    for axis in (0, 1):
        np.save(tmp_path / "a.npy", features() if axis == 0 else features().T)
        source = source_of(tmp_path, f"a.npy\t{times}", time_unit=unit, time_axis=axis)
        np.testing.assert_array_equal(read_only_clip(source).x_TD, features()[slice(*kept)])


def object_array(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


BAD_FILES = [
    ("a.npy", None, "missing_file"),
    ("a.npy", b"no array", "unreadable"),
    ("a.npz", b"PK\x03\x04 damaged", "unreadable"),
    ("a.pt", pickle.dumps({"x": 1}), "unreadable"),
    ("a.pt", {"features": torch.ones(2, 2)}, "unreadable"),
    ("a.npy", np.arange(6).reshape(2, 3), "wrong_dtype"),
    ("a.pt", np.arange(6).reshape(2, 3), "wrong_dtype"),
    ("a.npy", np.ones(4, np.float32), "wrong_shape"),
    ("a.npy", np.ones((0, 4), np.float32), "no_frames"),
    ("a.npy", object_array, "pickled"),
]


@pytest.mark.parametrize(("name", "content", "reason"), BAD_FILES)
def test_a_bad_file_is_a_counted_row(tmp_path: Path, name: str, content: Any, reason: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif callable(content):
        content(path)
    elif content is not None:
        save(path, content)
    (row,) = source_of(tmp_path, f"{name}\t0\t0").check_clips()
    assert (row.reason, row.row) == (reason, "train.tsv:2")
    assert row.message.startswith("train.tsv:2: ") and name in row.message


def test_an_axis_or_a_span_that_a_file_lacks(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", features())
    with pytest.raises(ClipError, match="axis 2 as time") as caught:
        read_only_clip(source_of(tmp_path, "a.npy\t0\t0", time_axis=2))
    assert caught.value.reason == "wrong_shape"
    with pytest.raises(ClipError, match="the file has 10 frames") as caught:
        read_only_clip(source_of(tmp_path, "a.npy\t2000\t4000"))
    assert caught.value.reason == "span_beyond_file"


def test_other_files_are_errors_that_name_their_source(tmp_path: Path) -> None:
    source = source_of(tmp_path, "a.pose\t0\t0", "b.mp4\t0\t0", "c.h5\t0\t0", "\t0\t0")
    with pytest.raises(SourceError) as caught:
        source.list_clips("train")
    text = str(caught.value)
    assert "`kind: pose_tsv`" in text and "`kind: video_tsv`" in text
    assert "`c.h5`, which is not a file with features (`.npy`, `.npz`, `.pt`)" in text
    assert "is empty; it must name a file with features" in text


def test_the_rate_is_required(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fps"):
        validate_config(FeatureTsvConfig, {"kind": "feature_tsv", "train": "t.tsv"}, "test")


def test_time_axis_and_rate_are_read_options(tmp_path: Path) -> None:
    options = [
        source_of(tmp_path, **settings).get_read_options()
        for settings in ({}, {"time_axis": 1}, {"fps": 10})
    ]
    assert len({json.dumps(values) for values in options}) == 3
