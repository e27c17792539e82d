"""Draw frames of a clip as images: its skeletons side by side, its texts below.

Frames are drawn with Pillow, a dependency of matplotlib: a frame takes about 10 ms, a tenth of
matplotlib's time, and texts are laid out once per clip. The visible area is fixed for the whole
clip, so that only the person moves. Three-dimensional points are shown from the front and from the
side in orthographic projection. Left is blue and right is orange, a pair of Okabe and Ito's palette
that is distinguishable with all common kinds of color blindness.

Shapes: T frames, J points, C coordinates, V views.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kinesweep.report.fonts import load_font
from kinesweep.report.pose_scene import LEFT, MIDDLE, RIGHT, PoseScene

COLORS = {LEFT: "#0072b2", MIDDLE: "#3c4450", RIGHT: "#d55e00"}
_BACKGROUND_COLOR, _TEXT_COLOR, _LABEL_COLOR, _SEPARATOR_COLOR = (
    "#ffffff",
    "#1d2430",
    "#5b6472",
    "#d7dbe0",
)
_PREDICTION_COLOR = "#00795a"
# Views as (name, index of the coordinate on the horizontal axis).
_FLAT_VIEWS, _DEPTH_VIEWS = (("", 0),), (("front", 0), ("side", 2))
# Supersampling factor: Pillow draws lines without anti-aliasing.
_SUPERSAMPLING = 2
# Height in pixels above the panels, for titles and the time.
_HEADER_HEIGHT = 26
# Minimum width in pixels of the texts; a panel with a standing person is only 90 pixels wide.
_MIN_TEXT_WIDTH = 360
# Minimum number of points from which points and bones are drawn smaller.
_MIN_POINTS_DRAWN_SMALL = 60


@dataclass(frozen=True)
class CaptionLine:
    """A text below the drawing with its label.

    Attributes:
        label: Label to the left of the text, such as `text` or `predicted`.
        text: Text, which is wrapped into several rows if it is too wide.
    """

    label: str
    text: str


@dataclass(frozen=True)
class PanelView:
    """One panel: a scene seen from one side.

    Attributes:
        scene: Scene whose points are drawn.
        axis: Index of the coordinate on the horizontal axis.
        title: Text above the panel.
        low: Horizontal and vertical coordinate of the panel's upper left corner.
        size: Width and height of the panel in the scene's units.
    """

    scene: PoseScene
    axis: int
    title: str
    low: tuple[float, float]
    size: tuple[float, float]

    def project_points(self, frame: int) -> NDArray[np.float32]:
        """Project a frame's points onto the panel.

        Args:
            frame: Index of the frame.

        Returns:
            Coordinates in the scene's units, relative to the panel's upper left corner, (J, 2).
        """
        return self.scene.points_TJC[frame][:, [self.axis, 1]] - np.array(self.low, np.float32)


@dataclass(frozen=True)
class ClipRenderer:
    """A renderer of the frames of a clip.

    Attributes:
        scenes: Scenes, from left to right.
        captions: Texts below the scenes.
        height: Maximum height of a panel in pixels, without its header.
    """

    scenes: Sequence[PoseScene]
    captions: Sequence[CaptionLine] = ()
    height: int = 380

    @property
    def duration_s(self) -> float:
        """Return the duration of the longest scene in seconds."""
        return max(scene.duration_s for scene in self.scenes)

    @cached_property
    def views(self) -> list[PanelView]:
        """Return the panels of all scenes, from left to right."""
        return [view for scene in self.scenes for view in _build_views(scene, len(self.scenes) > 1)]

    @cached_property
    def scale(self) -> float:
        """Return the pixels per unit of the scenes, the same in all panels."""
        max_height = max(view.size[1] for view in self.views)
        total_width = sum(view.size[0] for view in self.views)
        # Several panels side by side are limited in total width as well.
        return min(self.height / max_height, 2.6 * self.height / total_width)

    def render_panels(self, time_s: float) -> Image.Image:
        """Draw the panels at a point in time side by side, without the texts below.

        Args:
            time_s: Time in seconds from the start of the clip.
        """
        widths = [max(90, round(view.size[0] * self.scale)) for view in self.views]
        panel_height = round(max(view.size[1] for view in self.views) * self.scale)
        image = Image.new("RGB", (sum(widths), _HEADER_HEIGHT + panel_height), _BACKGROUND_COLOR)
        draw, left = ImageDraw.Draw(image), 0
        for view, width in zip(self.views, widths, strict=True):
            image.paste(
                _render_panel(view, time_s, self.scale, (width, panel_height)),
                (left, _HEADER_HEIGHT),
            )
            draw.text((left + 8, 6), view.title, _LABEL_COLOR, load_font(view.title, 12))
            left += width
        draw.text((left - 8, 6), f"{time_s:.2f} s", _LABEL_COLOR, load_font("0", 12), anchor="ra")
        return image

    def add_captions(self, image: Image.Image) -> Image.Image:
        """Return an image with the clip's texts and the legend of the colors added below it.

        The result is as wide as the image, but at least wide enough for the texts to be legible.
        """
        captions = _render_captions(tuple(self.captions), max(image.width, _MIN_TEXT_WIDTH))
        canvas = Image.new(
            "RGB", (captions.width, image.height + captions.height), _BACKGROUND_COLOR
        )
        canvas.paste(image, ((captions.width - image.width) // 2, 0))
        canvas.paste(captions, (0, image.height))
        return canvas


@lru_cache(maxsize=4)
def _render_captions(captions: tuple[CaptionLine, ...], width: int) -> Image.Image:
    """Draw the wrapped texts and the legend of the colors; cached, so once per clip.

    Args:
        captions: Texts from top to bottom.
        width: Width of the image in pixels.
    """
    # Label, text and color of each row; only the first row of a text has its label.
    rows = [
        (
            "" if index else caption.label,
            row_text,
            _PREDICTION_COLOR if caption.label == "predicted" else _TEXT_COLOR,
        )
        for caption in captions
        for index, row_text in enumerate(_wrap_text(caption.text, width - 108.0))
    ]
    image = Image.new("RGB", (width, 20 * len(rows) + 36), _BACKGROUND_COLOR)
    draw = ImageDraw.Draw(image)
    draw.line((12, 2, width - 12, 2), _SEPARATOR_COLOR)
    for row_index, (label, row_text, color) in enumerate(rows):
        draw.text((12, 10 + 20 * row_index), label, _LABEL_COLOR, load_font(label, 12))
        draw.text((96, 9 + 20 * row_index), row_text, color, load_font(row_text, 14))
    x, y = 12, image.height - 22
    for side, side_name in ((LEFT, "left"), (RIGHT, "right")):
        draw.ellipse((x, y + 3, x + 8, y + 11), COLORS[side])
        draw.text((x + 13, y), side_name, _LABEL_COLOR, load_font(side_name, 12))
        x += 56
    return image


def _build_views(scene: PoseScene, show_stream: bool) -> list[PanelView]:
    """Build the panels of a scene: one for flat points, front and side for points with depth.

    Args:
        scene: Scene whose points are drawn.
        show_stream: Whether the titles contain the name of the stream.
    """
    views = []
    for view_name, axis in _FLAT_VIEWS if scene.is_flat else _DEPTH_VIEWS:
        # The bounds of the whole clip, not of one frame: the view does not move.
        points_N2 = scene.points_TJC[scene.detected_TJ][:, [axis, 1]]
        low_2, high_2 = _compute_bounds(points_N2) if len(points_N2) else (np.zeros(2), np.ones(2))
        # A lower bound avoids division by zero if all points coincide.
        size_2 = np.maximum(high_2 - low_2, 1e-6)
        margin = 0.06 * float(size_2.max())
        title = f"{scene.stream}  {view_name}".strip() if show_stream else view_name
        low = (float(low_2[0]) - margin, float(low_2[1]) - margin)
        size = (float(size_2[0]) + 2 * margin, float(size_2[1]) + 2 * margin)
        views.append(PanelView(scene, axis, title, low, size))
    return views


def _compute_bounds(
    points_N2: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest coordinates of points, without distant outliers.

    Otherwise, a single outlier would shrink everything else.

    Args:
        points_N2: Horizontal and vertical coordinates of N points; at least one.

    Returns:
        Lower and upper bounds of the two coordinates, (2,) each.
    """
    low_quantile_2, high_quantile_2 = np.quantile(points_N2, (0.02, 0.98), axis=0)
    # Half the central range is left on each side for fast but real movements.
    margin_2 = (high_quantile_2 - low_quantile_2) / 2
    low_2 = np.maximum(points_N2.min(0), low_quantile_2 - margin_2)
    return low_2, np.minimum(points_N2.max(0), high_quantile_2 + margin_2)


