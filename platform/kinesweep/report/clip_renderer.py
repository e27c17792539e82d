"""Draw frames of a clip as images: its skeletons side by side, its texts below.

Frames are drawn with Pillow, a dependency of matplotlib: a frame takes about 10 ms, a tenth of
matplotlib's time, and texts are laid out once per clip. The visible area is fixed for the whole
clip, so that only the person moves. Three-dimensional points are shown from the front and from the
side in orthographic projection. Left is blue and right is orange, a pair of Okabe and Ito's palette
that is distinguishable with all common kinds of colour blindness.

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
from kinesweep.report.pose_scene import LEFT, MIDDLE, RIGHT, Scene

COLORS = {LEFT: "#0072b2", MIDDLE: "#3c4450", RIGHT: "#d55e00"}
_PAPER, _INK, _SOFT, _RULE = "#ffffff", "#1d2430", "#5b6472", "#d7dbe0"
_PREDICTED = "#00795a"
# Views as (name, index of the coordinate on the horizontal axis).
_IN_A_PLANE, _IN_SPACE = (("", 0),), (("front", 0), ("side", 2))
# Supersampling factor: Pillow draws lines without anti-aliasing.
_FINE = 2
# Height in pixels above the panels, for titles and the time.
_HEAD = 26
# Minimum width in pixels of the texts; a panel with a standing person is only 90 pixels wide.
_READABLE = 360
# Minimum number of points from which points and bones are drawn smaller.
_MANY = 60


@dataclass(frozen=True)
class Line:
    """A text below the drawing with its label, such as `text` or `predicted`."""

    what: str
    text: str


@dataclass(frozen=True)
class View:
    """One panel: a scene seen from one side.

    Attributes:
        scene: Scene whose points are drawn.
        axis: Index of the coordinate on the horizontal axis.
        title: Text above the panel.
        low: Horizontal and vertical coordinate of the panel's upper left corner.
        size: Width and height of the panel in the scene's units.
    """

    scene: Scene
    axis: int
    title: str
    low: tuple[float, float]
    size: tuple[float, float]

    def places(self, frame: int) -> NDArray[np.float32]:
        """Return the points of a frame relative to the panel's upper left corner, (J, 2)."""
        return self.scene.points_TJC[frame][:, [self.axis, 1]] - np.array(self.low, np.float32)


