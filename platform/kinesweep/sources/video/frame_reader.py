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

_ENDLESS = 1 << 40
"""Number of frames assumed for a file that does not declare how many it has."""


class FrameReader:
    """An iterable over the frames of a video segment.

    Args:
        footage: File and span of the segment.
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

    def __init__(self, footage: VideoSegment, size: int | None) -> None:
        self._footage = footage
        # The span may be in milliseconds: its first frame is known only once the frame rate is
        # read. A segment in the middle is therefore opened a second time, at its start.
        self._film = self._opened(size, 0.0)
        self.fps = self._film.fps
        self.start, self.end = self._bounds(self._film.declared or _ENDLESS)
        if self.start:
            self._film = self._opened(size, self.start / self.fps)
        self.height, self.width = self._film.height, self._film.width

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames as RGB arrays (H, W, 3).

        Raises:
            ClipError: If the file cannot be decoded up to the end of the span, or ends before the
                span starts.
        """
        # After a seek the reader starts before the span; earlier frames are decoded and dropped.
        number = self._film.first
        try:
            for frame in self._film:
                if self.start <= number < self.end:
                    yield frame
                number += 1
                if number >= self.end:
                    return
        except VideoError as error:
            raise self._error(error) from None
        if number <= self.start:
            # The file declared no length, or too large a one; with the true number of frames the
            # span is beyond the file, so this call raises.
            self._bounds(number)

    def _opened(self, size: int | None, start_s: float) -> VideoReader:
        """Open the video; a `VideoError` becomes a `ClipError` that names the file."""
        try:
            return VideoReader(self._footage.path, self._footage.fps, size, start_s)
        except VideoError as error:
            raise self._error(error) from None

    def _bounds(self, num_frames: int) -> tuple[int, int]:
        return bounds(self._footage, self.fps, num_frames)

    def _error(self, error: VideoError) -> ClipError:
        return ClipError(f"`{self._footage.path}`: {error}", error.reason)


def bounds(footage: VideoSegment, fps: float, num_frames: int) -> tuple[int, int]:
    """Return the index of the first frame of the span and of the frame after its last.

    Raises:
        ClipError: With reason `span_beyond_file` or `empty_span`.
    """
    span: Span = footage.span
    try:
        return span.frames(fps, num_frames)
    except InputError as error:
        empty = span.start is not None and span.end is not None and span.end <= span.start
        reason = "empty_span" if empty else "span_beyond_file"
        raise ClipError(f"`{footage.path}`: {error}", reason) from None


def seconds(footage: VideoSegment) -> float:
    """Return the duration of the segment in seconds, as the file declares it.

    This is cheap, because only the first frame is decoded.

    Raises:
        ClipError: If the file cannot be opened or does not contain the span.
    """
    try:
        film = VideoReader(footage.path, footage.fps)
    except VideoError as error:
        raise ClipError(f"`{footage.path}`: {error}", error.reason) from None
    frames = film.declared or round(_length_s(footage) * film.fps)
    start, end = bounds(footage, film.fps, max(1, frames))
    return (end - start) / film.fps


def _length_s(footage: VideoSegment) -> float:
    """Return the duration in seconds of a file that does not declare its number of frames."""
    with av.open(str(footage.path), metadata_errors="replace") as container:
        own: Any = container.duration
        return float(own or 0) / av.time_base
