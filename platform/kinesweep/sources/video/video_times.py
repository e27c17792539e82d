"""Time stamps of a video file, and the constant frame rate at which its frames are chosen.

A frame is shown from its time stamp to that of the next frame; the last one for its own duration or
for as long as the one before it (at most 0.5 s), whichever is longer. Frame k of a video at the
rate r covers the time from k/r to (k + 1)/r and is the frame of the file that is shown in the
middle of that time. At a constant rate these are the frames of the file, one by one, even if time
stamps are off by up to half a frame (33, 33, 34 ms at 30 fps in WebM). Time 0 is the first frame,
or the start of the audio if that is more than 0.1 s earlier.

The rate is the one that the recipe states, or else that of `frame_rate`.

A header with a number of frames, a duration and rates that agree is trusted. Otherwise the packets
are read once without decoding (`video_packets`). Estimators run this file where Kinesweep is not
installed; from the package it imports only modules that `worker_main` loads before it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import av

from kinesweep.sources.video.frame_rate import ROUNDING_S, is_plausible_rate
from kinesweep.sources.video.video_packets import StreamTimes, get_declared_fps, read_packets

_MAX_STREAM_DELAY_S = 0.1
"""Start of the video after the audio that counts as none: two B frames, or the audio's priming."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class VideoTimes:
    """The times of a video file at a constant frame rate.

    Attributes:
        fps: Constant frame rate in frames per second; 0 if it is unknown.
        num_frames: Number of frames at that rate.
        is_constant: Whether they are the frames of the file, one by one.
        num_declared_frames: Number of frames at that rate by the file's header; more than
            `num_frames` if the file was cut off, 0 if the header does not say.
        declared_fps: Average rate that the file declares, or 0.
        measured_fps: Mean rate of the frames by their time stamps, or 0 if there are too few.
        num_file_frames: Number of frames in the file.
        zero: Time stamp of time 0.
        tick_s: Unit of the time stamps in seconds; 0 if the file has no time stamps.
        delay_s: Time of the first frame in seconds.
        last_duration: Duration of the last frame in frames.
    """

    fps: float
    num_frames: int
    is_constant: bool = True
    num_declared_frames: int = 0
    declared_fps: float = 0.0
    measured_fps: float = 0.0
    num_file_frames: int = 0
    zero: int = 0
    tick_s: float = 0.0
    delay_s: float = 0.0
    last_duration: float = 1.0

    def compute_position(self, timestamp: int) -> float:
        """Compute the position of a time stamp in frames; a rounded one is put on its frame."""
        position = (timestamp - self.zero) * self.tick_s * self.fps
        # Without it, a span from 1033 ms at 30 fps would begin with frame 31, stamped 1033 ms but
        # due at 1033.3 ms, and not with frame 30, as in a file with exact time stamps.
        nearest = round(position)
        tolerance = min(0.25, 1.01 * max(self.tick_s, ROUNDING_S) * self.fps)
        return nearest if abs(position - nearest) <= tolerance else position


def read_video_times(container: Any, stream: Any, path: Path, fps: float | None) -> VideoTimes:
    """Return the times of a video file.

    Args:
        container: Open PyAV container; its position does not change.
        stream: Video stream of the container.
        path: Path of the file, which is opened again if its packets must be read.
        fps: Frame rate that the recipe states, or None.

    Raises:
        av.FFmpegError: If the packets cannot be read.
    """
    declared_fps = get_declared_fps(stream)
    frames = _read_trusted_header(stream, declared_fps)
    if frames is None:
        frames = read_packets(path)
    rate = fps or frames.fps or declared_fps
    facts = (declared_fps, frames.mean_fps, frames.num_frames)
    if frames.first is None or not rate > 0:
        # Without time stamps, the frames follow each other.
        return VideoTimes(rate, frames.num_frames, True, stream.frames, *facts)
    delay_s, tick_s = _find_delay_s(container, stream, frames.first), float(stream.time_base)
    is_constant = frames.is_constant and rate == frames.fps and not delay_s
    num_frames, last_duration = frames.num_frames, 1.0
    if not is_constant:
        last_duration = max(1.0, frames.last_duration_s * rate)
        num_frames = count_frames((delay_s + frames.length_s) * rate + last_duration)
    num_declared_frames = 0
    if stream.frames:
        # A file with gaps has too few frames, but reaches its end; one that was cut off does not.
        shares = (frames.num_packets, frames.length_s * declared_fps + 1)
        num_declared_frames = round(num_frames * max(1.0, stream.frames / max(shares)))
    elif frames.declared_share > 1:
        num_declared_frames = round(num_frames * frames.declared_share)
    zero = frames.first - round(delay_s / tick_s)
    start = (zero, tick_s, delay_s)
    return VideoTimes(
        rate, num_frames, is_constant, num_declared_frames, *facts, *start, last_duration
    )


