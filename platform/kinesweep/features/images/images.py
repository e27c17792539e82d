"""Image features: the images of a clip as pixels, or as the vectors of an image model.

A clip is one image file, or it is drawn: one image for each sign of SignWriting, or for each word
of a text. Pixels become a stream of frames that `model.vision` reads like those of a video; vectors
are those of the model that `hf_vision` encodes videos with. An image model sees one image at a
time, so the vectors do not depend on the batch.

Shapes: T images, H × W pixels, D width.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.features.images import ImagesFeaturesConfig
from kinesweep.core.hashing import compute_file_sha256, compute_fingerprint
from kinesweep.features.contract import Features
from kinesweep.features.frames import count_frame_values
from kinesweep.features.image_squares import resize_image
from kinesweep.features.images.drawing import draw_signs, draw_words
from kinesweep.features.texts.text import UNTIMED_RATE_HZ
from kinesweep.sources.base import SourceImage, SourceText

if TYPE_CHECKING:
    from kinesweep.features.encoders import VideoEncoder

# Increase this when the values for an unchanged configuration change.
CODE_VERSION = 1
_DEFAULT_SIZE = 224
# Settings that do not change values; `encoder` and `font` have hashes of their own.
_IRRELEVANT_SETTINGS = {"stream", "encoder", "font"}


@dataclass(frozen=True)
class ImagesFeatures:
    """A feature step that computes one stream of images or of their vectors.

    Attributes:
        config: Size, drawing and image model.
    """

    config: ImagesFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the name of the single stream, as set in the recipe."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the configuration, the font, the image model and the code version.

        Raises:
            InputError: If the files of the image model do not exist or cannot be downloaded.
            OSError: If the font cannot be read.
        """
        config = self.config
        settings = config.model_dump(mode="json", exclude=_IRRELEVANT_SETTINGS)
        if config.font is not None:
            settings["font"] = compute_file_sha256(Path(config.font))
        if config.encoder is not None:
            from kinesweep.features.encoders import compute_encoder_fingerprint

            settings["encoder"] = compute_encoder_fingerprint(config.encoder)
        return compute_fingerprint({"config": settings, "code": CODE_VERSION})

    def compute_features(self, media: SourceImage | SourceText) -> dict[str, Features]:
        """Compute the pixels of a clip's images, uint8, or their vectors: stream → (T, D).

        Raises:
            ClipError: If a text cannot be drawn.
            InputError: If the image model cannot be loaded or reads several frames at once, or the
                font cannot be read.
            CheckpointError: If the weights do not fit the image model.
            ResourceError: If signs are drawn without the package `signwriting`.
        """
        encoder = self._load_encoder()
        size = self._get_size(encoder)
        pixels_THWC = self._draw(media, size)
        if encoder is None:
            x_TD = pixels_THWC.reshape(len(pixels_THWC), -1)
            features = Features(x_TD, UNTIMED_RATE_HZ, frame_size=size)
        else:
            features = Features(self._encode(encoder, pixels_THWC), UNTIMED_RATE_HZ)
        return {self.config.stream: features}

    def estimate_shapes(self, media: SourceImage | SourceText) -> dict[str, tuple[int, int]]:
        """Return the shape of the stream: its name → (T, D). Texts are drawn for it.

        Raises the errors of `compute_features`.
        """
        encoder = self._load_encoder()
        size = self._get_size(encoder)
        num_images = 1 if isinstance(media, SourceImage) else len(self._draw(media, size))
        width = count_frame_values(size) if encoder is None else encoder.width
        return {self.config.stream: (num_images, width)}

    def _load_encoder(self) -> "VideoEncoder | None":
        """Load the image model on the CPU, or return it cached; None if pixels are stored.

        Raises:
            InputError: If the model cannot be loaded.
            CheckpointError: If the weights do not fit.
        """
        if self.config.encoder is None:
            return None
        # Imports torch, which takes seconds; pixels need none of it.
        from kinesweep.features.encoders import build_video_encoder

        return build_video_encoder(self.config.encoder, self.config.precision, "cpu")

    def _get_size(self, encoder: "VideoEncoder | None") -> int:
        """Return the side of the images in pixels."""
        return (self.config.size or _DEFAULT_SIZE) if encoder is None else encoder.size

    def _draw(self, media: SourceImage | SourceText, size: int) -> NDArray[np.uint8]:
        """Return the images of a clip, uint8 RGB (T, size, size, 3)."""
        config = self.config
        is_signwriting = isinstance(media, SourceText) and media.is_signwriting
        if isinstance(media, SourceImage):
            pixels_THWC = fit_square(media.pixels_HW3, size, config.fit)[None]
        elif is_signwriting:
            pixels_THWC = draw_signs(media.text, size)
        else:
            pixels_THWC = draw_words(media.text, size, config.font, config.font_size)
        # MultimodalHugs inverts signs by default, but not words.
        invert = is_signwriting if config.invert is None else config.invert
        return 255 - pixels_THWC if invert else pixels_THWC

    def _encode(
        self, encoder: "VideoEncoder", pixels_THWC: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Encode images one by one, in batches of constant size, and return (T, D).

        Args:
            encoder: Image model.
            pixels_THWC: Images of the model's size.

        Raises:
            InputError: If the model reads several frames at once.
        """
        from torch import from_numpy

        batch, vectors = self.config.batch, []
        for start in range(0, len(pixels_THWC), batch):
            images = pixels_THWC[start : start + batch]
            # Filled with copies, so that the kernels never depend on the number of images.
            padded = np.concatenate([images, images[-1:].repeat(batch - len(images), axis=0)])
            # Every image is a window of one frame.
            x_B1D = encoder(from_numpy(padded[:, None].copy()), [1] * batch)
            vectors.append(x_B1D[: len(images), 0].numpy())
        return np.concatenate(vectors).astype(np.float32, copy=False)


def fit_square(image_HW3: NDArray[np.uint8], size: int, fit: str) -> NDArray[np.uint8]:
    """Fit an image into a square, uint8 (size, size, 3), bicubic as the frames of videos.

    Args:
        image_HW3: Image of any size.
        size: Side of the square in pixels.
        fit: `crop` scales the shorter side to `size` and keeps the center; `pad` scales the longer
            side to `size` and fills the rest with white.
    """
    height, width = image_HW3.shape[:2]
    scale = size / (min if fit == "crop" else max)(height, width)
    scaled_sides = [max(1, round(side * scale)) for side in (height, width)]
    if fit == "crop":
        # `max`: rounding must not make a side shorter than the crop.
        scaled_sides = [max(size, side) for side in scaled_sides]
    scaled_HW3 = resize_image(image_HW3, *scaled_sides)
    if fit == "crop":
        top, left = ((side - size) // 2 for side in scaled_sides)
        return np.ascontiguousarray(scaled_HW3[top : top + size, left : left + size])
    square = np.full((size, size, 3), 255, np.uint8)
    top, left = ((size - side) // 2 for side in scaled_sides)
    square[top : top + scaled_sides[0], left : left + scaled_sides[1]] = scaled_HW3
    return square
