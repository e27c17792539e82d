"""The poses of a video segment: the span of the `.pose` file that belongs to its frames.

Shapes: T frames of the poses.
"""

from pathlib import Path

from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.units import Span
from kinesweep.sources.pose_format.pose_file import read_frame_size, read_pose
from kinesweep.sources.video.frame_reader import FrameReader

MAX_GAP_S = 0.5
"""Seconds up to which a neighboring detection or a missing end of the poses is bridged."""
# Rates that differ by less count as equal, because `.pose` v0.1 stores whole frames per second.
_SAME_RATE_HZ = 1.0


class SegmentPoses:
    """The poses of a video segment.

    Args:
        path: `.pose` file of the whole video.
        frames: Reader of the segment, which knows its frames in the video and their size.

    Attributes:
        pose: Poses of the span.
        scale: Pixels of the video per unit of the x and of the y coordinate.

    Raises:
        ClipError: If the file cannot be read, does not contain the span or declares no frame size.
    """

    def __init__(self, path: Path, frames: FrameReader) -> None:
        self._path, self._fps = path, frames.fps
        self._first_frame, self.pose = self._read(frames)
        # Poses may have been estimated on a scaled copy of the video; the pose file records the
        # size of the frames that its coordinates refer to.
        width, height = read_frame_size(path)
        self.scale = frames.width / width, frames.height / height

    def get_index(self, frame_index: int) -> int:
        """Return the index of the pose that belongs to a video frame.

        If less than half a second of the poses is missing at the end, the last pose is used.

        Args:
            frame_index: Index of the video frame, counted from the start of the file.

        Returns:
            Index of the pose, counted from the start of the span.

        Raises:
            ClipError: If half a second or more is missing; reason `pose_too_short`.
        """
        pose_fps, num_poses = self.pose.fps, len(self.pose.points_TPJC)
        pose_index = self._find_nearest(frame_index, pose_fps) - self._first_frame
        if pose_index - num_poses >= MAX_GAP_S * pose_fps:
            num_frames = self._first_frame + num_poses
            raise ClipError(
                f"`{self._path}` ends after {num_frames} frames at {pose_fps:g} fps, but"
                f" frame {frame_index} of its video at {self._fps:g} fps needs more; the file is of"
                " another video or is truncated: estimate the poses again",
                "pose_too_short",
            )
        # Estimators often lose the last frames of a video; the pose before them is close enough.
        return min(pose_index, num_poses - 1)

    def _read(self, frames: FrameReader) -> tuple[int, PoseSequence]:
        """Read the poses of the segment's span.

        Returns:
            Index of the first pose frame in the file, and the poses of the span.

        Raises:
            ClipError: If the file cannot be read or does not contain the span.
        """
        # The rate of the poses is needed to convert the span, so one frame is read first.
        pose_fps = read_pose(self._path, Span.from_frames(0, 1)).fps
        first_frame = self._find_nearest(frames.start, pose_fps)
        last_frame = self._find_nearest(frames.end - 1, pose_fps)
        try:
            return first_frame, read_pose(self._path, Span.from_frames(first_frame, last_frame + 1))
        except ClipError as error:
            # Any other reason concerns the file itself, which is read no better without an end.
            if error.reason != "span_cut":
                raise
        # `get_index` decides how much may be missing at the end.
        return first_frame, read_pose(self._path, Span.from_frames(first_frame, 0))

    def _find_nearest(self, frame_index: int, pose_fps: float) -> int:
        """Find the index of the pose frame that is nearest in time to a frame of the video.

        Both indices count from the start of their file. Nearly equal rates count as equal.
        """
        is_same_rate = abs(pose_fps - self._fps) < _SAME_RATE_HZ
        return frame_index if is_same_rate else int(frame_index * pose_fps / self._fps + 0.5)
