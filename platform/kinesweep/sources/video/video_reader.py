"""A decoder for videos and folders of images that yields one frame at a time.

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

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""Suffixes of the files in a folder of images that are its frames, in lower case."""
_MIN_DECODED_SHARE = 0.95
"""Minimum share of the declared frames that must be decoded; some headers count a few too many."""
_MIN_SEEK_S = 2.0
"""Start times up to this one, in seconds, are reached by decoding, which costs no more than a
seek."""


class VideoError(Exception):
    """An error for a video that cannot be used.

    Args:
        message: Explanation, which does not name the file.
        reason: Short, stable key under which the clip is counted, for example `not_a_video`.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class VideoReader:
    """A reader of a video, or of a folder of images ordered by the numbers in their names.

    The first frame is decoded at construction. A reader can be iterated once.

    Args:
        source: Path of the video file or the folder.
        fps: Frame rate of a folder of images; a video states its own.
        size: Side in pixels of the square center crop that each frame is scaled to, or None to
            keep the frames as they are.
        start_s: Start time in seconds; frames before it may be skipped if the file is seekable.

    Attributes:
        fps: Frame rate in frames per second.
        width: Width in pixels of the frames that are returned.
        height: Height in pixels of the frames that are returned.
        num_declared_frames: Number of frames that the file declares, or 0 if it declares none.
        next_index: Index of the frame after the last one read, counted from the start of the file.
        first_index: Index of the first frame that is returned.

    Raises:
        VideoError: With reason `not_a_video`, `bad_frame`, `truncated`, `no_times`, `no_frames` or
            `no_frame_rate`.
    """

    def __init__(
        self, source: Path, fps: float | None, size: int | None = None, start_s: float = 0.0
    ) -> None:
        self.source, self.next_index, self.num_declared_frames, self.first_index = source, 0, 0, 0
        self._size, self._start_s = size, start_s
        self._frame_size: tuple[int, int] | None = None
        self._frames = self._decode_images() if source.is_dir() else self._decode_video()
        self.fps = fps or 0.0
        # Both generators run up to their first frame here; that sets `num_declared_frames` and
        # `first_index`, and a video replaces `fps` by its own.
        self._next_frame = next(self._frames, None)
        if self._next_frame is None:
            raise VideoError("contains no frames", "no_frames")
        if not self.fps > 0:
            raise VideoError("does not state its frame rate", "no_frame_rate")
        self.height, self.width = self._next_frame.shape[:2]

    def __iter__(self) -> Iterator[Any]:
        """Yield the frames in order, as RGB arrays (H, W, 3), uint8.

        Raises:
            VideoError: With reason `truncated` or `bad_frame` if the video cannot be decoded to its
                end, `sizes_differ` if its frames change their size, or `no_times`.
        """
        self.next_index = self.first_index
        frame, self._next_frame = self._next_frame, None
        while frame is not None:
            self.next_index += 1
            yield frame
            frame = next(self._frames, None)
        if self.next_index < _MIN_DECODED_SHARE * self.num_declared_frames:
            text = f"ends after {self.next_index} of {self.num_declared_frames} frames"
            raise VideoError(text, "truncated")

    def _decode_video(self) -> Iterator[Any]:
        """Yield the converted frames of a video file; set `fps` and `num_declared_frames` before.

        Raises:
            VideoError: With reason `not_a_video`, `truncated`, `no_times` or `sizes_differ`.
        """
        try:
            # Tags that are not UTF-8 must not make a video unreadable.
            container = av.open(str(self.source), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"cannot be opened as a video: {error}", "not_a_video") from None
        with container:
            if not container.streams.video:
                raise VideoError("contains no video stream", "not_a_video")
            video_stream = container.streams.video[0]
            video_stream.codec_context.thread_count = 1  # each worker has one core
            self.fps = float(video_stream.average_rate or video_stream.guessed_rate or 0)
            self.num_declared_frames = video_stream.frames
            try:
                for frame in self._seek_and_decode(container, video_stream):
                    yield self._convert_frame(frame)
            except av.FFmpegError as error:
                # A file that fails before its first frame was never a readable video.
                reason = "truncated" if self.next_index else "not_a_video"
                raise VideoError(f"decoding failed: {error}", reason) from None

    def _seek_and_decode(self, container: Any, video_stream: Any) -> Iterator[Any]:
        """Yield the decoded frames from a key frame before `start_s` on; set `first_index` before.

        Args:
            container: Open PyAV container.
            video_stream: Video stream of the container.

        Raises:
            VideoError: With reason `no_times`, if the frames have no timestamps.
        """
        must_seek = (
            self._start_s > _MIN_SEEK_S and self.fps > 0 and video_stream.time_base is not None
        )
        if must_seek:
            # Timestamps count from the stream's own start time, which need not be 0.
            start_timestamp = video_stream.start_time or 0
            # Seek 1 s early: a few more frames are decoded, but no frame after `start_s` is lost.
            seek_timestamp = start_timestamp + int((self._start_s - 1) / video_stream.time_base)
            container.seek(seek_timestamp, stream=video_stream, backward=True)
        for frame in container.decode(video_stream):
            if must_seek and frame.pts is None:
                raise VideoError(
                    "its frames have no timestamps, so it cannot be seeked", "no_times"
                )
            if must_seek:
                # After a seek only the timestamp tells which frame this is; count on from here.
                seconds = float((frame.pts - start_timestamp) * video_stream.time_base)
                self.first_index = round(seconds * self.fps)
                must_seek = False
            yield frame

    def _convert_frame(self, frame: Any) -> Any:
        """Convert a decoded frame to an upright RGB array (H, W, 3), scaled and cropped to `size`.

        Raises:
            VideoError: With reason `sizes_differ`, if the frame differs in size from the first one.
        """
        frame_size = frame.height, frame.width
        if self._frame_size is None:
            self._frame_size = frame_size
        if frame_size != self._frame_size:
            raise VideoError(
                f"frame {self.next_index} differs in size from the first frame", "sizes_differ"
            )
        if self._size is not None:
            scale = self._size / min(frame_size)
            # `max`: rounding must not make a side shorter than the crop.
            height, width = (max(self._size, round(side * scale)) for side in frame_size)
            frame = frame.reformat(width, height, "rgb24", interpolation="BICUBIC")
        upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
        return np.ascontiguousarray(_crop_center(upright, self._size))

    def _decode_images(self) -> Iterator[Any]:
        """Yield the converted images of a folder in natural order; set their number before.

        Raises:
            VideoError: With reason `bad_frame` or `sizes_differ`.
        """
        paths = sorted(filter(is_image_file, self.source.iterdir()), key=_make_natural_sort_key)
        self.num_declared_frames = len(paths)
        for path in paths:
            try:
                with av.open(str(path)) as container:
                    frame = next(container.decode(video=0))
            except (av.FFmpegError, OSError, StopIteration) as error:
                raise VideoError(f"`{path.name}` cannot be read: {error}", "bad_frame") from None
            yield self._convert_frame(frame)


def is_image_file(path: Path) -> bool:
    """Return whether a file name has the suffix of an image, in upper or lower case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def has_images(folder: Path) -> bool:
    """Return whether a path is a folder that contains an image; stop at the first one found."""
    if not folder.is_dir():
        return False
    # `map` is lazy: a folder may contain many thousands of frames.
    return any(map(is_image_file, folder.iterdir()))


def _crop_center(image: Any, size: int | None) -> Any:
    """Return the square center of an image with sides of `size` pixels, or all of it for None.

    Args:
        image: Image, (H, W, 3), whose sides are at least `size`.
        size: Side of the crop in pixels.
    """
    if size is None:
        return image
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def _make_natural_sort_key(path: Path) -> list[Any]:
    """Make a key that sorts file names by the numbers in them: `2.png` before `10.png`."""
    name_parts = re.split(r"(\d+)", path.name)
    return [int(name_part) if name_part.isdigit() else name_part for name_part in name_parts]
