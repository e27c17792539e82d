"""Tiny `.pose` files by hand: a layout of three points, numbers that can be told apart."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Components = Sequence[tuple[str, Sequence[str]]]
THREE_POINTS: Components = (("FACE", ("a",)), ("HAND", ("b", "c")))


def header_bytes(
    version: float = 0.2, components: Components = THREE_POINTS, form: str = "XYC", width: int = 64
) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value.encode())) + value.encode()

    parts = [struct.pack("<fHHHH", version, width, 48, 0, len(components))]
    for name, points in components:
        parts += [text(name), text(form), struct.pack("<HHH", len(points), 1, 1)]
        parts += [text(point) for point in points]
        parts += [struct.pack("<HH", 0, 0), struct.pack("<HHH", 255, 0, 0)]  # a limb, its colour
    return b"".join(parts)


def numbers(frames: int, people: int = 1, joints: int = 3, dims: int = 2) -> NDArray[np.float32]:
    """(T, P, J, C) where every number differs."""
    shape = (frames, people, joints, dims)
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)


def pose_bytes(
    points_TPJC: NDArray[np.float32] | None = None,
    confidence_TPJ: NDArray[np.float32] | None = None,
    version: float = 0.2,
    fps: float = 25,
    header: bytes | None = None,
) -> bytes:
    """A whole file; by default four frames of one person, all found."""
    points_TPJC = numbers(4) if points_TPJC is None else points_TPJC
    frames, people = points_TPJC.shape[:2]
    if confidence_TPJ is None:
        confidence_TPJ = np.ones(points_TPJC.shape[:3], np.float32)
    front = header_bytes(version) if header is None else header
    if version == 0.0:
        front += struct.pack("<HH", int(fps), frames)
        for frame in range(frames):
            front += struct.pack("<H", people)
            for person in range(people):
                joined = (points_TPJC[frame, person], confidence_TPJ[frame, person, :, None])
                front += struct.pack("<h", person) + np.concatenate(joined, -1).tobytes()
        return front
    form, count = ("<HHH", frames % 2**16) if version == 0.1 else ("<fIH", frames)
    front += struct.pack(form, int(fps) if version == 0.1 else fps, count, people)
    return front + points_TPJC.tobytes() + confidence_TPJ.tobytes()


@pytest.fixture
def write_pose(tmp_path: Path) -> Callable[..., Path]:
    """Writes `tmp_path/NAME` with the arguments of `encode_pose`."""

    def write(name: str = "clip.pose", **arguments: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pose_bytes(**arguments))  # type: ignore[arg-type]
        return path

    return write


@pytest.fixture
def make() -> dict[str, Callable[..., object]]:
    """The functions of this file, for tests that need their bytes."""
    return {"header": header_bytes, "pose": pose_bytes, "numbers": numbers}
