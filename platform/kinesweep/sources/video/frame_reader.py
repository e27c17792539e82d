"""Frames of a video segment at the input size of a model, one at a time.

Errors in a file are raised as `ClipError` with the reason under which the clip is counted. Apart
from the decoder's state, one frame is in memory. A segment that starts more than 2 s into a file is
reached by seeking.
"""

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources.frame_range import resolve_frame_range
from kinesweep.sources.video.video_reader import VideoError, VideoReader

_UNKNOWN_NUM_FRAMES = 1 << 40
"""Number of frames assumed for a file that does not declare how many it has."""


class FrameReader:
    """An iterable over the frames of a video segment.

    Args:
        segment: File and span of the segment.
        size: Side in pixels of the scaled square center crop, or None to keep the frames as they
            are.

    Attributes:
        fps: Frame rate in frames per second.
        start: Index of the first frame of the segment in the file.
        end: Index of the frame after the last one; larger than the true length if the file does
            not declare its length.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.

    Raises:
        ClipError: If the file cannot be opened or does not contain the span, with a reason of
            `VideoReader`, `span_beyond_file` or `empty_span`.
    """

    def __init__(self, segment: VideoSegment, size: int | None) -> None:
        self._segment = segment
        # The span may be in milliseconds: its first frame is known only once the frame rate is
        # read. A segment in the middle is therefore opened a second time, at its start.
        self._reader = self._open_reader(size, 0.0)
        self.fps = self._reader.fps
        self.start, self.end = self._resolve_range(
            self._reader.num_declared_frames or _UNKNOWN_NUM_FRAMES
        )
        # A segment from frame 0 keeps the first reader, which already stands at its start.
        if self.start:
            self._reader = self._open_reader(size, self.start / self.fps)
        self.height, self.width = self._reader.height, self._reader.width

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames of the segment in order, as RGB arrays (H, W, 3), uint8.

        Raises:
            ClipError: If the file cannot be decoded up to the end of the span, or ends before the
                span starts.
        """
        # After a seek the reader starts before the span; earlier frames are decoded and dropped.
        frame_index = self._reader.first_index
        try:
            for frame in self._reader:
                if self.start <= frame_index < self.end:
                    yield frame
                frame_index += 1
                if frame_index >= self.end:
                    return
        except VideoError as error:
            raise self._make_clip_error(error) from None
        if frame_index <= self.start:
            # The file declared no length, or too large a one; with the true number of frames the
            # span is beyond the file, so this call raises.
            self._resolve_range(frame_index)

    def _open_reader(self, size: int | None, start_s: float) -> VideoReader:
        """Open the segment's video or folder of images from about a start time on.

        Args:
            size: Side in pixels of the scaled square center crop, or None.
            start_s: Start time in seconds.

        Raises:
            ClipError: If the file cannot be opened; the message names it.
        """
        try:
            return VideoReader(self._segment.path, self._segment.fps, size, start_s)
        except VideoError as error:
            raise self._make_clip_error(error) from None

    def _resolve_range(self, num_frames: int) -> tuple[int, int]:
        """Return the indices of the segment's first frame and of the frame after its last one.

        Args:
            num_frames: Number of frames in the file.

        Raises:
            ClipError: With reason `span_beyond_file` or `empty_span`.
        """
        return resolve_frame_range(self._segment.path, self._segment.span, self.fps, num_frames)

    def _make_clip_error(self, error: VideoError) -> ClipError:
        """Build the `ClipError` for a decoder's error, with its reason and the name of the file."""
        return ClipError(f"`{self._segment.path}`: {error}", error.reason)


def get_duration_s(segment: VideoSegment) -> float:
    """Return the duration of a video segment in seconds, judged by what its file declares.

    This is cheap, because only the first frame is decoded.

    Raises:
        ClipError: If the file cannot be opened or does not contain the span.
    """
    try:
        reader = VideoReader(segment.path, segment.fps)
    except VideoError as error:
        raise ClipError(f"`{segment.path}`: {error}", error.reason) from None
    num_frames = reader.num_declared_frames or round(_read_duration_s(segment) * reader.fps)
    # At least one frame, which the reader has decoded, even if no duration is declared.
    start, end = resolve_frame_range(segment.path, segment.span, reader.fps, max(1, num_frames))
    return (end - start) / reader.fps


def _read_duration_s(segment: VideoSegment) -> float:
    """Return the duration in seconds that a segment's whole file declares, or 0 if it has none."""
    with av.open(str(segment.path), metadata_errors="replace") as container:
        duration: Any = container.duration
        return float(duration or 0) / av.time_base
