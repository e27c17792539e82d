"""An open video file: its times, and its decoded frames with their positions in time.

Segments in the middle of a file are reached by seeking to a key frame at least 1 s before them. A
file that has no index, such as a recording of a browser, is decoded from its beginning. Estimators
run this file where Kinesweep is not installed; it imports only `video_times` and
`video_packets` from the package.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av

from kinesweep.sources.video.video_packets import has_decoding_stamps
from kinesweep.sources.video.video_times import VideoTimes, read_video_times

_MIN_SEEK_S = 2.0
"""Start times up to this one, in seconds, are reached by decoding, which costs no more than a
seek."""
_MAX_BACKWARD_S = 1.0
"""Time in seconds by which time stamps may run backwards, as those in the order of decoding do;
more is a file that was joined from parts."""


class VideoError(Exception):
    """An error for a video that cannot be used.

    Args:
        message: Explanation, which does not name the file.
        reason: Short, stable key under which the clip is counted, for example `not_a_video`.
    """

    def __init__(self, message: str, reason: str) -> None:
        # Both arguments go to the base class: unpickling calls the class with `args`.
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


def open_video(path: Path) -> Any:
    """Open a video file with PyAV, as a container that can be used as a context manager.

    Raises:
        VideoError: With reason `not_a_video` or `unreadable`.
    """
    try:
        # Tags that are not UTF-8 must not make a video unreadable.
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        # The scan of an extraction calls a file without permission to read it the same.
        reason = "unreadable" if isinstance(error, PermissionError) else "not_a_video"
        raise VideoError(f"cannot be opened as a video: {error}", reason) from None
    if not container.streams.video:
        container.close()
        raise VideoError("contains no video stream", "not_a_video")
    if container.streams.video[0].codec_context is None:  # PyAV's sign of an unknown codec
        container.close()
        raise VideoError("has a video stream of an unknown codec", "not_a_video")
    container.streams.video[0].codec_context.thread_count = 1  # each worker has one core
    return container


def read_times(container: Any, path: Path, fps: float | None) -> VideoTimes:
    """Return the times of an open video file.

    Args:
        container: Open PyAV container.
        path: Path of the file.
        fps: Frame rate at which its frames are chosen, or None for its own.

    Raises:
        VideoError: With reason `not_a_video`, `no_frames` or `no_frame_rate`.
    """
    try:
        times = read_video_times(container, container.streams.video[0], path, fps)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be opened as a video: {error}", "not_a_video") from None
    if not times.num_file_frames:
        raise VideoError("contains no frames", "no_frames")
    if not 0 < times.fps < math.inf:
        raise VideoError("does not state its frame rate", "no_frame_rate")
    return times


def decode_frames(
    container: Any, path: Path, times: VideoTimes, start_s: float
) -> Iterator[tuple[float, Any]]:
    """Yield the positions and the decoded frames of a video, with the one shown at its start.

    Args:
        container: Open PyAV container, at its beginning.
        path: Path of the file.
        times: Times of the video; their rate is the unit of the positions.
        start_s: Start time in seconds; earlier frames may be left out.

    Raises:
        av.FFmpegError: If the video cannot be decoded.
        VideoError: With reason `bad_times`.
    """
    if start_s <= _MIN_SEEK_S or not times.tick_s:
        yield from _iter_positions(_decode_stamped(container), times)
        return
    timed_frames = _iter_positions(_decode_after_seek(container, times, start_s), times)
    position, frame = next(timed_frames, (math.inf, None))
    if position <= start_s * times.fps:
        yield position, frame
        yield from timed_frames
        return
    # The file cannot be seeked, or only to a frame after the start.
    with open_video(path) as new_container:
        yield from _iter_positions(_decode_stamped(new_container), times)


def _decode_after_seek(
    container: Any, times: VideoTimes, start_s: float
) -> Iterator[tuple[int | None, Any]]:
    """Yield the time stamps and frames from a key frame before the start on; none if it fails.

    Args:
        container: Open PyAV container.
        times: Times of the video.
        start_s: Start time in seconds.
    """
    stream = container.streams.video[0]
    # Seek 1 s early: a few more frames are decoded, but the one shown at the start is not lost.
    timestamp = times.zero + int((start_s - 1) / times.tick_s)
    try:
        container.seek(timestamp, stream=stream, backward=True)
    except (av.FFmpegError, OSError):
        return
    stamped_frames = _decode_stamped(container)
    first = next(stamped_frames, (None, None))
    # Without a time stamp it is unknown which frame this is.
    if first[0] is not None:
        yield first
        yield from stamped_frames


def _decode_stamped(container: Any) -> Iterator[tuple[int | None, Any]]:
    """Decode the frames of a video, in the order in which they are shown, with their time stamps.

    A frame without a time stamp has None.
    """
    if not has_decoding_stamps(container):
        for frame in container.decode(video=0):
            yield frame.pts, frame
        return
    # FFmpeg gives each frame the stamp of the packet that completed it, later by a constant delay.
    first = delay = None
    for packet in container.demux(video=0):
        first = packet.dts if first is None else first
        for frame in packet.decode():
            if delay is None and first is not None and frame.dts is not None:
                delay = frame.dts - first
            yield None if frame.dts is None else frame.dts - (delay or 0), frame


def _iter_positions(
    stamped_frames: Iterable[tuple[int | None, Any]], times: VideoTimes
) -> Iterator[tuple[float, Any]]:
    """Yield the positions of frames, which never decrease, and the frames.

    Args:
        stamped_frames: Time stamps and frames in the order in which they are shown.
        times: Times of the video.

    Raises:
        VideoError: With reason `bad_times`.
    """
    previous: float | None = None
    for timestamp, frame in stamped_frames:
        if timestamp is not None and times.tick_s:
            position = times.compute_position(timestamp)
        else:
            # Without a time stamp, a frame follows the one before it.
            position = 0.0 if previous is None else previous + 1.0
        if previous is not None and position < previous - _MAX_BACKWARD_S * times.fps:
            raise VideoError(
                f"its time stamps run backwards by {(previous - position) / times.fps:.1f} s after"
                f" {previous / times.fps:.1f} s; convert it to a constant frame rate",
                "bad_times",
            )
        previous = position if previous is None else max(previous, position)
        yield previous, frame
