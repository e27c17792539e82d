"""A decoder for videos and folders of pictures that yields one frame at a time.

A whole video is never held in memory. Estimators run this file in environments where Kinesweep is
not installed, so it must not import anything from the package.

If a smaller frame is requested, FFmpeg scales it before it becomes an array: at 1280 × 720 this
halves the time per frame and leaves a twentieth of the bytes. A segment in the middle of a file is
reached by seeking. Rotation metadata is applied; alpha channels are dropped.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAMES = frozenset({".png", ".jpg", ".jpeg"})
_LEAST_SHARE = 0.95
"""Minimum share of the declared frames that must be decoded; some headers count a few too many."""
_NOT_SOUGHT_S = 2.0
"""Start times up to this one, in seconds, are reached by decoding, which costs no more than a
seek."""


class VideoError(Exception):
    """An error for a video that cannot be used; `reason` is a short machine-readable word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class VideoReader:
    """A reader of a video, or of a folder of pictures ordered by the numbers in their names.

    A reader can be iterated once.

    Args:
        source: Path of the video file or the folder.
        fps: Frame rate of a folder of pictures; a video states its own.
        size: Side in pixels of the square center crop that each frame is scaled to, or None to
            keep the frames as they are.
        start_s: Start time in seconds; frames before it may be skipped if the file can be seeked.

    Attributes:
        fps: Frame rate in frames per second.
        width: Width in pixels of the frames that are returned.
        height: Height in pixels of the frames that are returned.
        declared: Number of frames that the file declares, or 0 if it declares none.
        read: Index of the frame after the last one read, counted from the start of the file.
        first: Index of the first frame that is returned.

    Raises:
        VideoError: If the source cannot be opened, has no frames, or does not state its frame rate.
    """

    def __init__(
        self, source: Path, fps: float | None, size: int | None = None, start_s: float = 0.0
    ) -> None:
        self.source, self.read, self.declared, self.first = source, 0, 0, 0
        self._size, self._start_s = size, start_s
        self._seen: tuple[int, int] | None = None
        self._frames = self._decode_images() if source.is_dir() else self._decoded()
        self.fps = fps or 0.0
        # Both generators run up to their first frame here; that sets `declared` and `first`, and
        # a video replaces `fps` by its own.
        self._next = next(self._frames, None)
        if self._next is None:
            raise VideoError("contains no frames", "no_frames")
        if not self.fps > 0:
            raise VideoError("does not state its frame rate", "no_frame_rate")
        self.height, self.width = self._next.shape[:2]

    def __iter__(self) -> Iterator[Any]:
        """Yield the frames as RGB arrays (H, W, 3), uint8.

        Raises:
            VideoError: If the video cannot be decoded to its end or its frames change their size.
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
        """Yield the frames of a video file and set its frame rate and declared length."""
        try:
            # Tags that are not UTF-8 must not make a video unreadable.
            container = av.open(str(self.source), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"cannot be opened as a video: {error}", "not_a_video") from None
        with container:
            if not container.streams.video:
                raise VideoError("contains no video stream", "not_a_video")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # each worker has one core
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
            self.declared = stream.frames
            try:
                for frame in self._sought(container, stream):
                    yield self._array(frame)
            except av.FFmpegError as error:
                # A file that fails before its first frame was never a readable video.
                reason = "truncated" if self.read else "not_a_video"
                raise VideoError(f"decoding failed: {error}", reason) from None

    def _sought(self, container: Any, stream: Any) -> Iterator[Any]:
        """Yield the frames from a key frame before `start_s` on, and set `first`."""
        far = self._start_s > _NOT_SOUGHT_S and self.fps > 0 and stream.time_base is not None
        if far:
            # Timestamps count from the stream's own start time, which need not be 0.
            begin = stream.start_time or 0
            # Seek 1 s early: a few more frames are decoded, but no frame after `start_s` is lost.
            place = begin + int((self._start_s - 1) / stream.time_base)
            container.seek(place, stream=stream, backward=True)
        for frame in container.decode(stream):
            if far and frame.pts is None:
                raise VideoError(
                    "its frames have no timestamps, so it cannot be seeked", "no_times"
                )
            if far:
                # After a seek only the timestamp tells which frame this is; count on from here.
                self.first = round(float((frame.pts - begin) * stream.time_base) * self.fps)
                far = False
            yield frame

    def _array(self, frame: Any) -> Any:
        """Convert a decoded frame to an upright RGB array, scaled and cropped to `size`.

        Raises:
            VideoError: If the frame differs in size from the first one.
        """
        whole = frame.height, frame.width
        if self._seen is None:
            self._seen = whole
        if whole != self._seen:
            raise VideoError(
                f"frame {self.read} differs in size from the first frame", "sizes_differ"
            )
        if self._size is not None:
            scale = self._size / min(whole)
            # `max`: rounding must not make a side shorter than the crop.
            height, width = (max(self._size, round(side * scale)) for side in whole)
            frame = frame.reformat(width, height, "rgb24", interpolation="BICUBIC")
        upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        return np.ascontiguousarray(_middle(upright, self._size))

    def _decode_images(self) -> Iterator[Any]:
        """Yield the images of a folder in natural order; set `declared` to their number."""
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
    """Return whether a file is a picture, judged by its suffix."""
    return path.suffix.lower() in FRAMES


def _middle(picture: Any, size: int | None) -> Any:
    """Return the square center crop of a picture; the whole picture if `size` is None."""
    if size is None:
        return picture
    top, left = ((side - size) // 2 for side in picture.shape[:2])
    return picture[top : top + size, left : left + size]


def _numbered(path: Path) -> list[Any]:
    """Return a natural sort key: `2.png` comes before `10.png`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
