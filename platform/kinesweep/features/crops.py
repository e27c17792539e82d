"""Face and hands, cut out of the frames of a video where its poses say that they are.

A stretch of film and its `.pose` file go in; frames come out on which the wanted parts stand side
by side, each a square of the model's size. A part's square has one side a clip, 1.4 times the
median extent of its points, so that its scale does not jump, and moves with the middle of the
points that were found. A frame in which it was not found takes the square of the nearest frame
within half a second, the earlier of two; where there is none, the part is black, and nothing
stands in for it. Whole frames are decoded for this: three parts of a film of 1280 × 720 cost 14 ms
a frame, the film made small by the decoder 8. The first person of the file is followed.

Shapes: T frames of the poses, J points, P people, C coordinates; pictures are H × W.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.media import Footage
from kinesweep.core.pose import PointLayout, PoseSequence
from kinesweep.core.recipe.video import CropName
from kinesweep.core.units import Span
from kinesweep.sources.footage import Frames
from kinesweep.sources.pose_file import read_frame_size, read_pose

CROPS_VERSION = 1
"""Raised when what is cut out of unchanged files changes."""
MARGIN = 1.4
"""Side of a square in extents of its points: MediaPipe's hand points end at the finger tips, those
of its face at the hair line."""
NEAR_S = 0.5
LEAST_SIDE = 8
"""Pixels; a part of which one point was found has no extent."""
_SAME_RATE_HZ = 1.0
"""Rates that differ by less are one: `.pose` v0.1 keeps whole frames a second."""
_COMPONENTS: dict[str, tuple[str, ...]] = {
    "face": ("FACE_LANDMARKS", "face_keypoints_2d"),
    "left_hand": ("LEFT_HAND_LANDMARKS", "hand_left_keypoints_2d"),
    "right_hand": ("RIGHT_HAND_LANDMARKS", "hand_right_keypoints_2d"),
}
"""Part → what MediaPipe and OpenPose call it in pose-format's layouts."""


@dataclass(frozen=True)
class Squares:
    """Where a part is in each frame of the poses.

    Attributes:
        corners_T2: left and top, in pixels; they may lie outside of the picture.
        side: in pixels, of all.
        known_T: whether the part is anywhere.
    """

    corners_T2: NDArray[np.intp]
    side: int
    known_T: NDArray[np.bool_]

    def cut(self, picture_HW3: NDArray[np.uint8], number: int, size: int) -> NDArray[np.uint8]:
        """The part in a picture, (size, size, 3); black beyond the picture's edge.

        Args:
            picture_HW3: RGB.
            number: of the frame of the poses.
            size: of what comes out.
        """
        if not self.known_T[number]:
            return np.zeros((size, size, 3), np.uint8)
        left, top = map(int, self.corners_T2[number])
        return _scaled(_square(picture_HW3, left, top, self.side), size)


def find_squares(pose: PoseSequence, part: str, scale: tuple[float, float]) -> Squares:
    """Where a part is, over a stretch of poses.

    Args:
        pose: of one person.
        part: `face`, `left_hand` or `right_hand`.
        scale: pixels a unit of x and of y.

    Raises:
        ClipError: reason `unknown_layout`.
    """
    chosen = _points_of(pose.layout, part)
    points_TJ2 = pose.points_TPJC[:, 0, chosen, :2] * np.array(scale)
    found_TJ = pose.confidence_TPJ[:, 0, chosen] > 0
    found_T: NDArray[np.bool_] = np.asarray(found_TJ.any(1))
    least_T2 = np.where(found_TJ[..., None], points_TJ2, np.inf).min(1)
    most_T2 = np.where(found_TJ[..., None], points_TJ2, -np.inf).max(1)
    if not found_T.any():
        return Squares(np.zeros((len(found_T), 2), np.intp), LEAST_SIDE, found_T)
    extent = float(np.median((most_T2 - least_T2)[found_T].max(1)))
    side = max(LEAST_SIDE, int(MARGIN * extent + 0.5))
    nearest_T, known_T = _nearest(found_T, int(NEAR_S * pose.fps))
    centres_T2 = (least_T2[nearest_T] + most_T2[nearest_T]) / 2
    corners_T2 = np.floor(centres_T2 - side / 2 + 0.5).astype(np.intp)
    return Squares(corners_T2, side, known_T)