def count_stored_frames(path: Path, times: VideoTimes) -> tuple[int, bool]:
    """Count the frames that the packets of a file hold; the header may declare more.

    Args:
        path: Path of the video file.
        times: Times of the video.

    Returns:
        Number of frames at the rate of `times`, and whether an error ended the reading.

    Raises:
        av.FFmpegError: If the packets cannot be read.
    """
    packets = read_packets(path)
    if packets.first is None or not times.tick_s:
        return packets.num_frames, packets.has_read_error
    last = packets.first + round(packets.length_s / times.tick_s)
    end = times.compute_position(last) + times.last_duration
    return count_frames(end), packets.has_read_error


def count_frames(end: float) -> int:
    """Count the frames of a video that ends at a position: those whose middle lies before it."""
    return max(1, math.ceil(end - 0.5))


def _read_trusted_header(stream: Any, declared_fps: float) -> StreamTimes | None:
    """Return the frames of a stream by its header if it states a constant rate, or else None.

    Args:
        stream: Video stream.
        declared_fps: Average rate that the stream declares.
    """
    values = (stream.frames, stream.duration, stream.time_base, stream.average_rate)
    if not all(values) or stream.start_time is None or not is_plausible_rate(declared_fps):
        return None
    # FFmpeg derives `base_rate` from the first time stamps; it differs for most variable rates.
    base_fps, num_frames = float(stream.base_rate or 0), stream.frames
    num_missing = num_frames - float(stream.duration * stream.time_base) * declared_fps
    if abs(base_fps - declared_fps) > 1e-4 * declared_fps or abs(num_missing) >= 0.5:
        return None
    length_s = (num_frames - 1) / declared_fps
    times = (declared_fps, stream.start_time, length_s, 1 / declared_fps)
    return StreamTimes(num_frames, declared_fps, True, *times, num_frames)


def _find_delay_s(container: Any, stream: Any, first: int) -> float:
    """Return the time in seconds from the start of the file to its first frame, or 0 if short.

    Args:
        container: Open PyAV container.
        stream: Video stream of the container.
        first: Time stamp of the first frame.
    """
    if len(container.streams) < 2 or container.start_time is None:
        return 0.0
    delay_s = float(first * stream.time_base) - container.start_time / av.time_base
    return delay_s if delay_s > _MAX_STREAM_DELAY_S else 0.0


def choose_frames(
    timed_frames: Iterable[tuple[float, Item]],
    start: float,
    end: float,
    last_duration: float,
) -> Iterator[Item]:
    """Yield the item shown in each frame time of a span; one that is shown for long comes again.

    Args:
        timed_frames: Positions of frames, which never decrease, and items. Before its time, the
            first one is shown, as players do.
        start: Start of the span as a position in frames.
        end: End of the span as a position in frames, or infinity.
        last_duration: Duration of the last item in frames.
    """
    # Frame times at both ends may lie only in part within the span. Their frames are chosen within
    # that part: the frame in the middle might be shown only before or only after the span.
    latest = math.nextafter(end, -math.inf)
    index = math.floor(start)
    last: tuple[float, Item] | None = None
    for position, item in timed_frames:
        while last is not None and min(max(index + 0.5, start), latest) < position:
            yield last[1]
            index += 1
            if index >= end:
                return
        last = position, item
    if last is None:
        return
    file_end = last[0] + last_duration
    while index < end and min(max(index + 0.5, start), latest) < file_end:
        yield last[1]
        index += 1
