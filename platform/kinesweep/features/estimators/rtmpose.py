"""RTMPose (Jiang et al., 2023) through rtmlib: the 133 points of COCO-WholeBody from ONNX models.

A detector finds people in each frame, and RTMPose estimates the points of whoever is followed. Both
models are files of the user, or are downloaded by rtmlib, from OpenMMLab or its mirror on the Hub.
Models run on ONNX Runtime, in an environment of their own. Frames without a person are missing.

Shapes: T frames, P people, J = 133 points.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kinesweep.features.estimators.smpl.person_boxes import PersonTracker

NUM_POINTS = 133
_PERSON_CLASS = 0
"""Index of people among the classes of COCO."""
RTMPOSE_REQUIREMENTS = (
    *("rtmlib==0.0.16", "onnxruntime==1.32.0", "numpy==2.4.6"),
    *("opencv-python==5.0.0.93", "opencv-contrib-python==5.1.0.95"),
)
"""Packages of an environment on the CPU; rtmlib requires both builds of OpenCV."""


class Rtmpose:
    """The estimator `rtmpose`; its arguments are the settings of `RtmposeEstimatorConfig`.

    Args:
        detector: ONNX file of YOLOX; None: the one that rtmlib downloads for `mode`.
        pose: ONNX file of RTMPose or RTMW with 133 points; None: likewise.
        mode: `lightweight`, `balanced` or `performance`, for models that are downloaded.
        device: `cpu` or `cuda`.
        people: Largest number of people that are followed.
        min_score: Score up to which a point is missing.
    """

    version: ClassVar[str] = "rtmpose-1"
    requirements: ClassVar[tuple[str, ...]] = RTMPOSE_REQUIREMENTS

    def __init__(
        self,
        *,
        detector: str | None = None,
        pose: str | None = None,
        mode: str = "balanced",
        device: str = "cpu",
        people: int = 1,
        min_score: float = 0.0,
    ) -> None:
        # Not `import`: the libraries of its environment are no dependencies of the package.
        rtmlib = import_module("rtmlib")
        published = rtmlib.Wholebody.MODE[mode]
        with _limit_threads():
            self._detector = _load_model(rtmlib.YOLOX, detector or published["det"], device)
            self._pose = _load_model(rtmlib.RTMPose, pose or published["pose"], device)
        # rtmlib takes the sizes from the caller; those in the files are right for any model. The
        # detector wants (height, width), the pose model (width, height).
        self._detector.model_input_size = _read_input_size(self._detector, "detector")
        self._pose.model_input_size = _read_input_size(self._pose, "pose")[::-1]
        _check_detector_outputs(self._detector)
        # With its mode `human`, rtmlib would return the boxes of all classes, chairs included.
        if _count_classes(self._detector) > 1:
            self._detector.det_mode = "multiclass"
        _check_pose_outputs(self._pose)
        self._people, self._min_score = people, min_score

    def __call__(
        self, frames: Iterable[NDArray[np.uint8]], fps: float, width: int, height: int
    ) -> Any:
        """Estimate the points of one video and return them as a `pose_format.Pose`.

        Args:
            frames: RGB frames of the video, uint8 (height, width, 3).
            fps: Frames per second.
            width: Width of the frames in pixels.
            height: Height of the frames in pixels.
        """
        tracker = PersonTracker(self._people, threshold=0.0)
        found_frames: list[list[tuple[Any, Any] | None]] = []
        for image in frames:
            # rtmlib's models were trained on the channel order of OpenCV.
            bgr = np.ascontiguousarray(image[:, :, ::-1])
            detected = self._find_people(bgr)
            # rtmlib returns no scores; its own threshold has removed uncertain boxes.
            boxes = tracker.update(detected.tolist(), [1.0] * len(detected))
            found_frames.append(
                [None if box is None else self._estimate_points(bgr, box) for box in boxes]
            )
        return _build_pose(found_frames, fps, (width, height), self._min_score)

    def _find_people(self, bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the boxes of the people in a frame, (N, 4)."""
        found = self._detector(bgr)
        if self._detector.det_mode == "multiclass":
            boxes, classes = found
            found = np.asarray(boxes).reshape(-1, 4)[np.asarray(classes) == _PERSON_CLASS]
        return np.asarray(found, np.float64).reshape(-1, 4)

    def _estimate_points(self, bgr: NDArray[np.uint8], box: NDArray[np.float64]) -> tuple[Any, Any]:
        """Estimate the points (J, 2) in pixels and the scores (J,) of the person in a box.

        Args:
            bgr: Frame, uint8 (height, width, 3), in the channel order of OpenCV.
            box: Left, top, right and bottom edge of the box in pixels.
        """
        points_PJC, scores_PJ = self._pose(bgr, [box.tolist()])
        return points_PJC[0], scores_PJ[0]


@contextmanager
def _limit_threads() -> Iterator[None]:
    """Limit sessions of ONNX Runtime that the block creates to `OMP_NUM_THREADS` threads."""
    onnxruntime: Any = import_module("onnxruntime")
    # ONNX Runtime ignores the variable, and rtmlib passes no options; all estimators of a machine
    # would then use all of its cores.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    original = onnxruntime.InferenceSession
    onnxruntime.InferenceSession = partial(original, sess_options=options)
    try:
        yield
    finally:
        onnxruntime.InferenceSession = original