class CroppedFrames:
    """Opens a stretch of a video and of its poses.

    Args:
        footage: which; with its poses.
        crops: the parts, in their order from left to right.
        size: height of what comes out, and width of each part.

    Attributes:
        fps: frames a second of the video.

    Raises:
        ClipError: the video or its poses cannot be opened, the span is not in them, or the poses'
            layout has no such part; with its reason.
    """

    def __init__(self, footage: Footage, crops: Sequence[CropName], size: int) -> None:
        assert footage.pose is not None, "a recipe with crops has a source with poses"
        self._frames = Frames(footage, None)
        self.fps = self._frames.fps
        self._pose_path, self._size, self._crops = footage.pose, size, tuple(crops)
        first, pose = self._read(footage.pose)
        self._first, self._pose_fps, self._known = first, pose.fps, len(pose.points_TPJC)
        width, height = read_frame_size(footage.pose)
        scale = self._frames.width / width, self._frames.height / height
        self._squares: dict[str, Squares] = {
            part: find_squares(pose, part, scale) for part in crops if part != "whole"
        }

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """RGB pictures (size, crops · size, 3).

        Raises:
            ClipError: the video cannot be decoded so far, or its poses end before it; reason
                `pose_too_short`.
        """
        for number, picture in enumerate(self._frames, self._frames.start):
            place = self._place(number)
            parts = [self._part(part, picture, place) for part in self._crops]
            yield np.concatenate(parts, axis=1)

    def _part(self, part: str, picture: NDArray[np.uint8], place: int) -> NDArray[np.uint8]:
        if part != "whole":
            return self._squares[part].cut(picture, place, self._size)
        height, width = picture.shape[:2]
        side = min(height, width)
        middle = _square(picture, (width - side) // 2, (height - side) // 2, side)
        return _scaled(middle, self._size)

    def _read(self, path: Path) -> tuple[int, PoseSequence]:
        """The poses of the stretch, and the number of their first frame."""
        rate = read_pose(path, Span.from_frames(0, 1)).fps
        first = self._numbered(self._frames.start, rate)
        last = self._numbered(self._frames.end - 1, rate)
        return first, read_pose(path, Span.from_frames(first, last + 1))

    def _place(self, number: int) -> int:
        """The frame of the poses, from the stretch's first, of a frame of the video.

        Where they miss less than half a second at the end, their last frame stands for it.
        """
        place = self._numbered(number, self._pose_fps) - self._first
        if place - self._known >= NEAR_S * self._pose_fps:
            raise ClipError(
                f"`{self._pose_path}` ends after {self._first + self._known} frames at"
                f" {self._pose_fps:g} fps, but frame {number} of its video at {self.fps:g} fps"
                " needs more; it is not this video's, or was cut off: estimate it again",
                "pose_too_short",
            )
        return min(place, self._known - 1)

    def _numbered(self, number: int, pose_fps: float) -> int:
        """The frame of the poses that is nearest in time; the same, where rates are the same."""
        if abs(pose_fps - self.fps) < _SAME_RATE_HZ:
            return number
        return int(number * pose_fps / self.fps + 0.5)


def _points_of(layout: PointLayout, part: str) -> NDArray[np.intp]:
    """Places of a part's points in a layout.

    Raises:
        ClipError: reason `unknown_layout`.
    """
    start = 0
    for name, points in layout.components:
        if name in _COMPONENTS[part] and points:
            return np.arange(start, start + len(points))
        start += len(points)
    held = ", ".join(f"{name} ({len(points)})" for name, points in layout.components)
    raise ClipError(
        f"the file's points are {held}: `features.crops` has `{part}`, which needs"
        f" {' or '.join(f'`{name}`' for name in _COMPONENTS[part])}",
        "unknown_layout",
    )


def _nearest(found_T: NDArray[np.bool_], most: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each frame the nearest that has the part, and whether it is at most so far away."""
    places = np.flatnonzero(found_T)
    frames_T = np.arange(len(found_T))
    after_T = np.searchsorted(places, frames_T).clip(max=len(places) - 1)
    before_T = (np.searchsorted(places, frames_T, side="right") - 1).clip(min=0)
    gap_after_T, gap_before_T = (abs(places[which] - frames_T) for which in (after_T, before_T))
    nearest_T = np.where(gap_before_T <= gap_after_T, places[before_T], places[after_T])
    return nearest_T, np.minimum(gap_before_T, gap_after_T) <= most


def _square(picture_HW3: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """A square of a picture, black beyond the picture's edge."""
    height, width = picture_HW3.shape[:2]
    square = np.zeros((side, side, 3), np.uint8)
    rows = slice(min(max(top, 0), height), max(min(top + side, height), 0))
    columns = slice(min(max(left, 0), width), max(min(left + side, width), 0))
    inner = picture_HW3[rows, columns]
    if inner.size:
        y, x = rows.start - top, columns.start - left
        square[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return square


def _scaled(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square of another size, as films are scaled."""
    if len(square) == size:
        return square
    frame = av.VideoFrame.from_ndarray(square, format="rgb24")
    scaled = frame.reformat(size, size, "rgb24", interpolation="BICUBIC").to_ndarray()
    return scaled.astype(np.uint8, copy=False)
