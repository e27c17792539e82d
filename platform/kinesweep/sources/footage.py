"""Frames of a stretch of a video at the size that a model takes, one after the other.

What is wrong with a file is counted against its clip, with a reason. Beside the decoder's own state
one frame is in memory; a stretch that begins later than 2 s into a file is sought.
"""

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.media import Footage
from kinesweep.core.units import Span
from kinesweep.sources.film import Film, VideoError

_ENDLESS = 1 << 40
"""Frames of a file that does not say how many it has."""


class Frames:
    """Opens a stretch of a video.

    Args:
        footage: which.
        size: height and width of its frames: the middle square, scaled; None: as they are.

    Attributes:
        fps: frames a second.
        start: number of the first frame in the file.
        end: of the one after the last; more than there are, where the file does not say.
        height: of a frame.
        width: likewise.

    Raises:
        ClipError: it cannot be opened, or the span is not in it.
    """

    def __init__(self, footage: Footage, size: int | None) -> None:
        self._footage = footage
        self._film = self._opened(size, 0.0)
        self.fps = self._film.fps
        self.start, self.end = self._bounds(self._film.declared or _ENDLESS)
        if self.start:
            self._film = self._opened(size, self.start / self.fps)
        self.height, self.width = self._film.height, self._film.width

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """RGB pictures (H, W, 3).

        Raises:
            ClipError: the file cannot be decoded so far, or ends before the span begins.
        """
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
            self._bounds(number)  # says that it lies beyond the file

    def _opened(self, size: int | None, start_s: float) -> Film:
        try:
            return Film(self._footage.path, self._footage.fps, size, start_s)
        except VideoError as error:
            raise self._error(error) from None

    def _bounds(self, num_frames: int) -> tuple[int, int]:
        return bounds(self._footage, self.fps, num_frames)

    def _error(self, error: VideoError) -> ClipError:
        return ClipError(f"`{self._footage.path}`: {error}", error.reason)


def bounds(footage: Footage, fps: float, num_frames: int) -> tuple[int, int]:
    """First frame of the span and the one after its last.

    Raises:
        ClipError: reason `span_beyond_file` or `empty_span`.
    """
    span: Span = footage.span
    try:
        return span.frames(fps, num_frames)
    except InputError as error:
        empty = span.start is not None and span.end is not None and span.end <= span.start
        reason = "empty_span" if empty else "span_beyond_file"
        raise ClipError(f"`{footage.path}`: {error}", reason) from None


def seconds(footage: Footage) -> float:
    """How long the stretch lasts, as the file says; cheap: nothing but its first frame is decoded.

    Raises:
        ClipError: it cannot be opened, or the span is not in it.
    """
    try:
        film = Film(footage.path, footage.fps)
    except VideoError as error:
        raise ClipError(f"`{footage.path}`: {error}", error.reason) from None
    frames = film.declared or round(_length_s(footage) * film.fps)
    start, end = bounds(footage, film.fps, max(1, frames))
    return (end - start) / film.fps


def _length_s(footage: Footage) -> float:
    """Length of a file whose stream does not count its frames."""
    with av.open(str(footage.path), metadata_errors="replace") as container:
        own: Any = container.duration
        return float(own or 0) / av.time_base
