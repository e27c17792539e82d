"""A clip drawn into a file: a film, a moving picture, or a sheet of eight of its frames.

GIF moves in a mail and a README, MP4 (H.264, PyAV) is a tenth of its size, PNG is for print. Films
run at the clip's own rate; above 25 frames a second every n-th frame is shown, so time stays true.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
from PIL import Image

from kinesweep.core.errors import InputError
from kinesweep.report.drawing import Stage

SUFFIXES = (".gif", ".mp4", ".png")
_MOST_HZ = 25
_SHEET = 8
"""Frames of a contact sheet."""
_SHEET_HEIGHT = 210
"""Pixels of its panels."""
_COLORS = 64
"""Of a GIF: two hues, greys, and their mixtures with white."""


def check_suffix(path: Path) -> None:
    """Refuses what cannot be written.

    Raises:
        InputError: with those that can.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"`{path}` ends in `{path.suffix}`; a clip is drawn as {_listed()}")


def write_clip(path: Path, stage: Stage) -> int:
    """Draws a clip into a file, by its suffix. Returns the number of frames drawn.

    Raises:
        InputError: the suffix is none of `SUFFIXES`.
    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".new.{path.name}")
    try:
        drawn = {".gif": _gif, ".mp4": _mp4, ".png": _sheet}[path.suffix.lower()](beside, stage)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return drawn


def moments(stage: Stage) -> tuple[list[float], Fraction]:
    """Seconds of the frames that a film shows, and how many there are a second."""
    rate_hz = max(scene.rate_hz for scene in stage.scenes)
    every = max(1, ceil(rate_hz / _MOST_HZ - 1e-6))
    shown = Fraction(rate_hz / every).limit_denominator(1001)
    count = max(1, ceil(stage.seconds * float(shown) - 1e-6))
    return [number / float(shown) for number in range(count)], shown


def _frames(stage: Stage) -> Iterator[Image.Image]:
    seconds, _ = moments(stage)
    return (stage.below(stage.picture(second)) for second in seconds)


def _gif(path: Path, stage: Stage) -> int:
    """All frames share the colours of a sheet: points that come late have theirs, too."""
    _, rate = moments(stage)
    palette = sheet(stage).quantize(_COLORS)
    frames = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in _frames(stage)]
    # A GIF counts in hundredths of a second; rounding the ends keeps the whole clip's time.
    ends = [round(100 * (number + 1) / float(rate)) for number in range(len(frames))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return len(frames)


def _mp4(path: Path, stage: Stage) -> int:
    """H.264 in 4:2:0, which every browser plays; its sides are even."""
    seconds, rate = moments(stage)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        for number, picture in enumerate(_frames(stage)):
            even = picture.crop((0, 0, picture.width // 2 * 2, picture.height // 2 * 2))
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = *even.size, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_image(even)))
        container.mux(stream.encode())
    return len(seconds)


def _sheet(path: Path, stage: Stage) -> int:
    picture = sheet(stage)
    picture.save(path)
    return _SHEET


def sheet(stage: Stage) -> Image.Image:
    """Eight frames at equal distances, the first and the last among them, and the texts."""
    small = Stage(stage.scenes, height=_SHEET_HEIGHT)
    last = max((len(s.points_TJC) - 1) / s.rate_hz for s in stage.scenes)
    cells = [small.picture(last * place / (_SHEET - 1)) for place in range(_SHEET)]
    columns = 4 if cells[0].width <= 1.6 * _SHEET_HEIGHT else 2
    wide, tall = cells[0].size
    whole = Image.new("RGB", (columns * wide, ceil(_SHEET / columns) * tall), "#ffffff")
    for place, cell in enumerate(cells):
        whole.paste(cell, (place % columns * wide, place // columns * tall))
    return stage.below(whole)


def _listed() -> str:
    return ", ".join(f"`{suffix}`" for suffix in SUFFIXES[:-1]) + f" or `{SUFFIXES[-1]}`"
