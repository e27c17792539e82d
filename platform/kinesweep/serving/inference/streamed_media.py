"""Points that were sent frame by frame, as the input of a bundle.

Poses become a pose sequence with the names of their points; motions and features a `.npy` file as
those of the corpus.

Shapes: T frames, J points, C coordinates, V values of a point.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.source import SingleSourceConfig
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.export.raw_inputs import Input
from kinesweep.serving.clip_request import StreamedPoints
from kinesweep.serving.errors import RequestError


def make_streamed_input(points: StreamedPoints, source: SingleSourceConfig, folder: Path) -> Input:
    """Make the input of points.

    Args:
        points: Points of all frames.
        source: Corpus that the model was trained on.
        folder: Temporary folder for a file.

    Raises:
        RequestError: If the points have no names, which a model of poses needs.
    """
    values_TV = points.to_array()
    # The name of the clip in the draws of sampling.
    file = folder / "stream.npy"
    if source.kind == "pose_tsv":
        pose = _make_pose(points)
        return Input(file, read_media=lambda: pose)
    if source.kind == "skeletons":
        array = values_TV.reshape(points.num_frames, -1, points.coordinates)
    else:
        # The reader of the corpus expects the time axis where its own files have it.
        array = np.moveaxis(values_TV, 0, getattr(source, "time_axis", 0))
    np.save(file, array)
    return Input(file)


def _make_pose(points: StreamedPoints) -> PoseSequence:
    """Make a pose sequence of one person.

    Raises:
        RequestError: If the points have no names.
    """
    if points.layout is None:
        raise RequestError(422, "no_layout", "give the names of the `points` in the first message")
    values_TJV: NDArray[np.float32] = points.to_array().reshape(
        points.num_frames, points.layout.num_points, -1
    )
    points_TJC: NDArray[np.float32] = values_TJV[..., : points.coordinates]
    if points.has_confidence:
        confidence_TJ = values_TJV[..., points.coordinates]
    else:
        # A point that was not detected is sent as NaN.
        seen_TJ1 = np.asarray(np.isfinite(points_TJC).all(axis=2, keepdims=True))
        confidence_TJ = seen_TJ1[..., 0].astype(np.float32)
        points_TJC = np.where(seen_TJ1, points_TJC, np.zeros_like(points_TJC))
    return PoseSequence(
        np.ascontiguousarray(points_TJC[:, None]),
        np.ascontiguousarray(confidence_TJ[:, None]),
        points.rate_hz,
        points.layout,
        has_confidence=points.has_confidence,
        frame_size=points.frame_size,
    )
