"""A decoder for videos and folders of images that yields one frame at a time at a constant rate.

Which frame of a video file is shown at which time is decided by its time stamps (`video_times`), so
a variable frame rate, a gap or a first time stamp other than 0 does not move frames in time. A
whole video is never held in memory. Estimators run this file where Kinesweep is not installed; from
the package it imports only the modules that `worker_main` loads before it.

If a smaller frame is requested, FFmpeg scales it before it becomes an array: at 1280 × 720 this
halves the time per frame and leaves a twentieth of the bytes. A segment in the middle of a file is
reached by seeking; frames that are not shown are decoded, but not converted. Rotation metadata is
applied; alpha channels are dropped.
"""

import math
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from kinesweep.sources.video.video_file import (
    VideoError,
    decode_frames,
    open_video,
    read_times,
)
from kinesweep.sources.video.video_times import VideoTimes, choose_frames

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""Suffixes of the files in a folder of images that are its frames, in lower case."""
_MIN_DECODED_SHARE = 0.95
"""Minimum share of the declared frames that must be decoded; some headers count a few too many."""
_MAX_SHOWN_S = 60.0
"""Longest time in seconds for which one frame is shown. A single damaged time stamp can be hours
away from the others, and would give a frame a thirtieth of a second up to there."""
Item = TypeVar("Item")


class VideoReader:
    """A reader of a video, or of a folder of images ordered by the numbers in their names.

    The first frame is decoded at construction. A reader can be iterated once.

    Args:
        source: Path of the video file or the folder.
        fps: Frame rate at which the frames of a video are chosen, or None for its own; the frame
            rate of a folder of images.
        size: Side in pixels of the square center crop that each frame is scaled to, or None to
            keep the frames as they are.
        start_s: Start time in seconds; the first frame is the one that covers it.
        end_s: End time in seconds. No frame is returned that is shown only before the start or
            only from the end on.

    Attributes:
        fps: Frame rate in frames per second.
        width: Width in pixels of the frames that are returned.
        height: Height in pixels of the frames that are returned.
        num_frames: Number of frames of the whole video by its header or its time stamps.
        num_declared_frames: The same if the file declares its length, or else 0.
        next_index: Index of the frame after the last one read, counted from the start of the file.
        first_index: Index of the first frame that is returned.

    Raises:
        VideoError: With reason `not_a_video`, `bad_frame`, `truncated`, `bad_times`, `no_frames`,
            `span_beyond_file` or `no_frame_rate`.
    """

    def __init__(
        self,
        source: Path,
        fps: float | None,
        size: int | None = None,
        start_s: float = 0.0,
        end_s: float = math.inf,
    ) -> None:
        self.source, self.next_index, self.num_declared_frames, self.first_index = source, 0, 0, 0
        self._size, self._start_s, self._end_s = size, start_s, end_s
        self._frame_size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()
        self.fps, self.num_frames = fps or 0.0, 0
        self._frames = self._read_images() if source.is_dir() else self._read_video()
        # Both generators run up to their first frame here; that sets the other attributes.
        self._next_frame = next(self._frames, None)
        if self._next_frame is None:
            if start_s > 0 and self.num_frames:
                raise VideoError(f"has no frame at {start_s:g} s", "span_beyond_file")
            raise VideoError("contains no frames", "no_frames")
        self.height, self.width = self._next_frame.shape[:2]

    def __iter__(self) -> Iterator[Any]:
        """Yield the frames in order, as RGB arrays (H, W, 3), uint8.

        Raises:
            VideoError: With reason `truncated` or `bad_frame` if the video cannot be decoded to its
                end, `sizes_differ` if its frames change their size, or `bad_times`.
        """
        self.next_index = self.first_index
        frame, self._next_frame = self._next_frame, None
        while frame is not None:
            self.next_index += 1
            yield frame
            frame = next(self._frames, None)
        if self.next_index < self._end_s * self.fps:
            self.check_file_end(self.next_index)

    def close(self) -> None:
        """Close the file; an unfinished decoder would stay in memory until garbage collection."""
        self._frames.close()

    def check_file_end(self, end: int) -> None:
        """Check that a file which ends after `end` frames has those that it declares.

        Raises:
            VideoError: With reason `truncated`.
        """
        if end < _MIN_DECODED_SHARE * self.num_declared_frames:
            raise VideoError(f"ends after {end} of {self.num_declared_frames} frames", "truncated")

    def _read_video(self) -> Generator[Any]:
        """Yield the converted frames of a video file; set its rate and its lengths before.

        Raises:
            VideoError: With reason `not_a_video`, `no_frame_rate`, `truncated`, `bad_times` or
                `sizes_differ`.
        """
        with open_video(self.source) as container:
            times = read_times(container, self.source, self.fps or None)
            self.fps, self.num_frames = times.fps, times.num_frames
            self.num_declared_frames = times.num_declared_frames
            timed_frames = decode_frames(container, self.source, times, self._start_s)
            shown: Any = None
            image: Any = None
            num_repeats = 0
            try:
                for frame in self._choose_frames(timed_frames, times.last_duration):
                    # A copy if it is shown again: an estimator may draw into its frames.
                    image = image.copy() if frame is shown else self._convert_frame(frame)
                    num_repeats = num_repeats + 1 if frame is shown else 0
                    self._check_repeats(num_repeats)
                    shown = frame
                    yield image
            except av.FFmpegError as error:
                # A file that fails before its first frame was never a readable video.
                reason = "truncated" if self.next_index else "not_a_video"
                raise VideoError(f"decoding failed: {error}", reason) from None

    def _check_repeats(self, num_repeats: int) -> None:
        """Check that a frame is not shown for longer than any pause of a recording.

        Raises:
            VideoError: With reason `bad_times`.
        """
        if num_repeats > _MAX_SHOWN_S * self.fps:
            raise VideoError(
                f"shows one frame for more than {_MAX_SHOWN_S:g} s up to"
                f" {self.next_index / self.fps:.1f} s: a time stamp is damaged, or nothing was"
                " recorded; cut the video, or list spans without this part",
                "bad_times",
            )

    def _read_images(self) -> Generator[Any]:
        """Yield the converted images of a folder in natural order; set their number before.

        Raises:
            VideoError: With reason `no_frame_rate`, `bad_frame` or `sizes_differ`.
        """
        self.num_frames = _read_folder_times(self.source, self.fps).num_frames
        self.num_declared_frames = self.num_frames
        for path in self._choose_frames(enumerate(list_images(self.source)), 1.0):
            yield self._convert_frame(decode_image(path))

    def _choose_frames(
        self, timed_frames: Iterable[tuple[float, Item]], last_duration: float
    ) -> Iterator[Item]:
        """Return the frames that are shown in the span; set `first_index`.

        Args:
            timed_frames: Positions of frames and frames.
            last_duration: Duration of the last frame of the video in frames.
        """
        start, end = self._start_s * self.fps, self._end_s * self.fps
        self.first_index = math.floor(start)
        return choose_frames(timed_frames, start, end, last_duration)

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
            frame = self._reformatter.reformat(
                frame, width, height, "rgb24", interpolation="BICUBIC", threads=1
            )
        # Each worker has one core. Without `threads=1`, a process that is forked later would hang
        # when it releases the frame: the threads that it waits for live only in its parent.
        image = frame.to_ndarray(format="rgb24", threads=1)
        upright = np.rot90(image, frame.rotation // 90)
        return np.ascontiguousarray(_crop_center(upright, self._size))


def read_source_times(source: Path, fps: float | None) -> VideoTimes:
    """Return the times of a video file or a folder of images without decoding a frame.

    Args:
        source: Path of the video file or the folder.
        fps: Frame rate at which the frames of a video are chosen, or None for its own; the frame
            rate of a folder of images.

    Raises:
        VideoError: With reason `not_a_video`, `no_frames`, `no_frame_rate`.
    """
    if source.is_dir():
        return _read_folder_times(source, fps or 0.0)
    with open_video(source) as container:
        return read_times(container, source, fps)


def list_images(folder: Path) -> list[Path]:
    """List the images of a folder in the order in which they are shown."""
    return sorted(filter(is_image_file, folder.iterdir()), key=_make_natural_sort_key)


def decode_image(path: Path) -> Any:
    """Decode an image to a frame of PyAV.

    Raises:
        VideoError: With reason `bad_frame`.
    """
    try:
        with av.open(str(path)) as container:
            return next(container.decode(video=0))
    except (av.FFmpegError, OSError, StopIteration) as error:
        raise VideoError(f"`{path.name}` cannot be read: {error}", "bad_frame") from None


def is_image_file(path: Path) -> bool:
    """Return whether a file name has the suffix of an image, in upper or lower case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def has_images(folder: Path) -> bool:
    """Return whether a path is a folder that contains an image; stop at the first one found."""
    if not folder.is_dir():
        return False
    # `map` is lazy: a folder may contain many thousands of frames.
    return any(map(is_image_file, folder.iterdir()))


def _read_folder_times(folder: Path, fps: float) -> VideoTimes:
    """Return the times of a folder of images, which follow from their number and the rate.

    Raises:
        VideoError: With reason `no_frames` or `no_frame_rate`.
    """
    num_images = sum(map(is_image_file, folder.iterdir()))
    if not num_images:
        raise VideoError("contains no frames", "no_frames")
    if not fps > 0:
        raise VideoError("does not state its frame rate", "no_frame_rate")
    return VideoTimes(fps, num_images)


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
