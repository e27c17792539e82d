"""Image normalization as described by the preprocessor file of a saved vision model.

uint8 images come in and float32 images go out, scaled and normalized on the model's device. The
file is interpreted here instead of by an image processor of Hugging Face, because those need
torchvision and would resize images that already have the right size. A wrong normalization changes
every feature without any error, so a folder without the file, or a file without the numbers, is
rejected; nothing is guessed.

Shapes: N images, H × W pixels, C = 3 colors.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError
from torch import Tensor
from transformers.utils import cached_file

from kinesweep.core.errors import InputError

# Files in the order in which Hugging Face reads them, and the sections that count in each one.
_FILES = (
    ("processor_config.json", ("image_processor", "video_processor")),
    ("preprocessor_config.json", ()),
    ("video_preprocessor_config.json", ()),
)
_DEFAULTS = {
    # Hugging Face's defaults for fields that may be missing in the file, by processor class.
    "": {"rescale_factor": 1 / 255, "offset": False},
    "VivitImageProcessor": {"rescale_factor": 1 / 127.5, "offset": True},
    "VivitVideoProcessor": {"rescale_factor": 1 / 127.5, "offset": True},
}
_KEY = "`features.encoder.pretrained`"


@dataclass(frozen=True)
class ImageNormalization:
    """An image normalization: one affine map per channel.

    Attributes:
        size: Height and width of the training images in pixels; None if the file does not state it.
        scale: Factor applied to the bytes.
        shift: Value added after scaling.
        mean: Mean that is subtracted from each channel, after `scale` and `shift`.
        std: Standard deviation by which each channel is then divided.
        is_bgr: Whether the model expects the channels in the order blue, green, red.
    """

    size: int | None
    scale: float = 1.0
    shift: float = 0.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    is_bgr: bool = False

    def __call__(self, pixels_NHWC: Tensor, device: torch.device) -> Tensor:
        """Normalize images on a device: uint8 RGB (N, H, W, C) becomes float32 (N, C, H, W)."""
        # Bytes are moved before they become floats: a quarter of the data to transfer.
        bytes_NCHW = pixels_NHWC.to(device).permute(0, 3, 1, 2)
        if self.is_bgr:
            bytes_NCHW = bytes_NCHW.flip(1)
        mean_CHW = torch.tensor(self.mean, device=device)[:, None, None]
        std_CHW = torch.tensor(self.std, device=device)[:, None, None]
        values_NCHW = bytes_NCHW.contiguous().float().mul_(self.scale).add_(self.shift)
        return values_NCHW.sub_(mean_CHW).div_(std_CHW)


def read_image_normalization(name: str) -> ImageNormalization:
    """Read the image normalization from the preprocessor file of a model.

    The file of a hub model is downloaded to the cache.

    Args:
        name: Local folder or hub id.

    Raises:
        InputError: If there is no such file, it cannot be read or it lacks a number.
    """
    file, content = _read_preprocessor_file(name)
    class_name = content.get("video_processor_type") or content.get("image_processor_type")
    class_name = str(class_name or content.get("feature_extractor_type") or "")
    settings = {**_DEFAULTS.get(class_name.removesuffix("Fast"), _DEFAULTS[""]), **content}
    try:
        return _parse_normalization(settings)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"no `{error.args[0]}`" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{_KEY} is `{name}`, whose `{file}` does not define the normalization: {problem}. Add"
            " `image_mean` and `image_std` for three channels (or `do_normalize: false`) and a"
            " square `size` or `crop_size` with the values that the model was trained with."
        ) from None


def _read_preprocessor_file(name: str) -> tuple[str, Mapping[str, Any]]:
    """Read the first preprocessor file of a model that contains image settings.

    Args:
        name: Local folder or hub id.

    Returns:
        Name of the file, and its image settings.

    Raises:
        InputError: If there is no such file or a file cannot be read.
    """
    for file, sections in _FILES:
        try:
            path = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
            content = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        except (OSError, ValueError, HFValidationError) as error:
            text = " ".join(str(error).split())[:300]
            raise InputError(f"{_KEY} is `{name}`, whose `{file}` cannot be read: {text}") from None
        if sections:
            content = next((content[section] for section in sections if section in content), {})
        # A file without image settings does not count; a later one may have them.
        if content:
            return file, content
    raise InputError(
        f"{_KEY} is `{name}`, but there is no `preprocessor_config.json` beside its weights."
        " Without it the normalization is unknown, and a wrong one would not be noticed. Copy the"
        " file from where the model was published, or save its image processor into the folder."
    )


def _parse_normalization(settings: Mapping[str, Any]) -> ImageNormalization:
    """Parse the image normalization from the settings of a preprocessor file.

    Args:
        settings: Settings of the file with Hugging Face's defaults.

    Raises:
        KeyError: If a required setting is missing; with its name.
        ValueError, TypeError: If a setting has an invalid value.
    """
    is_rescaled = settings.get("do_rescale", True)
    is_normalized = settings.get("do_normalize", True)
    # With an offset the values span -1 to 1 instead of 0 to 1 (ViViT).
    has_offset = settings["offset"] or settings.get("rescale_offset", False)
    size = _parse_image_size(settings)
    scale = float(settings["rescale_factor"]) if is_rescaled else 1.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if is_normalized:
        mean = _parse_channel_values(settings["image_mean"], "image_mean")
        std = _parse_channel_values(settings["image_std"], "image_std")
    return ImageNormalization(
        size=size,
        scale=scale,
        shift=-1.0 if is_rescaled and has_offset else 0.0,
        mean=mean,
        std=std,
        is_bgr=bool(settings.get("do_flip_channel_order", False)),
    )


def _parse_channel_values(value: Any, field: str) -> tuple[float, float, float]:
    """Parse one value per channel from a list; a single number applies to all three channels.

    Raises:
        ValueError: If there are not three values, or a standard deviation is not positive.
        TypeError: If a value is not a number.
    """
    values = [float(item) for item in value] if isinstance(value, list) else [float(value)] * 3
    if len(values) != 3 or (field == "image_std" and min(values) <= 0):
        raise ValueError(f"`{field}` is {value}")
    return values[0], values[1], values[2]


def _parse_image_size(settings: Mapping[str, Any]) -> int | None:
    """Parse the side in pixels of the square images after cropping or resizing.

    The result is None if the settings contain no size.

    Raises:
        ValueError: If the size is not square.
    """
    is_cropped = settings.get("crop_size") is not None and settings.get("do_center_crop", True)
    field = "crop_size" if is_cropped else "size"
    value = settings.get(field)
    if value is None:
        return None
    edges = {"height": value, "width": value} if isinstance(value, int) else value
    if "shortest_edge" in edges:
        return int(edges["shortest_edge"])
    if "height" not in edges or edges["height"] != edges.get("width"):
        raise ValueError(f"`{field}` is {value}, which is not square")
    return int(edges["height"])