def _load_model(tool_class: Any, location: str, device: str) -> Any:
    """Load a model of rtmlib from a file or an address.

    Args:
        tool_class: `YOLOX` or `RTMPose` of rtmlib.
        location: Path of an ONNX file, or the address that rtmlib downloads it from.
        device: `cpu` or `cuda`.

    Raises:
        RuntimeError: If it cannot be downloaded or read; the message says what to do.
    """
    try:
        return tool_class(location, backend="onnxruntime", device=device)
    # Downloads and ONNX Runtime raise errors of many classes, none of which names the remedy.
    except Exception as error:
        # The caller shows one short line: the name first, then the remedy, then the reason.
        raise RuntimeError(
            f"`{location.rpartition('/')[2]}` cannot be used; give `detector` and `pose`, ONNX"
            f" files on this machine: {' '.join(str(error).split())[:150]}"
        ) from error


def _read_input_size(tool: Any, key: str) -> tuple[int, int]:
    """Return the height and width in pixels of the images that a model reads.

    Args:
        tool: Model of rtmlib.
        key: Setting that names the model, for the message.

    Raises:
        RuntimeError: If its input is not that of an image model with a fixed size.
    """
    shape = tool.session.get_inputs()[0].shape
    if len(shape) != 4 or not all(isinstance(size, int) for size in shape[2:]):
        raise RuntimeError(
            f"`{key}` reads {shape}; it must read images of a fixed size, (1, 3, height, width)"
        )
    return int(shape[2]), int(shape[3])


def _check_detector_outputs(tool: Any) -> None:
    """Check that a detector gives boxes, with or without a search for the best ones (NMS).

    Raises:
        RuntimeError: If it does not, for example because it is a pose model.
    """
    shape = tool.session.get_outputs()[0].shape
    if not shape:  # a file need not state the shapes of its outputs
        return
    height, width = tool.model_input_size
    # Without NMS, YOLOX has one box for each cell of three grids.
    num_cells = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    is_list = len(shape) == 3 and (shape[2] == 5 or not isinstance(shape[2], int))
    # Box, score and at least one class; the number of boxes may be left open.
    is_grid = len(shape) == 3 and isinstance(shape[2], int) and shape[2] > 5
    is_grid &= len(shape) == 3 and (not isinstance(shape[1], int) or shape[1] == num_cells)
    if not (is_list or is_grid):
        raise RuntimeError(
            f"`detector` returns {shape}; YOLOX returns boxes (1, boxes, 5), or one for each of"
            f" {num_cells} cells, (1, {num_cells}, 5 + classes)"
        )


def _count_classes(tool: Any) -> int:
    """Return the number of classes that a detector tells apart; one with NMS returns no classes."""
    shape = tool.session.get_outputs()[0].shape
    num_values = shape[2] if shape else None
    # Four values of the box and one of its certainty come first.
    return num_values - 5 if isinstance(num_values, int) else 0


def _check_pose_outputs(tool: Any) -> None:
    """Check that a pose model gives two rows of numbers (SimCC) for each of 133 points.

    Raises:
        RuntimeError: If it does not, for example because it was trained on 17 points.
    """
    shapes = [output.shape for output in tool.session.get_outputs()]
    if len(shapes) != 2 or any(len(s) != 3 or s[1] != NUM_POINTS for s in shapes):
        raise RuntimeError(
            f"`pose` returns {shapes}; RTMPose of the whole body returns two arrays"
            f" (1, {NUM_POINTS}, bins), for x and y"
        )


def _build_pose(
    found_frames: list[list[tuple[Any, Any] | None]],
    fps: float,
    size: tuple[int, int],
    min_score: float,
) -> Any:
    """Build a pose from the points and scores of each person in each frame.

    Args:
        found_frames: Points and scores of the people of each frame, None for one who is missing.
        fps: Frames per second.
        size: Width and height of the frames in pixels.
        min_score: Score up to which a point is missing.
    """
    from pose_format import Pose
    from pose_format.numpy.pose_body import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderDimensions
    from pose_format.utils.cocowholebody133_header import cocowholebody_components

    # At least one: a pose without people could not say that somebody is missing.
    num_people = max([1, *map(len, found_frames)])
    data = np.zeros((len(found_frames), num_people, NUM_POINTS, 2), np.float32)
    confidence_TPJ = np.zeros(data.shape[:3], np.float32)
    for frame, people in enumerate(found_frames):
        for person, found in enumerate(people):
            if found is not None:
                # Scores of SimCC may be slightly below 0, which no reader expects. One that is not
                # a number is not above the limit either.
                scores_J = np.where(found[1] > min_score, found[1], 0)
                confidence_TPJ[frame, person] = scores_J
                data[frame, person] = np.where(scores_J[:, None] > 0, found[0], 0)
    header = PoseHeader(0.2, PoseHeaderDimensions(*size, 0), cocowholebody_components())
    return Pose(header, NumPyPoseBody(fps, data, confidence_TPJ))
