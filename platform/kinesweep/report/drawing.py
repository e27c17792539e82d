"""Frames of a clip as pictures: its skeletons side by side, its texts beneath.

Drawn with Pillow, which matplotlib brings: a frame takes about 10 ms, a tenth of matplotlib's, and
text is laid out once a clip. One frame of space holds for the whole clip, so what moves is the
person. Points in space are seen from the front and from the side, without perspective. Left is
blue, right is orange (Okabe and Ito's pair, told apart with every common colour blindness).

Shapes: T frames, J points, C coordinates, V views.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kinesweep.report.fonts import font
from kinesweep.report.scene import LEFT, MIDDLE, RIGHT, Scene

COLORS = {LEFT: "#0072b2", MIDDLE: "#3c4450", RIGHT: "#d55e00"}
_PAPER, _INK, _SOFT, _RULE = "#ffffff", "#1d2430", "#5b6472", "#d7dbe0"
_PREDICTED = "#00795a"
_IN_A_PLANE, _IN_SPACE = (("", 0),), (("front", 0), ("side", 2))
"""Views: their names, and which coordinate points to the right in them."""
_FINE = 2
"""Pictures are drawn so many times larger, then reduced: smooth lines."""
_HEAD = 26
"""Pixels above the panels, for titles and the time."""
_READABLE = 360
"""Pixels below which texts have no room: a person who stands is 90 wide."""
_MANY = 60
"""From so many points on they are drawn small."""


@dataclass(frozen=True)
class Line:
    """A text below the picture, and what it is: `text`, `predicted`."""

    what: str
    text: str


@dataclass(frozen=True)
class View:
    """One panel: a scene from one side.

    Attributes:
        scene: whose points.
        axis: the coordinate that points to the right.
        title: above the panel.
        low: of the two coordinates, at the left and the top.
        size: of the panel, in the scene's units.
    """

    scene: Scene
    axis: int
    title: str
    low: tuple[float, float]
    size: tuple[float, float]

    def places(self, frame: int) -> NDArray[np.float32]:
        """Points of a frame in the panel, 0 at its left and top; (J, 2)."""
        return self.scene.points_TJC[frame][:, [self.axis, 1]] - np.array(self.low, np.float32)


@dataclass(frozen=True)
class Stage:
    """Draws the frames of a clip.

    Attributes:
        scenes: side by side.
        lines: below.
        height: of a panel, in pixels.
    """

    scenes: Sequence[Scene]
    lines: Sequence[Line] = ()
    height: int = 380

    @property
    def seconds(self) -> float:
        """Until the longest scene is over."""
        return max(scene.seconds for scene in self.scenes)

    @cached_property
    def views(self) -> list[View]:
        """The panels, from left to right."""
        return [view for scene in self.scenes for view in _views(scene, len(self.scenes) > 1)]

    @cached_property
    def scale(self) -> float:
        """Pixels a unit: the same in all panels, so that people can be compared."""
        high = max(view.size[1] for view in self.views)
        wide = sum(view.size[0] for view in self.views)
        return min(self.height / high, 2.6 * self.height / wide)

    def picture(self, second: float) -> Image.Image:
        """The panels at a moment, without text below."""
        widths = [max(90, round(view.size[0] * self.scale)) for view in self.views]
        tall = round(max(view.size[1] for view in self.views) * self.scale)
        picture = Image.new("RGB", (sum(widths), _HEAD + tall), _PAPER)
        pen, left = ImageDraw.Draw(picture), 0
        for view, width in zip(self.views, widths, strict=True):
            picture.paste(_panel(view, second, self.scale, (width, tall)), (left, _HEAD))
            pen.text((left + 8, 6), view.title, _SOFT, font(view.title, 12))
            left += width
        pen.text((left - 8, 6), f"{second:.2f} s", _SOFT, font("0", 12), anchor="ra")
        return picture

    def below(self, picture: Image.Image) -> Image.Image:
        """A picture with the clip's texts beneath it, and what the colours mean.

        As wide as the picture, but never too narrow to read the texts.
        """
        words = _words(tuple(self.lines), max(picture.width, _READABLE))
        whole = Image.new("RGB", (words.width, picture.height + words.height), _PAPER)
        whole.paste(picture, ((words.width - picture.width) // 2, 0))
        whole.paste(words, (0, picture.height))
        return whole


@lru_cache(maxsize=4)
def _words(lines: tuple[Line, ...], width: int) -> Image.Image:
    """The texts, wrapped, and the legend; laid out once a clip."""
    rows = [
        ("" if number else line.what, part, _PREDICTED if line.what == "predicted" else _INK)
        for line in lines
        for number, part in enumerate(_wrapped(line.text, width - 108.0))
    ]
    words = Image.new("RGB", (width, 20 * len(rows) + 36), _PAPER)
    pen = ImageDraw.Draw(words)
    pen.line((12, 2, width - 12, 2), _RULE)
    for place, (what, part, color) in enumerate(rows):
        pen.text((12, 10 + 20 * place), what, _SOFT, font(what, 12))
        pen.text((96, 9 + 20 * place), part, color, font(part, 14))
    left, top = 12, words.height - 22
    for side, name in ((LEFT, "left"), (RIGHT, "right")):
        pen.ellipse((left, top + 3, left + 8, top + 11), COLORS[side])
        pen.text((left + 13, top), name, _SOFT, font(name, 12))
        left += 56
    return words


def _views(scene: Scene, named: bool) -> list[View]:
    """A scene's panels: one of its plane, or front and side where there is depth."""
    found = []
    for name, axis in _IN_A_PLANE if scene.flat else _IN_SPACE:
        at = scene.points_TJC[scene.found_TJ][:, [axis, 1]]
        low_2, high_2 = _bounds(at) if len(at) else (np.zeros(2), np.ones(2))
        size_2 = np.maximum(high_2 - low_2, 1e-6)
        margin = 0.06 * float(size_2.max())
        title = f"{scene.stream}  {name}".strip() if named else name
        low = (float(low_2[0]) - margin, float(low_2[1]) - margin)
        size = (float(size_2[0]) + 2 * margin, float(size_2[1]) + 2 * margin)
        found.append(View(scene, axis, title, low, size))
    return found


