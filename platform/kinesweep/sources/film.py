"""Decodes videos and folders of pictures, frame by frame, never a whole film in memory.

Estimators run this file in environments where Kinesweep is not installed, so it imports nothing
of it. A frame that is wanted smaller is scaled by the decoder itself, before it becomes an array:
on 1280 × 720 that halves the time of a frame and leaves a twentieth of its bytes. A stretch in the
middle of a file is sought, not played to. Rotation marks are followed; alpha is left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAMES = frozenset({".png", ".jpg", ".jpeg"})
_LEAST_SHARE = 0.95
"""Of the frames that a file says it has; some headers count a few too many."""
_NOT_SOUGHT_S = 2.0
"""So far a film is played to, not sought: it costs as much."""


class VideoError(Exception):
    """A video that cannot be used; `reason` is a word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Film:
    """A video, or a folder of pictures in the order of the numbers in their names.

    Args:
        source: which.
        fps: of a folder; a video knows its own.
        size: frames are scaled until their shorter side is this long and cut to a square in their
            middle; None: as they are.
        start_s: frames before this may be left out, where the file can be sought.

    Attributes:
        fps: frames a second.
        width: of a frame as it is handed out.
        height: likewise.
        declared: frames that the file says it has; 0: it does not.
        read: number of the frame after the last one read, from the file's beginning.
        first: number of the first frame that is handed out.

    Raises:
        VideoError: it cannot be opened, holds no frame, or does not say its rate.
    """

    def __init__(
        self, source: Path, fps: float | None, size: int | None = None, start_s: float = 0.0
    ) -> None:
        self.source, self.read, self.declared, self.first = source, 0, 0, 0
        self._size, self._start_s = size, start_s
        self._seen: tuple[int, int] | None = None
        self._frames = self._pictures() if source.is_dir() else self._decoded()
        self.fps = fps or 0.0
        self._next = next(self._frames, None)
        if self._next is None:
            raise VideoError("holds no frames", "no_frames")
        if not self.fps > 0:
            raise VideoError("does not say how many frames a second it has", "no_frame_rate")
        self.height, self.width = self._next.shape[:2]

    def __iter__(self) -> Iterator[Any]:
        """RGB arrays (H, W, 3), uint8.

        Raises:
            VideoError: it cannot be decoded to its end, or its frames change their size.
        """
        self.read = self.first
        frame, self._next = self._next, None
        while frame is not None:
            self.read += 1
            yield frame
            frame = next(self._frames, None)
        if self.read < _LEAST_SHARE * self.declared:
            text = f"ends after {self.read} of {self.declared} frames"
            raise VideoError(text, "truncated")

    def _decoded(self) -> Iterator[Any]:
        try:
            container = av.open(str(self.source), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"cannot be opened as a video: {error}", "not_a_video") from None
        with container:
            if not container.streams.video:
                raise VideoError("holds no video", "not_a_video")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # a worker has one core
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
            self.declared = stream.frames
            try:
                for frame in self._sought(container, stream):
                    yield self._array(frame)
            except av.FFmpegError as error:
                reason = "truncated" if self.read else "not_a_video"
                raise VideoError(f"cannot be decoded further: {error}", reason) from None

    def _sought(self, container: Any, stream: Any) -> Iterator[Any]:
        """Decoded frames, from the last key frame before `start_s`; `first` is told by its time."""
        far = self._start_s > _NOT_SOUGHT_S and self.fps > 0 and stream.time_base is not None
        if far:
            begin = stream.start_time or 0
            place = begin + int((self._start_s - 1) / stream.time_base)
            container.seek(place, stream=stream, backward=True)
        for frame in container.decode(stream):
            if far and frame.pts is None:
                raise VideoError("its frames do not say when they are shown", "no_times")
            if far:
                self.first = round(float((frame.pts - begin) * stream.time_base) * self.fps)
                far = False
            yield frame

    def _array(self, frame: Any) -> Any:
        """One frame as it is handed out.

        Raises:
            VideoError: it has another size than the first.
        """
        whole = frame.height, frame.width
        if self._seen is None:
            self._seen = whole
        if whole != self._seen:
            raise VideoError(f"frame {self.read} has another size", "sizes_differ")
        if self._size is not None:
            scale = self._size / min(whole)
            height, width = (max(self._size, round(side * scale)) for side in whole)
            frame = frame.reformat(width, height, "rgb24", interpolation="BICUBIC")
        upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        return np.ascontiguousarray(_middle(upright, self._size))

    def _pictures(self) -> Iterator[Any]:
        paths = sorted(filter(is_picture, self.source.iterdir()), key=_numbered)
        self.declared = len(paths)
        for path in paths:
            try:
                with av.open(str(path)) as container:
                    frame = next(container.decode(video=0))
            except (av.FFmpegError, OSError, StopIteration) as error:
                raise VideoError(f"`{path.name}` cannot be read: {error}", "bad_frame") from None
            yield self._array(frame)


def is_picture(path: Path) -> bool:
    """Whether a file is a frame, by its name."""
    return path.suffix.lower() in FRAMES


def _middle(picture: Any, size: int | None) -> Any:
    """The square in the middle of a picture."""
    if size is None:
        return picture
    top, left = ((side - size) // 2 for side in picture.shape[:2])
    return picture[top : top + size, left : left + size]


def _numbered(path: Path) -> list[Any]:
    """`2.png` comes before `10.png`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