@dataclass(frozen=True)
class ClipRenderer:
    """A renderer for the frames of a clip.

    Attributes:
        scenes: Scenes, from left to right.
        lines: Texts below the scenes.
        height: Maximum height of a panel in pixels.
    """

    scenes: Sequence[Scene]
    lines: Sequence[Line] = ()
    height: int = 380

    @property
    def seconds(self) -> float:
        """Return the duration of the longest scene in seconds."""
        return max(scene.seconds for scene in self.scenes)

    @cached_property
    def views(self) -> list[View]:
        """Return the panels from left to right."""
        return [view for scene in self.scenes for view in _views(scene, len(self.scenes) > 1)]

    @cached_property
    def scale(self) -> float:
        """Return the pixels per unit, the same in all panels so that sizes are comparable."""
        high = max(view.size[1] for view in self.views)
        wide = sum(view.size[0] for view in self.views)
        # Several panels side by side are limited in total width as well.
        return min(self.height / high, 2.6 * self.height / wide)

    def picture(self, second: float) -> Image.Image:
        """Draw the panels at a point in time, without the texts below.

        Args:
            second: Time in seconds from the start of the clip.
        """
        widths = [max(90, round(view.size[0] * self.scale)) for view in self.views]
        tall = round(max(view.size[1] for view in self.views) * self.scale)
        picture = Image.new("RGB", (sum(widths), _HEAD + tall), _PAPER)
        pen, left = ImageDraw.Draw(picture), 0
        for view, width in zip(self.views, widths, strict=True):
            picture.paste(_panel(view, second, self.scale, (width, tall)), (left, _HEAD))
            pen.text((left + 8, 6), view.title, _SOFT, load_font(view.title, 12))
            left += width
        pen.text((left - 8, 6), f"{second:.2f} s", _SOFT, load_font("0", 12), anchor="ra")
        return picture

    def below(self, picture: Image.Image) -> Image.Image:
        """Return an image with the clip's texts and the legend of the colours added below it.

        The result is as wide as the image, but at least wide enough for the texts to be legible.
        """
        words = _words(tuple(self.lines), max(picture.width, _READABLE))
        whole = Image.new("RGB", (words.width, picture.height + words.height), _PAPER)
        whole.paste(picture, ((words.width - picture.width) // 2, 0))
        whole.paste(words, (0, picture.height))
        return whole


@lru_cache(maxsize=4)
def _words(lines: tuple[Line, ...], width: int) -> Image.Image:
    """Draw the wrapped texts and the legend; the cache makes this happen once per clip."""
    rows = [
        ("" if number else line.what, part, _PREDICTED if line.what == "predicted" else _INK)
        for line in lines
        for number, part in enumerate(_wrapped(line.text, width - 108.0))
    ]
    words = Image.new("RGB", (width, 20 * len(rows) + 36), _PAPER)
    pen = ImageDraw.Draw(words)
    pen.line((12, 2, width - 12, 2), _RULE)
    for place, (what, part, color) in enumerate(rows):
        pen.text((12, 10 + 20 * place), what, _SOFT, load_font(what, 12))
        pen.text((96, 9 + 20 * place), part, color, load_font(part, 14))
    left, top = 12, words.height - 22
    for side, name in ((LEFT, "left"), (RIGHT, "right")):
        pen.ellipse((left, top + 3, left + 8, top + 11), COLORS[side])
        pen.text((left + 13, top), name, _SOFT, load_font(name, 12))
        left += 56
    return words


def _views(scene: Scene, named: bool) -> list[View]:
    """Return a scene's panels: one for flat points, front and side for points with depth."""
    found = []
    for name, axis in _IN_A_PLANE if scene.flat else _IN_SPACE:
        # The bounds of the whole clip, not of one frame: the view does not move.
        at = scene.points_TJC[scene.found_TJ][:, [axis, 1]]
        low_2, high_2 = _bounds(at) if len(at) else (np.zeros(2), np.ones(2))
        # A lower bound avoids division by zero if all points coincide.
        size_2 = np.maximum(high_2 - low_2, 1e-6)
        margin = 0.06 * float(size_2.max())
        title = f"{scene.stream}  {name}".strip() if named else name
        low = (float(low_2[0]) - margin, float(low_2[1]) - margin)
        size = (float(size_2[0]) + 2 * margin, float(size_2[1]) + 2 * margin)
        found.append(View(scene, axis, title, low, size))
    return found


def _bounds(at_N2: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return minimum and maximum, limited so that a far outlier does not shrink everything else."""
    first, last = np.quantile(at_N2, (0.02, 0.98), axis=0)
    # Half the central range is left on each side for fast but real movements.
    spare = (last - first) / 2
    return np.maximum(at_N2.min(0), first - spare), np.minimum(at_N2.max(0), last + spare)


def _panel(view: View, second: float, scale: float, size: tuple[int, int]) -> Image.Image:
    """Draw bones and points at a point in time; after the end, the last frame is shown."""
    scene, fine = view.scene, scale * _FINE
    panel = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _PAPER)
    pen = ImageDraw.Draw(panel)
    # The small addend keeps rounding errors from selecting the previous frame.
    frame = min(int(second * scene.rate_hz + 1e-6), len(scene.points_TJC) - 1)
    spare = (size[0] - view.size[0] * scale) / 2 * _FINE
    places_J2: NDArray[np.float32] = view.places(frame) * fine + np.array([spare, 0], np.float32)
    found_J = scene.found_TJ[frame]
    small = len(scene.names) >= _MANY
    width, radius = (2 if small else 4) * _FINE, (1.3 if small else 3.4) * _FINE
    # Bones are drawn before points, so that points cover their ends.
    for child, parent in scene.bones:
        if found_J[child] and found_J[parent]:
            line = [tuple(places_J2[child].tolist()), tuple(places_J2[parent].tolist())]
            pen.line(line, COLORS[scene.sides[child]], width)
    for (x, y), found, side in zip(places_J2.tolist(), found_J, scene.sides, strict=True):
        if found:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), COLORS[side])
    return panel.resize(size, Image.Resampling.BOX)


def _wrapped(text: str, width: float) -> list[str]:
    """Wrap a text to a width in pixels, between words or inside words that are too wide."""
    face, lines, line = load_font(text, 14), [], ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and face.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
        while face.getlength(line) > width and len(line) > 1:
            # Binary search for the longest prefix that fits; at least one character per line.
            ends = range(1, len(line) + 1)
            fit = max(1, bisect_right(ends, width, key=lambda end: face.getlength(line[:end])))
            lines.append(line[:fit])
            line = line[fit:]
    return [*lines, line]
