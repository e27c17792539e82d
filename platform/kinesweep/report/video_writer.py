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

OUTPUT_SUFFIXES = (".gif", ".mp4", ".png")
_MAX_RATE_HZ = 25
# Number of frames in a contact sheet, and the height of its panels in pixels.
_NUM_SHEET_FRAMES = 8
_SHEET_HEIGHT = 210
# Size of a GIF's palette: two hues and grays, blended with white by anti-aliasing.
_NUM_GIF_COLORS = 64


def check_output_suffix(path: Path) -> None:
    """Check that a file's suffix is supported.

    Raises:
        InputError: If it is not one of `OUTPUT_SUFFIXES`.
    """
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(f"`{path}` ends in `{path.suffix}`, but must end in {_format_suffixes()}")


def write_clip_drawing(path: Path, renderer: ClipRenderer) -> int:
    """Draw a clip into a file in the format of its suffix and return the number of frames.

    Args:
        path: Output file; missing parent folders are created.
        renderer: Clip to draw.

    Raises:
        InputError: If the suffix is not one of `OUTPUT_SUFFIXES`.
    """
    check_output_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name and renamed, so that an interrupted call leaves no partial file.
    # The suffix stays at the end, because Pillow and PyAV select the format by it.
    temporary_path = path.with_name(f".new.{path.name}")
    try:
        num_frames = {".gif": _write_gif, ".mp4": _write_mp4, ".png": _write_contact_sheet}[
            path.suffix.lower()
        ](temporary_path, renderer)
        temporary_path.replace(path)
    finally:
        temporary_path.unlink(missing_ok=True)
    return num_frames


def compute_frame_times(renderer: ClipRenderer) -> tuple[list[float], Fraction]:
    """Compute the times in seconds of the frames of a video, and its frame rate in Hz."""
    rate_hz = max(scene.rate_hz for scene in renderer.scenes)
    frame_stride = max(1, ceil(rate_hz / _MAX_RATE_HZ - 1e-6))
    # Broadcast rates are multiples of 1/1001, such as 30000/1001 = 29.97.
    video_rate_hz = Fraction(rate_hz / frame_stride).limit_denominator(1001)
    count = max(1, ceil(renderer.duration_s * float(video_rate_hz) - 1e-6))
    return [number / float(video_rate_hz) for number in range(count)], video_rate_hz


def _iter_frames(renderer: ClipRenderer) -> Iterator[Image.Image]:
    """Return the frames of a video one by one, with the texts below."""
    seconds, _ = compute_frame_times(renderer)
    return (renderer.add_captions(renderer.render_panels(second)) for second in seconds)


def _write_gif(path: Path, renderer: ClipRenderer) -> int:
    """Write a GIF whose frames share one palette, computed from a contact sheet of the clip."""
    _, rate = compute_frame_times(renderer)
    palette = draw_contact_sheet(renderer).quantize(_NUM_GIF_COLORS)
    frames = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in _iter_frames(renderer)]
    # A GIF stores durations in hundredths of a second. Rounding the frames' ends instead of their
    # durations keeps the total duration correct.
    ends = [round(100 * (number + 1) / float(rate)) for number in range(len(frames))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return len(frames)


def _write_mp4(path: Path, renderer: ClipRenderer) -> int:
    """Write H.264 with 4:2:0 subsampling, which every browser plays and which needs even sides."""
    seconds, rate = compute_frame_times(renderer)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        for number, picture in enumerate(_iter_frames(renderer)):
            even = picture.crop((0, 0, picture.width // 2 * 2, picture.height // 2 * 2))
            # The size is known once the first frame is drawn.
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = *even.size, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_image(even)))
        # Without arguments, the encoder is flushed.
        container.mux(stream.encode())
    return len(seconds)


def _write_contact_sheet(path: Path, renderer: ClipRenderer) -> int:
    """Write a contact sheet as PNG."""
    image = draw_contact_sheet(renderer)
    image.save(path)
    return _NUM_SHEET_FRAMES


def draw_contact_sheet(renderer: ClipRenderer) -> Image.Image:
    """Return an image of eight equally spaced frames, first and last included, and the texts."""
    panel_renderer = ClipRenderer(renderer.scenes, height=_SHEET_HEIGHT)
    last_time_s = max((len(s.points_TJC) - 1) / s.rate_hz for s in renderer.scenes)
    cells = [
        panel_renderer.render_panels(last_time_s * place / (_NUM_SHEET_FRAMES - 1))
        for place in range(_NUM_SHEET_FRAMES)
    ]
    # Wide cells (several views side by side) would make a row of four too wide for a page.
    columns = 4 if cells[0].width <= 1.6 * _SHEET_HEIGHT else 2
    cell_width, cell_height = cells[0].size
    canvas = Image.new(
        "RGB", (columns * cell_width, ceil(_NUM_SHEET_FRAMES / columns) * cell_height), "#ffffff"
    )
    for place, cell in enumerate(cells):
        canvas.paste(cell, (place % columns * cell_width, place // columns * cell_height))
    return renderer.add_captions(canvas)


def _format_suffixes() -> str:
    """Return the supported suffixes as text."""
    return (
        ", ".join(f"`{suffix}`" for suffix in OUTPUT_SUFFIXES[:-1]) + f" or `{OUTPUT_SUFFIXES[-1]}`"
    )
