"""`.pose` files of every version with the points of MediaPipe Holistic that signing needs; by code.

Written after the specifications in the folder `docs/specs` of
https://github.com/sign-language-processing/pose (v0.0, v0.1, v0.2). Shapes: T frames, P people, J
points, C coordinates.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.skeleton.keypoints import BODY_33, FACE_128, HAND_21

Components = Sequence[tuple[str, Sequence[str]]]
HOLISTIC: Components = (
    ("POSE_LANDMARKS", BODY_33),
    ("FACE_LANDMARKS", tuple(map(str, FACE_128))),
    ("LEFT_HAND_LANDMARKS", HAND_21),
    ("RIGHT_HAND_LANDMARKS", HAND_21),
)
NUM_POINTS = sum(len(points) for _, points in HOLISTIC)
LEFT_HAND = slice(33 + 128, 33 + 128 + 21)
SHOULDERS = (BODY_33.index("LEFT_SHOULDER"), BODY_33.index("RIGHT_SHOULDER"))


def signer(
    frames: int = 12, num_dims: int = 3, num_points: int = NUM_POINTS, seed: int = 0
) -> NDArray[np.float32]:
    """A person (T, 1, J, C) whose points all move, with shoulders 100 pixels apart."""
    x_TPJC = np.random.default_rng(seed).normal(300, 40, (frames, 1, num_points, num_dims))
    for joint, x in zip(SHOULDERS, (350, 250), strict=True):
        if joint < num_points:
            x_TPJC[:, :, joint, 0] = x + np.linspace(0, 1, frames)[:, None]
    return x_TPJC.astype(np.float32)


def header(version: float, components: Components = HOLISTIC, form: str = "XYZC") -> bytes:
    """Version, size of the picture and components, each with one limb."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value.encode())) + value.encode()

    parts = [struct.pack("<fHHHH", version, 640, 480, 0, len(components))]
    for name, points in components:
        parts += [text(name), text(form), struct.pack("<HHH", len(points), 1, 1)]
        parts += [text(point) for point in points]
        parts += [struct.pack("<HHHHH", 0, 0, 255, 0, 0)]
    return b"".join(parts)


def pose_file(
    points_TPJC: NDArray[np.float32] | None = None,
    confidence_TPJ: NDArray[np.float32] | None = None,
    version: float = 0.2,
    fps: float = 25.0,
    components: Components = HOLISTIC,
    **changes: Any,
) -> bytes:
    """The bytes of a file; by default 12 frames of one person of whom all points are found.

    `changes`: `header_version`, a version in the header other than that of the body.
    """
    points_TPJC = signer() if points_TPJC is None else points_TPJC
    frames, people = points_TPJC.shape[:2]
    if confidence_TPJ is None:
        confidence_TPJ = np.ones(points_TPJC.shape[:3], np.float32)
    form = "XYZ"[: points_TPJC.shape[3]] + "C"
    front = header(changes.get("header_version", version), components, form)
    if version == 0.0:
        front += struct.pack("<HH", int(fps), frames)
        for frame in range(frames):
            front += struct.pack("<H", people)
            for person in range(people):
                both = (points_TPJC[frame, person], confidence_TPJ[frame, person, :, None])
                front += struct.pack("<h", person) + np.concatenate(both, -1).tobytes()
        return front
    if version == 0.1:
        front += struct.pack("<HHH", int(fps), frames, people)
    else:
        front += struct.pack("<fIH", fps, frames, people)
    return front + points_TPJC.tobytes() + confidence_TPJ.tobytes()
