"""Write the drawing of a clip to a file: a video, an animation, or a sheet of eight frames.

A GIF plays in mails and READMEs, an MP4 (H.264, PyAV) is a tenth of its size, and a PNG is for
print. Videos play at the clip's own frame rate. Above 25 frames per second, only every n-th frame
is shown, so the duration stays correct.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
from PIL import Image

from kinesweep.core.errors import InputError
from kinesweep.report.clip_renderer import ClipRenderer

SUFFIXES = (".gif", ".mp4", ".png")
_MOST_HZ = 25
# Number of frames in a contact sheet, and the height of its panels in pixels.
_SHEET = 8
_SHEET_HEIGHT = 210
# Size of a GIF's palette: two hues and greys, blended with white by anti-aliasing.
_COLORS = 64


def check_suffix(path: Path) -> None:
    """Check that a file's suffix is supported.

    Raises:
        InputError: If it is not one of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"`{path}` ends in `{path.suffix}`, but must end in {_listed()}")


def write_clip(path: Path, stage: ClipRenderer) -> int:
    """Draw a clip into a file in the format of its suffix and return the number of frames.

    Args:
        path: Output file; missing parent folders are created.
        stage: Clip to draw.

    Raises:
        InputError: If the suffix is not one of `SUFFIXES`.
    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name and renamed, so that an interrupted call leaves no partial file.
    # The suffix stays at the end, because Pillow and PyAV select the format by it.
    beside = path.with_name(f".new.{path.name}")
    try:
        drawn = {".gif": _gif, ".mp4": _mp4, ".png": _sheet}[path.suffix.lower()](beside, stage)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return drawn


def moments(stage: ClipRenderer) -> tuple[list[float], Fraction]:
    """Return the times in seconds of the frames that a video shows, and its frame rate in Hz."""
    rate_hz = max(scene.rate_hz for scene in stage.scenes)
    every = max(1, ceil(rate_hz / _MOST_HZ - 1e-6))
    # Broadcast rates are multiples of 1/1001, such as 30000/1001 = 29.97.
    shown = Fraction(rate_hz / every).limit_denominator(1001)
    count = max(1, ceil(stage.seconds * float(shown) - 1e-6))
    return [number / float(shown) for number in range(count)], shown


def _frames(stage: ClipRenderer) -> Iterator[Image.Image]:
    """Return the frames of a video one by one, with the texts below."""
    seconds, _ = moments(stage)
    return (stage.below(stage.picture(second)) for second in seconds)


def _gif(path: Path, stage: ClipRenderer) -> int:
    """Write a GIF whose frames share one palette, computed from a contact sheet of the clip."""
    _, rate = moments(stage)
    palette = sheet(stage).quantize(_COLORS)
    frames = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in _frames(stage)]
    # A GIF stores durations in hundredths of a second. Rounding the frames' ends instead of their
    # durations keeps the total duration correct.
    ends = [round(100 * (number + 1) / float(rate)) for number in range(len(frames))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return len(frames)


def _mp4(path: Path, stage: ClipRenderer) -> int:
    """Write H.264 with 4:2:0 subsampling, which every browser plays and which needs even sides."""
    seconds, rate = moments(stage)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        for number, picture in enumerate(_frames(stage)):
            even = picture.crop((0, 0, picture.width // 2 * 2, picture.height // 2 * 2))
            # The size is known once the first frame is drawn.
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = *even.size, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_image(even)))
        # Without arguments, the encoder is flushed.
        container.mux(stream.encode())
    return len(seconds)


def _sheet(path: Path, stage: ClipRenderer) -> int:
    """Write a contact sheet as PNG."""
    picture = sheet(stage)
    picture.save(path)
    return _SHEET


def sheet(stage: ClipRenderer) -> Image.Image:
    """Return an image of eight equally spaced frames, first and last included, and the texts."""
    small = ClipRenderer(stage.scenes, height=_SHEET_HEIGHT)
    last = max((len(s.points_TJC) - 1) / s.rate_hz for s in stage.scenes)
    cells = [small.picture(last * place / (_SHEET - 1)) for place in range(_SHEET)]
    # Wide cells (several views side by side) would make a row of four too wide for a page.
    columns = 4 if cells[0].width <= 1.6 * _SHEET_HEIGHT else 2
    wide, tall = cells[0].size
    whole = Image.new("RGB", (columns * wide, ceil(_SHEET / columns) * tall), "#ffffff")
    for place, cell in enumerate(cells):
        whole.paste(cell, (place % columns * wide, place // columns * tall))
    return stage.below(whole)


def _listed() -> str:
    """Return the supported suffixes as text."""
    return ", ".join(f"`{suffix}`" for suffix in SUFFIXES[:-1]) + f" or `{SUFFIXES[-1]}`"