def _render_panel(
    view: PanelView, time_s: float, scale: float, size: tuple[int, int]
) -> Image.Image:
    """Draw the bones and points of a view; after the end of its scene, the last frame is shown.

    Args:
        view: View to draw.
        time_s: Time in seconds from the start of the clip.
        scale: Pixels per unit of the scene.
        size: Width and height of the image in pixels.
    """
    scene, supersampled_scale = view.scene, scale * _SUPERSAMPLING
    panel = Image.new(
        "RGB", (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING), _BACKGROUND_COLOR
    )
    draw = ImageDraw.Draw(panel)
    # The small addend keeps rounding errors from selecting the previous frame.
    frame = min(int(time_s * scene.rate_hz + 1e-6), len(scene.points_TJC) - 1)
    margin_x = (size[0] - view.size[0] * scale) / 2 * _SUPERSAMPLING
    pixels_J2: NDArray[np.float32] = view.project_points(frame) * supersampled_scale + np.array(
        [margin_x, 0], np.float32
    )
    detected_J = scene.detected_TJ[frame]
    is_small = len(scene.names) >= _MIN_POINTS_DRAWN_SMALL
    line_width = (2 if is_small else 4) * _SUPERSAMPLING
    radius = (1.3 if is_small else 3.4) * _SUPERSAMPLING
    # Bones are drawn before points, so that points cover their ends.
    for child, parent in scene.bones:
        if detected_J[child] and detected_J[parent]:
            ends = [tuple(pixels_J2[child].tolist()), tuple(pixels_J2[parent].tolist())]
            draw.line(ends, COLORS[scene.sides[child]], line_width)
    for (x, y), is_detected, side in zip(pixels_J2.tolist(), detected_J, scene.sides, strict=True):
        if is_detected:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), COLORS[side])
    return panel.resize(size, Image.Resampling.BOX)


def _wrap_text(text: str, width: float) -> list[str]:
    """Wrap a text into rows of a width in pixels.

    Rows are broken between words, and inside a word that is too wide for a row.

    Args:
        text: Text to wrap; any whitespace counts as one space.
        width: Maximum width of a row in pixels.

    Returns:
        Rows from top to bottom; a single empty row for an empty text.
    """
    font, rows, row = load_font(text, 14), [], ""
    for word in text.split():
        candidate = f"{row} {word}" if row else word
        if row and font.getlength(candidate) > width:
            rows.append(row)
            candidate = word
        row = candidate
        while font.getlength(row) > width and len(row) > 1:
            # Binary search for the longest prefix that fits; at least one character per row.
            prefix_lengths = range(1, len(row) + 1)
            prefix_length = max(
                1,
                bisect_right(
                    prefix_lengths, width, key=lambda length: font.getlength(row[:length])
                ),
            )
            rows.append(row[:prefix_length])
            row = row[prefix_length:]
    return [*rows, row]
