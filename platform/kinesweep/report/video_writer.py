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
    """Check that the suffix of an output file is supported, in lower or upper case.

    Raises:
        InputError: If the suffix is not one of `OUTPUT_SUFFIXES`.
    """
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(f"`{path}` ends in `{path.suffix}`, but must end in {_format_suffixes()}")


def write_clip_drawing(path: Path, renderer: ClipRenderer) -> int:
    """Draw a clip into a file, in the format of its suffix, replacing the file atomically.

    Args:
        path: Output file; missing parent folders are created.
        renderer: Renderer of the clip.

    Returns:
        Number of frames in the file.

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
        # After a success the file has its final name, so it is missing here.
        temporary_path.unlink(missing_ok=True)
    return num_frames


def compute_frame_times(renderer: ClipRenderer) -> tuple[list[float], Fraction]:
    """Compute the points in time of a clip that become frames of its video, and the frame rate.

    Returns:
        The time of each frame in seconds from the start of the clip, and the frame rate of the
        video in Hz.
    """
    rate_hz = max(scene.rate_hz for scene in renderer.scenes)
    # The tolerance keeps a rate just above 25 Hz from being halved for a rounding error.
    frame_stride = max(1, ceil(rate_hz / _MAX_RATE_HZ - 1e-6))
    # Broadcast rates are multiples of 1/1001, such as 30000/1001 = 29.97.
    video_rate_hz = Fraction(rate_hz / frame_stride).limit_denominator(1001)
    num_frames = max(1, ceil(renderer.duration_s * float(video_rate_hz) - 1e-6))
    return [index / float(video_rate_hz) for index in range(num_frames)], video_rate_hz


def _iter_frames(renderer: ClipRenderer) -> Iterator[Image.Image]:
    """Return an iterator that draws the frames of a video one by one, with the texts below."""
    frame_times_s, _ = compute_frame_times(renderer)
    return (renderer.add_captions(renderer.render_panels(time_s)) for time_s in frame_times_s)


def _write_gif(path: Path, renderer: ClipRenderer) -> int:
    """Write a GIF whose frames share one palette, and return the number of frames.

    The palette is computed from a contact sheet of the clip.
    """
    _, rate_hz = compute_frame_times(renderer)
    palette_image = draw_contact_sheet(renderer).quantize(_NUM_GIF_COLORS)
    frames = [
        frame.quantize(palette=palette_image, dither=Image.Dither.NONE)
        for frame in _iter_frames(renderer)
    ]
    # A GIF stores durations in hundredths of a second. Rounding the frames' ends instead of their
    # durations keeps the total duration correct.
    ends_cs = [round(100 * (index + 1) / float(rate_hz)) for index in range(len(frames))]
    durations_ms = [10 * (end - begin) for begin, end in zip([0, *ends_cs], ends_cs, strict=False)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations_ms, loop=0)
    return len(frames)


def _write_mp4(path: Path, renderer: ClipRenderer) -> int:
    """Write an H.264 video in an MP4 file, and return the number of frames.

    The video has 4:2:0 subsampling, which every browser plays and which needs even sides.
    """
    frame_times_s, rate_hz = compute_frame_times(renderer)
    with av.open(str(path), "w") as container:
        video_stream = container.add_stream("libx264", rate=rate_hz, options={"crf": "20"})
        for index, image in enumerate(_iter_frames(renderer)):
            even_image = image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))
            # The size is known once the first frame is drawn.
            if index == 0:
                video_stream.width, video_stream.height = even_image.size
                video_stream.pix_fmt = "yuv420p"
            container.mux(video_stream.encode(av.VideoFrame.from_image(even_image)))
        # Without arguments, the encoder is flushed.
        container.mux(video_stream.encode())
    return len(frame_times_s)


def _write_contact_sheet(path: Path, renderer: ClipRenderer) -> int:
    """Write a contact sheet as PNG, and return its number of frames, which is eight."""
    draw_contact_sheet(renderer).save(path)
    return _NUM_SHEET_FRAMES


def draw_contact_sheet(renderer: ClipRenderer) -> Image.Image:
    """Draw eight equally spaced frames, first and last included, in one image with the texts."""
    panel_renderer = ClipRenderer(renderer.scenes, height=_SHEET_HEIGHT)
    last_time_s = max((len(scene.points_TJC) - 1) / scene.rate_hz for scene in renderer.scenes)
    cells = [
        panel_renderer.render_panels(last_time_s * index / (_NUM_SHEET_FRAMES - 1))
        for index in range(_NUM_SHEET_FRAMES)
    ]
    # Wide cells (several views side by side) would make a row of four too wide for a page.
    columns = 4 if cells[0].width <= 1.6 * _SHEET_HEIGHT else 2
    cell_width, cell_height = cells[0].size
    canvas = Image.new(
        "RGB", (columns * cell_width, ceil(_NUM_SHEET_FRAMES / columns) * cell_height), "#ffffff"
    )
    for index, cell in enumerate(cells):
        canvas.paste(cell, (index % columns * cell_width, index // columns * cell_height))
    return renderer.add_captions(canvas)


def _format_suffixes() -> str:
    """Return the supported suffixes as text, such as `.gif`, `.mp4` or `.png`."""
    return (
        ", ".join(f"`{suffix}`" for suffix in OUTPUT_SUFFIXES[:-1]) + f" or `{OUTPUT_SUFFIXES[-1]}`"
    )
