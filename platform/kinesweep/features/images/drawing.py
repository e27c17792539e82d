"""Texts and SignWriting drawn as square images, one image for each word or sign.

Sizes and positions are those of MultimodalHugs, so that models trained with it see the same
pictures: a word is centered in its square by the size of its box, and a sign is scaled down, never
up, to leave 5 pixels at the edges. A word that is too wide for the square is drawn smaller instead
of being cut off. Shapes: T images of `size` × `size` pixels.
"""

import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kinesweep.core.errors import ClipError, InputError, ResourceError
from kinesweep.sources.written.fsw import parse_fsw

# Words and punctuation marks; the spaces between them are not drawn.
_SEPARATOR = re.compile(r"(\s+|[.,?!”\":;]+)")
_EDGE_PIXELS = 5
_DEFAULT_FONT = "DejaVu Sans"
_MIN_FONT_SIZE = 4


def draw_words(text: str, size: int, font: str | None, font_size: int) -> NDArray[np.uint8]:
    """Draw each word and each group of punctuation marks in black on white.

    Args:
        text: Text to draw.
        size: Side of each image in pixels.
        font: Path of a TrueType font; None for DejaVu Sans.
        font_size: Height of the font in pixels; less for words that are wider than an image.

    Returns:
        Images, uint8 RGB (T, size, size, 3).

    Raises:
        ClipError: With reason `no_tokens`, if the text has no words.
        InputError: If the font cannot be read.
    """
    words = [word for word in _SEPARATOR.split(text) if word.strip()]
    if not words:
        raise ClipError("the text has no words to draw", "no_tokens")
    return np.stack([_draw_word(word, size, font, font_size) for word in words])


def _draw_word(word: str, size: int, font: str | None, font_size: int) -> NDArray[np.uint8]:
    """Draw a word in the middle of a white square, uint8 (size, size, 3)."""
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    loaded_font = _load_font(font, font_size)
    left, top, right, bottom = draw.textbbox((0, 0), word, font=loaded_font)
    while right - left > size and font_size > _MIN_FONT_SIZE:
        # Widths of glyphs are rounded to pixels, so one step may not be enough.
        font_size = max(_MIN_FONT_SIZE, int(font_size * size / (right - left)))
        loaded_font = _load_font(font, font_size)
        left, top, right, bottom = draw.textbbox((0, 0), word, font=loaded_font)
    # As in MultimodalHugs: the box is centered by its size, not by where it begins.
    position = (size - (right - left)) / 2, (size - (bottom - top)) / 2
    draw.text(position, word, fill="black", font=loaded_font)
    return np.asarray(image)


@lru_cache(maxsize=64)
def _load_font(font: str | None, font_size: int) -> ImageFont.FreeTypeFont:
    """Load a font in a size in pixels; cached.

    Raises:
        InputError: If the font cannot be read.
    """
    path = find_default_font() if font is None else font
    try:
        return ImageFont.truetype(path, font_size)
    except OSError as error:
        raise InputError(f"`features.font` is `{path}`, which cannot be read: {error}") from None


@lru_cache(maxsize=1)
def find_default_font() -> str:
    """Return the path of DejaVu Sans, which comes with matplotlib."""
    from matplotlib import font_manager

    return str(font_manager.findfont(_DEFAULT_FONT))


def draw_signs(text: str, size: int) -> NDArray[np.uint8]:
    """Draw each sign of a text in FSW in black on white.

    Args:
        text: Signs in FSW.
        size: Side of each image in pixels.

    Returns:
        Images, uint8 RGB (T, size, size, 3).

    Raises:
        ClipError: With reason `invalid_fsw`, also if a sign has no symbol.
        ResourceError: If the package `signwriting` is not installed.
    """
    visualize_sign = _import_visualizer()
    images = []
    for sign in parse_fsw(text):
        if not sign.symbols:
            raise ClipError(f"the sign `{sign.text}` has no symbols to draw", "invalid_fsw")
        # Boxes in corpora are often wrong; the size follows from the symbols.
        drawing = visualize_sign(sign.text, trust_box=False)
        images.append(np.asarray(_center_on_white(drawing, size)))
    return np.stack(images)


def _import_visualizer() -> Any:
    """Import the function that draws a sign.

    Raises:
        ResourceError: If the package `signwriting` is not installed.
    """
    try:
        from signwriting.visualizer.visualize import visualize_sign
    except ImportError:
        raise ResourceError(
            "drawing SignWriting needs the package `signwriting`, which is not installed; run"
            ' `pip install "kinesweep[signwriting]"`, or use `features: {kind: text, tokenizer:'
            " {kind: fsw}}`"
        ) from None
    return visualize_sign


def _center_on_white(drawing: Image.Image, size: int) -> Image.Image:
    """Scale a transparent drawing down if necessary and paste it on a white square."""
    largest = size - 2 * _EDGE_PIXELS
    # One side is limited in MultimodalHugs, the longer one; the other follows.
    aspect = drawing.width / drawing.height
    if aspect > 1:
        width = min(drawing.width, largest)
        height = int(width / aspect)
    else:
        height = min(drawing.height, largest)
        width = int(height * aspect)
    scaled = drawing.resize((max(1, width), max(1, height)), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size), "white")
    square.paste(scaled, ((size - scaled.width) // 2, (size - scaled.height) // 2), scaled)
    return square
