"""What the contents of a `.pose` file may be wrong about, each with its reason word.

Plain values come in from the reader, a `ClipError` that names the file goes out. Whether the bytes
are a `.pose` file at all, and are all there, is the reader's to say.

Shapes: T frames, J points.
"""

from pathlib import Path

import numpy as np

from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.pose import PointLayout, PoseSequence
from kinesweep.core.units import Span


def frames_of(path: Path, span: Span, fps: float, num_frames: int) -> tuple[int, int]:
    """First frame of a span and the one after its last.

    Raises:
        ClipError: reason `no_frames`, `span_beyond_file` or `empty_span`.
    """
    if num_frames == 0:
        raise ClipError(f"`{path}` holds no frames", "no_frames")
    try:
        return span.frames(fps, num_frames)
    except InputError as error:
        empty = span.start is not None and span.end is not None and span.end <= span.start
        reason = "empty_span" if empty else "span_beyond_file"
        raise ClipError(f"`{path}`: {error}", reason) from None


def checked_fps(path: Path, fps: float) -> float:
    """The frame rate, if it is one.

    Raises:
        ClipError: reason `bad_fps`.
    """
    if not 0 < fps < float("inf"):
        raise ClipError(f"`{path}` says that it has {fps:g} frames a second", "bad_fps")
    return float(fps)


def check_person(path: Path, person: int, num_people: int) -> None:
    """Refuses a person that the file does not hold.

    Raises:
        ClipError: reason `no_people` or `no_such_person`.
    """
    if num_people == 0:
        raise ClipError(f"`{path}` holds no people", "no_people")
    if person >= num_people:
        raise ClipError(
            f"`{path}` holds {num_people} people, counted from 0, but `source.person` is {person}",
            "no_such_person",
        )


def check_finite(sequence: PoseSequence, path: Path) -> None:
    """Refuses NaN and infinity where a point is said to be found.

    Raises:
        ClipError: reason `nan_frames`.
    """
    points_TPJC, confidence_TPJ = sequence.points_TPJC, sequence.confidence_TPJ
    with np.errstate(all="ignore"):
        if np.isfinite(points_TPJC.sum() + confidence_TPJ.sum()):
            return  # one pass; NaN and infinity never leave a sum finite
    bad_TJ = ~np.isfinite(points_TPJC).all(-1) & (confidence_TPJ != 0)
    bad_TJ = (bad_TJ | ~np.isfinite(confidence_TPJ))[:, 0]
    if bad_TJ.any():
        num_bad = int(bad_TJ.any(1).sum())
        raise ClipError(
            f"`{path}` has coordinates that are not numbers in {num_bad} of {len(bad_TJ)} frames,"
            f" first in component `{_component(sequence.layout, int(bad_TJ.any(0).argmax()))}`."
            " A point that was not found must have confidence 0; estimate the file again",
            "nan_frames",
        )


def _component(layout: PointLayout, point: int) -> str:
    """Name of the component that holds a point."""
    for name, points in layout.components:
        if point < len(points):
            return name
        point -= len(points)
    raise AssertionError("the point is not of this layout")
