"""Time stamps of a video file, and the constant frame rate at which its frames are chosen.

A frame is shown from its time stamp to that of the next frame; the last one for its own duration or
for as long as the one before it (at most 0.5 s), whichever is longer. Frame k of a video at the
rate r covers the time from k/r to (k + 1)/r and is the frame of the file that is shown in the
middle of that time. At a constant rate these are the frames of the file, one by one, even if time
stamps are off by up to half a frame (33, 33, 34 ms at 30 fps in WebM). Time 0 is the first frame,
or the start of the audio if that is more than 0.1 s earlier.

The rate is the one that the recipe states, or else that of `frame_rate`.

A header with a number of frames, a duration and rates that agree is trusted. Otherwise the packets
are read once without decoding (about 1 GB/s) and a few numbers per file are kept for the last 64
files. Estimators run this file where Kinesweep is not installed: it must not import the package.
"""

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import av

from kinesweep.sources.video.frame_rate import (
    ROUNDING_S,
    find_constant_rate,
    is_plausible_rate,
)

_MAX_STREAM_DELAY_S = 0.1
"""Start of the video after the audio that counts as none: two B frames, or the audio's priming."""
_MAX_LAST_DURATION_S = 0.5
"""Longest time in seconds for which the last frame is shown because the one before it was."""
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


@dataclass(frozen=True)
class _StreamTimes:
    """The frames of a video stream by its header or its packets.

    Attributes:
        num_frames: Number of frames that are shown.
        fps: Rate by the rule of this module; 0 if there is none.
        is_constant: Whether every frame lies on its place at that rate.
        mean_fps: Mean rate, or 0 for fewer than two time stamps.
        first: Smallest time stamp in ticks, or None if there are no time stamps.
        length_s: Time from the first to the last time stamp in seconds.
        last_duration_s: Duration of the last frame in seconds, or 0 if it is unknown.
        num_packets: Number of frames including those that an edit list hides.
    """

    num_frames: int
    fps: float
    is_constant: bool
    mean_fps: float
    first: int | None
    length_s: float
    last_duration_s: float
    num_packets: int


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
        stat = path.stat()
        frames = _read_packets(str(path), stat.st_size, stat.st_mtime_ns)
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
    zero = frames.first - round(delay_s / tick_s)
    start = (zero, tick_s, delay_s)
    return VideoTimes(
        rate, num_frames, is_constant, num_declared_frames, *facts, *start, last_duration
    )


def get_declared_fps(stream: Any) -> float:
    """Return the average frame rate that a stream declares, or else FFmpeg's guess, or 0."""
    return float(stream.average_rate or stream.guessed_rate or 0)


def has_decoding_stamps(container: Any) -> bool:
    """Return whether the format has no time stamps for showing frames, but only for decoding."""
    # What FFmpeg reports as `pts` is wrong for B frames in AVI, which has no field for it.
    return bool(container.format.name == "avi")


def count_frames(end: float) -> int:
    """Count the frames of a video that ends at a position: those whose middle lies before it."""
    return max(1, math.ceil(end - 0.5))


def _read_trusted_header(stream: Any, declared_fps: float) -> _StreamTimes | None:
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
    return _StreamTimes(num_frames, declared_fps, True, *times, num_frames)


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


@lru_cache(maxsize=64)
def _read_packets(path: str, _size: int, _mtime_ns: int) -> _StreamTimes:
    """Read the frames of a file by its packets; a changed file is read again.

    Raises:
        av.FFmpegError: If the file cannot be opened.
    """
    with av.open(path, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        uses_dts = has_decoding_stamps(container)
        num_packets, num_frames, last_end, ticks = 0, 0, 0, array("q")
        for packet in _iter_packets(container, stream):
            num_packets += 1
            if packet.is_discard:
                continue  # an edit list hides it; others depend on it
            num_frames += 1
            timestamp = packet.dts if packet.pts is None or uses_dts else packet.pts
            if timestamp is not None:
                ticks.append(timestamp)
                last_end = max(last_end, timestamp + (packet.duration or 0))
        candidates = [get_declared_fps(stream), float(stream.base_rate or 0)]
        tick_s = float(stream.time_base or 0)
    if not ticks or not tick_s:
        return _StreamTimes(num_frames, 0.0, False, 0.0, None, 0.0, 0.0, num_packets)
    first, last = min(ticks), max(ticks)
    times_s = [(tick - first) * tick_s for tick in sorted(ticks)]
    mean_fps = (len(times_s) - 1) / times_s[-1] if last > first else 0.0
    fps, is_constant = find_constant_rate(times_s, candidates, mean_fps, tick_s)
    # Containers such as WebM state one duration for all frames, however long each is shown.
    last_interval_s = min(times_s[-1] - times_s[-2], _MAX_LAST_DURATION_S) if last > first else 0.0
    lengths_s = (times_s[-1], max(last_interval_s, (last_end - last) * tick_s))
    return _StreamTimes(num_frames, fps, is_constant, mean_fps, first, *lengths_s, num_packets)


def _iter_packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets with a frame, up to the first one that cannot be read."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # the last packet is empty
                yield packet
    except av.FFmpegError:
        return  # the decoder reports it


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
