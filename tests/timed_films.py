"""Videos with any time stamps, whose frames carry their own number in blocks of pixels."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

SIDE, BLOCK = 32, 8
"""Side of a frame and of a block in pixels; 16 blocks hold the bits of a number."""
CODECS = {".webm": "libvpx", ".mp4": "libx264", ".mkv": "libx264", ".avi": "mpeg4", ".mov": "mpeg4"}


def draw_number(number: int) -> np.ndarray:  # type: ignore[type-arg]
    """A picture whose blocks are the bits of a number, so that no compression can hide it."""
    bits = (number >> np.arange(16)) & 1
    blocks = (bits.reshape(4, 4) * 255).astype(np.uint8)
    gray = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
    return np.repeat(gray[..., None], 3, axis=2)


def read_number(frame: np.ndarray) -> int:  # type: ignore[type-arg]
    """The number in a picture of any size."""
    side = frame.shape[0] // 4
    means = frame.mean(axis=2).reshape(4, side, 4, side).mean(axis=(1, 3))
    return int(((means.ravel() > 127).astype(np.int64) << np.arange(16)).sum())


def write_timed_video(
    path: Path,
    ticks: Sequence[int],
    tick: Fraction = Fraction(1, 1000),
    rate: float = 30,
    codec: str | None = None,
    audio_from_s: float | None = None,
    container_options: Mapping[str, str] | None = None,
    container_format: str | None = None,
) -> Path:
    """A video with one frame a time stamp, in ticks; the rate is the one that its header states.

    With audio, the file also holds silence from that time on.
    """
    codec = codec or CODECS[path.suffix]
    options = {"libx264": {"bf": "2", "preset": "ultrafast", "b_strategy": "0"}}.get(codec, {})
    if codec.startswith("libvpx"):
        options = {"cpu-used": "8", "deadline": "realtime", "auto-alt-ref": "0"}
    opened = {"format": container_format, "options": dict(container_options or {})}
    with av.open(str(path), "w", **opened) as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.options = "yuv420p", options
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = 30
        if audio_from_s is not None:
            _write_silence(container, audio_from_s)
        for number, pts in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(draw_number(number), format="rgb24")
            frame.pts, frame.time_base = pts, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _write_silence(container: av.container.OutputContainer, start_s: float) -> None:
    """A second of silence at the start time."""
    sound = container.add_stream("pcm_s16le", rate=8000)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
    frame.sample_rate, frame.pts = 8000, round(start_s * 8000)
    container.mux(sound.encode(frame))
    container.mux(sound.encode())


@lru_cache(maxsize=1)
def read_timestamps_s(path: Path) -> list[float]:
    """The time stamp of each frame in seconds from the first one, as PyAV decodes them."""
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        ticks = [frame.pts for frame in container.decode(video=0)]
    return [float((tick - ticks[0]) * base) for tick in ticks]
