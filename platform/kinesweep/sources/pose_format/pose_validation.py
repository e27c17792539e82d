"""Validation of the contents of `.pose` files, with a reason word for each error.

The functions take plain values from the reader and raise a `ClipError` that names the file. The
reader itself checks that the bytes are a complete `.pose` file.

Shapes: T frames, P people, J points, C coordinates.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PointLayout, PoseSequence
from kinesweep.core.units import Span


@dataclass(frozen=True)
class PoseSelection:
    """The part of a pose file to read.

    Attributes:
        span: Part of the file.
        person: Index of the person, from 0.
        fps: Frame rate that replaces the one that the file states; None keeps it.
    """

    span: Span
    person: int
    fps: float | None


def validate_fps(path: Path, stated_fps: float, fps: float | None = None) -> float:
    """Return the frame rate of a file, or the rate that replaces it, in frames per second.

    Args:
        path: Path of the file, for the error message.
        stated_fps: Frame rate that the file states.
        fps: Frame rate that replaces it; None keeps it.

    Raises:
        ClipError: With reason `bad_fps` if the stated rate is needed, but 0, negative or not
            finite.
    """
    if fps is not None:
        return fps
    if not 0 < stated_fps < float("inf"):  # also false for NaN
        raise ClipError(
            f"`{path}` declares {stated_fps:g} frames a second; the rate must be positive and"
            " finite; state the right one with `source.fps`",
            "bad_fps",
        )
    return float(stated_fps)


def check_person(path: Path, person: int, num_people: int) -> None:
    """Check that a file contains the selected person.

    Args:
        path: Path of the file, for the error message.
        person: Index of the selected person, from 0.
        num_people: Number of people in the file.

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
    """Check that all confidences and the coordinates of all detected points are finite.

    Detected are the points with a confidence other than 0.

    Args:
        sequence: Poses of one person (P = 1).
        path: Path of the file, for the error message.

    Raises:
        ClipError: With reason `nan_frames`.
    """
    points_TPJC, confidence_TPJ = sequence.points_TPJC, sequence.confidence_TPJ
    with np.errstate(all="ignore"):
        # Fast path in one pass: a sum with NaN or infinity in it is never finite.
        if np.isfinite(points_TPJC.sum() + confidence_TPJ.sum()):
            return
    # Coordinates of points that were not found (confidence 0) may be anything.
    invalid_TPJ = ~np.isfinite(points_TPJC).all(-1) & (confidence_TPJ != 0)
    invalid_TJ = (invalid_TPJ | ~np.isfinite(confidence_TPJ))[:, 0]
    if invalid_TJ.any():
        num_invalid_frames = int(invalid_TJ.any(1).sum())
        raise ClipError(
            f"`{path}` has coordinates that are not numbers in {num_invalid_frames} of"
            f" {len(invalid_TJ)} frames, first in component"
            f" `{_find_component(sequence.layout, int(invalid_TJ.any(0).argmax()))}`."
            " A point that was not found must have confidence 0; estimate the file again",
            "nan_frames",
        )


def _find_component(layout: PointLayout, point_index: int) -> str:
    """Return the name of the component of a layout that contains the point with an index."""
    for name, points in layout.components:
        if point_index < len(points):
            return name
        point_index -= len(points)
    raise AssertionError("the point is not part of this layout")