def _bounds(at_N2: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest, but a point that was misplaced far outside does not shrink the rest."""
    first, last = np.quantile(at_N2, (0.02, 0.98), axis=0)
    spare = (last - first) / 2
    return np.maximum(at_N2.min(0), first - spare), np.minimum(at_N2.max(0), last + spare)


def _panel(view: View, second: float, scale: float, size: tuple[int, int]) -> Image.Image:
    """Bones, then points, of the frame that is shown at a moment; the last one stays."""
    scene, fine = view.scene, scale * _FINE
    panel = Image.new("RGB", (size[0] * _FINE, size[1] * _FINE), _PAPER)
    pen = ImageDraw.Draw(panel)
    frame = min(int(second * scene.rate_hz + 1e-6), len(scene.points_TJC) - 1)
    spare = (size[0] - view.size[0] * scale) / 2 * _FINE
    places_J2: NDArray[np.float32] = view.places(frame) * fine + np.array([spare, 0], np.float32)
    found_J = scene.found_TJ[frame]
    small = len(scene.names) >= _MANY
    width, radius = (2 if small else 4) * _FINE, (1.3 if small else 3.4) * _FINE
    for child, parent in scene.bones:
        if found_J[child] and found_J[parent]:
            line = [tuple(places_J2[child].tolist()), tuple(places_J2[parent].tolist())]
            pen.line(line, COLORS[scene.sides[child]], width)
    for (x, y), found, side in zip(places_J2.tolist(), found_J, scene.sides, strict=True):
        if found:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), COLORS[side])
    return panel.resize(size, Image.Resampling.BOX)


def _wrapped(text: str, width: float) -> list[str]:
    """Lines no wider than so many pixels; cut between words, and in words that are wider."""
    face, lines, line = font(text, 14), [], ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and face.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
        while face.getlength(line) > width and len(line) > 1:
            ends = range(1, len(line) + 1)
            fit = max(1, bisect_right(ends, width, key=lambda end: face.getlength(line[:end])))
            lines.append(line[:fit])
            line = line[fit:]
    return [*lines, line]
