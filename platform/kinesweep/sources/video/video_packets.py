"""The packets of a video stream: time stamps and lengths, read without decoding (about 1 GB/s).

A few numbers per file are kept for the last 64 files. Estimators run this file where Kinesweep is
not installed; it imports only `frame_rate` from the package.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av

from kinesweep.sources.video.frame_rate import find_constant_rate

_MAX_LAST_DURATION_S = 0.5
"""Longest time in seconds for which the last frame is shown because the one before it was."""


@dataclass(frozen=True)
class StreamTimes:
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
        declared_share: Length that the file declares, relative to the end of its last packet.
        has_read_error: Whether an error ended the reading of the packets.
    """

    num_frames: int
    fps: float
    is_constant: bool
    mean_fps: float
    first: int | None
    length_s: float
    last_duration_s: float
    num_packets: int
    declared_share: float = 1.0
    has_read_error: bool = False


def get_declared_fps(stream: Any) -> float:
    """Return the average frame rate that a stream declares, or else FFmpeg's guess, or 0."""
    return float(stream.average_rate or stream.guessed_rate or 0)


def has_decoding_stamps(container: Any) -> bool:
    """Return whether the format has no time stamps for showing frames, but only for decoding."""
    # What FFmpeg reports as `pts` is wrong for B frames in AVI, which has no field for it.
    return bool(container.format.name == "avi")


def read_packets(path: Path) -> StreamTimes:
    """Read the frames of a file by its packets; a changed file is read again.

    Raises:
        av.FFmpegError: If the file cannot be opened.
    """
    stat = path.stat()
    return _read_packets(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _read_packets(path: str, _size: int, _mtime_ns: int) -> StreamTimes:
    """Read the frames of a file; its size and time of change are keys of the cache."""
    with av.open(path, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        uses_dts = has_decoding_stamps(container)
        num_packets, num_frames, last_end, ticks = 0, 0, 0, array("q")
        packets = _PacketIterator(container)
        for packet in packets:
            if packet.stream_index != stream.index:
                continue
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
        counts = num_packets, packets.compute_declared_share(path)
    if not ticks or not tick_s:
        no_times = (0.0, False, 0.0, None, 0.0, 0.0)
        return StreamTimes(num_frames, *no_times, *counts, packets.has_read_error)
    first, last = min(ticks), max(ticks)
    times_s = [(tick - first) * tick_s for tick in sorted(ticks)]
    # Rounded, because at 259.99999999999994 fps a span from 1000 ms would begin with frame 259.
    mean_fps = round((len(times_s) - 1) / times_s[-1], 6) if last > first else 0.0
    fps, is_constant = find_constant_rate(times_s, candidates, mean_fps, tick_s)
    # Containers such as WebM state one duration for all frames, however long each is shown.
    last_interval_s = min(times_s[-1] - times_s[-2], _MAX_LAST_DURATION_S) if last > first else 0.0
    lengths_s = (times_s[-1], max(last_interval_s, (last_end - last) * tick_s))
    rates = fps, is_constant, mean_fps
    return StreamTimes(num_frames, *rates, first, *lengths_s, *counts, packets.has_read_error)


class _PacketIterator:
    """An iterable over the packets of a file, up to the first one that cannot be read.

    Args:
        container: Open PyAV container, at its beginning.

    Attributes:
        has_read_error: Whether a packet could not be read.
    """

    def __init__(self, container: Any) -> None:
        self._container, self.has_read_error = container, False
        self._end_s = 0.0

    def __iter__(self) -> Iterator[Any]:
        """Yield the packets of all streams that are not empty."""
        try:
            for packet in self._container.demux():
                if not packet.size:  # the last packet of each stream
                    continue
                if packet.pts is not None and packet.time_base:
                    end = packet.pts + (packet.duration or 0)
                    self._end_s = max(self._end_s, float(end * packet.time_base))
                yield packet
        except av.FFmpegError:
            self.has_read_error = True  # the decoder raises it again

    def compute_declared_share(self, path: str) -> float:
        """Compute the length that the header declares, relative to the end of the last packet.

        It is 1 for a file that has all its bytes, whose last frame may simply be shown for long,
        and for formats other than Matroska and WebM: MP4 and AVI declare numbers of frames, and
        FFmpeg estimates the length of the others.

        Args:
            path: Path of the file.
        """
        duration = self._container.duration
        if not self._end_s or not duration or not _is_cut_matroska(path):
            return 1.0
        return float(duration / av.time_base / self._end_s)


def _is_cut_matroska(path: str) -> bool:
    """Return whether a file is Matroska or WebM and shorter than its header declares.

    The header is an `EBML` element followed by the `Segment`, which holds everything else; its size
    is known unless the file was recorded live (RFC 8794, RFC 9559).

    Args:
        path: Path of the file.
    """
    with open(path, "rb") as file:
        position, start = 0, file.read(4096)
        num_bytes = file.seek(0, 2)
    for element_id in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if start[position : position + 4] != element_id or position + 5 > len(start):
            return False
        first = start[position + 4]
        # The number of leading zero bits tells how many bytes of the size follow.
        length = 9 - first.bit_length()
        position += 4 + length
        size = int.from_bytes(start[position - length : position]) & ((1 << 7 * length) - 1)
        if length > 8 or size == (1 << 7 * length) - 1:  # unknown
            return False
        position += size
    return position > num_bytes
