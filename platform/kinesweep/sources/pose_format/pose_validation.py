"""Validation of the contents of `.pose` files, with a reason word for each error.

The functions take plain values from the reader and raise a `ClipError` that names the file. The
reader itself checks that the bytes are a complete `.pose` file.

Shapes: T frames, J points.
"""

from pathlib import Path

import numpy as np

from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.units import Span


def resolve_frame_range(path: Path, span: Span, fps: float, num_frames: int) -> tuple[int, int]:
    """Resolve a span to the index of its first frame and of the frame after its last.

    Raises:
        ClipError: With reason `no_frames`, `span_beyond_file` or `empty_span`.
    """
    if num_frames == 0:
        raise ClipError(f"`{path}` holds no frames", "no_frames")
    try:
        return span.to_frame_range(fps, num_frames)
    except InputError as error:
        # Bounds in the wrong order are an error of the row; otherwise the file is too short.
        is_empty = span.start is not None and span.end is not None and span.end <= span.start
        reason = "empty_span" if is_empty else "span_beyond_file"
        raise ClipError(f"`{path}`: {error}", reason) from None


def validate_fps(path: Path, fps: float) -> float:
    """Check that a frame rate is positive and finite, and return it.

    Raises:
        ClipError: With reason `bad_fps`.
    """
    if not 0 < fps < float("inf"):  # also false for NaN
        raise ClipError(
            f"`{path}` declares {fps:g} frames a second; the rate must be positive and finite",
            "bad_fps",
        )
    return float(fps)


def check_person(path: Path, person: int, num_people: int) -> None:
    """Check that the file contains the selected person.

    Raises:
        ClipError: With reason `no_people` or `no_such_person`.
    """
    if num_people == 0:
        raise ClipError(f"`{path}` holds no people", "no_people")
    if person >= num_people:
        raise ClipError(
            f"`{path}` holds {num_people} people, numbered from 0, but `source.person` is {person}",
            "no_such_person",
        )


def check_finite(sequence: PoseSequence, path: Path) -> None:
    """Check that all points with non-zero confidence have finite coordinates.

    Raises:
        ClipError: With reason `nan_frames`.
    """
    points_TPJC, confidence_TPJ = sequence.points_TPJC, sequence.confidence_TPJ
    with np.errstate(all="ignore"):
        # Fast path in one pass: a sum with NaN or infinity in it is never finite.
        if np.isfinite(points_TPJC.sum() + confidence_TPJ.sum()):
            return
    # Coordinates of points that were not found (confidence 0) may be anything.
    bad_TJ = ~np.isfinite(points_TPJC).all(-1) & (confidence_TPJ != 0)
    bad_TJ = (bad_TJ | ~np.isfinite(confidence_TPJ))[:, 0]
    if bad_TJ.any():
        num_bad = int(bad_TJ.any(1).sum())
        raise ClipError(
            f"`{path}` has coordinates that are not numbers in {num_bad} of {len(bad_TJ)} frames,"
            " first in component"
            f" `{_find_component(sequence.layout, int(bad_TJ.any(0).argmax()))}`."
            " A point that was not found must have confidence 0; estimate the file again",
            "nan_frames",
        )


def _find_component(layout: PointLayout, point: int) -> str:
    """Return the name of the component that contains a point."""
    for name, points in layout.components:
        if point < len(points):
            return name
        point -= len(points)
    raise AssertionError("the point is not part of this layout")
