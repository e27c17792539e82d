"""Spans, bytes, errors, hashes, seeds and paths."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesweep.core import errors
from kinesweep.core.hashing import compute_file_hashes, compute_fingerprint, flatten_mapping
from kinesweep.core.paths import resolve_path_inside
from kinesweep.core.seeds import create_generator, derive_seed
from kinesweep.core.units import Span, format_bytes, parse_bytes


def test_span_rule() -> None:
    assert Span().to_frame_range(25, 10) == (0, 10)
    assert Span.from_ms(0, 0).is_full
    assert Span.from_ms(100, 0).to_frame_range(25, 10) == (2, 10)
    assert Span.from_ms(0, 101).to_frame_range(25, 10) == (0, 3)
    assert Span.from_ms(0, 280).to_frame_range(25, 10) == (0, 8)  # 280 / 1000 * 25 is above 7
    assert Span.from_ms(4100, 0).to_frame_range(30, 200) == (
        122,
        200,
    )  # 4100 / 1000 * 30 is below 123
    assert Span.from_frames(3, 99).to_frame_range(25, 10) == (3, 10)
    with pytest.raises(errors.InputError, match="10 frames"):
        Span.from_ms(400, 0).to_frame_range(25, 10)
    with pytest.raises(errors.InputError, match="empty"):
        Span.from_ms(300, 200).to_frame_range(25, 10)


@given(st.floats(1, 1e5), st.floats(1, 1e5), st.floats(1, 120))
def test_span_is_floor_and_ceiling(start: float, length: float, fps: float) -> None:
    first, last = Span.from_ms(start, start + length).to_frame_range(fps, 10**9)
    assert first == math.floor(start / 1000 * fps)
    assert last == math.ceil((start + length) / 1000 * fps)


@pytest.mark.parametrize(
    ("text", "count"), [("50 GB", 5 * 10**10), ("1.5 MiB", 1572864), ("7", 7), ("2kb", 2000)]
)
def test_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "5 parsecs", "-3 GB"])
def test_not_bytes(text: str) -> None:
    with pytest.raises(errors.InputError, match="amount of bytes"):
        parse_bytes(text)


def test_bytes_for_people() -> None:
    assert [format_bytes(n) for n in (12, 1500, 2.5e9)] == ["12 B", "1.5 KB", "2.5 GB"]


@pytest.mark.parametrize(
    "error",
    [
        errors.InputError("a"),
        errors.ClipError("b", reason="nan_frames"),
        errors.ConfigError("file", [("a.b", "is wrong"), ("c", "too")]),
        errors.CheckpointError("c"),
        errors.TrainingError("d"),
    ],
)
def test_errors_cross_processes(error: errors.KinesweepError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert getattr(again, "reason", None) == getattr(error, "reason", None)


def test_hashes(tmp_path: Path) -> None:
    assert compute_fingerprint({"b": 1, "a": [1, 2]}) == compute_fingerprint({"a": [1, 2], "b": 1})
    assert compute_fingerprint({"a": 1}) != compute_fingerprint({"a": 2})
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "f").write_bytes(b"1")
    before = compute_file_hashes(tmp_path)
    assert list(before) == ["x/f"]
    (tmp_path / "x" / "f").write_bytes(b"2")
    assert compute_file_hashes(tmp_path) != before
    assert flatten_mapping({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}) == {
        "a.b": 1,
        "a.c.d": [2],
        "e": {},
    }


def test_seeds_depend_on_their_parts_alone() -> None:
    assert derive_seed(1, "x", 2) == derive_seed(1, "x", 2)
    assert len({derive_seed(s, w) for s in range(50) for w in ("a", "b")}) == 100
    assert derive_seed("1", "12") != derive_seed("11", "2")
    np.testing.assert_array_equal(create_generator(3).random(4), create_generator(3).random(4))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd"])
def test_paths_stay_inside(tmp_path: Path, path: str) -> None:
    with pytest.raises(errors.ClipError, match="outside") as caught:
        resolve_path_inside(tmp_path, path)
    assert caught.value.reason == "outside_root"


def test_paths_stay_inside_a_relative_root() -> None:
    with pytest.raises(errors.ClipError, match="outside"):
        resolve_path_inside(Path("."), "../elsewhere.pose")
    assert resolve_path_inside(Path("."), "a.pose") == Path("a.pose")
    assert resolve_path_inside(Path("../data"), "a.pose") == Path("../data/a.pose")


def test_paths_inside(tmp_path: Path) -> None:
    assert resolve_path_inside(tmp_path, "a/../b") == tmp_path / "b"
    assert resolve_path_inside(tmp_path, str(tmp_path / "c")) == tmp_path / "c"
