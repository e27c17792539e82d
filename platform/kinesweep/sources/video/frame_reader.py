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

from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
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
        ClipError: If the file cannot be opened or does not contain the span.
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
        if self.start:
            self._reader = self._open_reader(size, self.start / self.fps)
        self.height, self.width = self._reader.height, self._reader.width

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames as RGB arrays (H, W, 3).

        Raises:
            ClipError: If the file cannot be decoded up to the end of the span, or ends before the
                span starts.
        """
        # After a seek the reader starts before the span; earlier frames are decoded and dropped.
        number = self._reader.first_index
        try:
            for frame in self._reader:
                if self.start <= number < self.end:
                    yield frame
                number += 1
                if number >= self.end:
                    return
        except VideoError as error:
            raise self._make_clip_error(error) from None
        if number <= self.start:
            # The file declared no length, or too large a one; with the true number of frames the
            # span is beyond the file, so this call raises.
            self._resolve_range(number)

    def _open_reader(self, size: int | None, start_s: float) -> VideoReader:
        """Open the video; a `VideoError` becomes a `ClipError` that names the file."""
        try:
            return VideoReader(self._segment.path, self._segment.fps, size, start_s)
        except VideoError as error:
            raise self._make_clip_error(error) from None

    def _resolve_range(self, num_frames: int) -> tuple[int, int]:
        """Resolve the segment's first frame and the frame after its last, in a file's frames."""
        return resolve_segment_range(self._segment, self.fps, num_frames)

    def _make_clip_error(self, error: VideoError) -> ClipError:
        """Convert a decoder's error to a `ClipError` that names the file."""
        return ClipError(f"`{self._segment.path}`: {error}", error.reason)


def resolve_segment_range(segment: VideoSegment, fps: float, num_frames: int) -> tuple[int, int]:
    """Return the index of the first frame of the span and of the frame after its last.

    Raises:
        ClipError: With reason `span_beyond_file` or `empty_span`.
    """
    span: Span = segment.span
    try:
        return span.to_frame_range(fps, num_frames)
    except InputError as error:
        is_empty = span.start is not None and span.end is not None and span.end <= span.start
        reason = "empty_span" if is_empty else "span_beyond_file"
        raise ClipError(f"`{segment.path}`: {error}", reason) from None


def get_duration_s(segment: VideoSegment) -> float:
    """Return the duration of the segment in seconds, as the file declares it.

    This is cheap, because only the first frame is decoded.

    Raises:
        ClipError: If the file cannot be opened or does not contain the span.
    """
    try:
        reader = VideoReader(segment.path, segment.fps)
    except VideoError as error:
        raise ClipError(f"`{segment.path}`: {error}", error.reason) from None
    num_frames = reader.num_declared_frames or round(_read_duration_s(segment) * reader.fps)
    start, end = resolve_segment_range(segment, reader.fps, max(1, num_frames))
    return (end - start) / reader.fps


def _read_duration_s(segment: VideoSegment) -> float:
    """Return the duration in seconds of a file that does not declare its number of frames."""
    with av.open(str(segment.path), metadata_errors="replace") as container:
        duration: Any = container.duration
        return float(duration or 0) / av.time_base
