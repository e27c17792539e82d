"""Frames of a video segment at the input size of a model, one at a time.

The frames are those of the constant-rate view of `video_times`. Errors in a file are raised as
`ClipError` with the reason under which the clip is counted. Apart from the decoder's state, one
frame is in memory. A segment that starts more than 2 s into a file is reached by seeking.
"""

import math
from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources.frame_range import get_max_missing_frames, resolve_frame_range
from kinesweep.sources.video.image_check import verify_images
from kinesweep.sources.video.video_file import VideoError
from kinesweep.sources.video.video_reader import VideoReader, list_images, read_source_times
from kinesweep.sources.video.video_times import count_stored_frames


class FrameReader:
    """An iterable over the frames of a video segment.

    Args:
        segment: File and span of the segment.
        size: Side in pixels of the scaled square center crop, or None to keep the frames as they
            are.

    Attributes:
        fps: Frame rate in frames per second.
        start: Index of the first frame of the segment in the file, counted at the rate `fps`.
        end: Index of the frame after the last one.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.

    Raises:
        ClipError: If the file cannot be opened or does not contain the span, with a reason of
            `VideoReader`, `span_beyond_file`, `span_cut`, `span_before_video` or `empty_span`.
    """

    def __init__(self, segment: VideoSegment, size: int | None) -> None:
        self._segment = segment
        try:
            # The span may be in milliseconds: its first frame is known only with the frame rate.
            self._times = times = read_source_times(segment.path, segment.fps)
            self.fps = times.fps
            self.start, self.end = resolve_frame_range(
                segment.path, segment.span, times.fps, times.num_frames
            )
            start_s, end_s = _find_bounds_s(segment.span, times.fps)
            if end_s <= times.delay_s:
                raise VideoError(
                    f"shows its first frame at {times.delay_s:g} s, after the span ends",
                    "span_before_video",
                )
            self._reader = VideoReader(segment.path, segment.fps, size, start_s, end_s)
        except VideoError as error:
            raise self._make_clip_error(error) from None
        self.height, self.width = self._reader.height, self._reader.width

    @property
    def num_frames(self) -> int:
        """Return the number of frames of the segment, judged by the header or time stamps."""
        return self.end - self.start

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames of the segment in order, as RGB arrays (H, W, 3), uint8.

        Raises:
            ClipError: If the file cannot be decoded up to the end of the span.
        """
        frame_index = self.start
        try:
            for frame in self._reader:
                yield frame
                frame_index += 1
                if frame_index >= self.end:
                    break
            self._check_end(frame_index)
        except VideoError as error:
            raise self._make_clip_error(error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Close the file; an iteration to the end of the segment does so too."""
        self._reader.close()

    def verify_files(self) -> None:
        """Check without decoding that the file holds all frames of the segment.

        The packets of a video are counted, and the headers of images are read. Damage inside of a
        packet or a JPEG is found only by decoding.

        Raises:
            ClipError: With reason `truncated`, `span_cut`, `bad_frame` or `sizes_differ`.
        """
        path = self._segment.path
        try:
            if path.is_dir():
                verify_images(list_images(path)[self.start : self.end])
                return
            num_frames, has_read_error = count_stored_frames(path, self._times)
            if has_read_error and num_frames <= self.end:
                raise VideoError(f"cannot be read after frame {num_frames}", "truncated")
            if num_frames < self.end:
                self._reader.check_file_end(num_frames)
            self._check_end(min(num_frames, self.end))
        except VideoError as error:
            raise self._make_clip_error(error) from None
        except (av.FFmpegError, OSError) as error:
            raise ClipError(f"`{path}` cannot be read: {error}", "truncated") from None

    def _check_end(self, frame_index: int) -> None:
        """Check that the segment may end with the frame before `frame_index`.

        Raises:
            VideoError: With reason `truncated`.
            ClipError: With reason `span_cut`.
        """
        if self._segment.span.end is None:
            # Without this, a file whose header is not trusted would end where its packets do.
            self._reader.check_file_end(frame_index)
        elif self.end - frame_index > get_max_missing_frames(self.fps):
            # The header declares more frames than there are.
            raise ClipError(
                f"`{self._segment.path}` ends after frame {frame_index}, but the span ends after"
                f" frame {self.end}",
                "span_cut",
            )

    def _make_clip_error(self, error: VideoError) -> ClipError:
        """Build the `ClipError` for a decoder's error, with its reason and the name of the file."""
        return ClipError(f"`{self._segment.path}`: {error}", error.reason)


def get_duration_s(segment: VideoSegment) -> float:
    """Return the duration of a video segment in seconds, judged by its header or time stamps.

    This is cheap, because only the first frame of the segment is decoded.

    Raises:
        ClipError: If the file cannot be opened or does not contain the span.
    """
    reader = FrameReader(segment, None)
    reader.close()
    return (reader.end - reader.start) / reader.fps


def _find_bounds_s(span: Span, fps: float) -> tuple[float, float]:
    """Return the start and the end of a span in seconds; the end of the file is infinity.

    Args:
        span: Span in milliseconds or frames.
        fps: Frame rate in frames per second.
    """
    start, end = span.start or 0.0, math.inf if span.end is None else span.end
    if span.unit == "ms":
        return start / 1000, end / 1000
    # The middle of the first and the last frame: division and multiplication by the rate cannot
    # move it to a neighboring frame.
    return (start + 0.5) / fps, (end - 0.5) / fps
