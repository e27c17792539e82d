"""Pixels as a saved vision model was trained on them: its preprocessor file as arithmetic.

uint8 pictures come in, float32 ones go out, scaled and normalised on the model's device. The file
is read as it is, without an image processor: those need torchvision, and would resize once more
what is already of the right size. A wrong normalisation changes every feature and fails nowhere, so
a folder without the file, or a file without the numbers, is refused, not guessed.

Shapes: N pictures, H, W, C = 3.
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

_FILES = (
    ("processor_config.json", ("image_processor", "video_processor")),
    ("preprocessor_config.json", ()),
    ("video_preprocessor_config.json", ()),
)
"""Files in the order in which Hugging Face asks them, and the sections that count in each."""
_UNSAID = {
    # Hugging Face's own defaults of fields that files may leave out.
    "": {"rescale_factor": 1 / 255, "offset": False},
    "VivitImageProcessor": {"rescale_factor": 1 / 127.5, "offset": True},
    "VivitVideoProcessor": {"rescale_factor": 1 / 127.5, "offset": True},
}
_KEY = "`features.encoder.pretrained`"


@dataclass(frozen=True)
class Pixels:
    """One affine map a channel.

    Attributes:
        size: H and W that the model was trained on; None where the file does not say.
        scale: of the bytes.
        shift: after scaling.
        mean: of each channel, after both.
        std: likewise.
        reversed: channels are blue, green, red.
    """

    size: int | None
    scale: float = 1.0
    shift: float = 0.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    reversed: bool = False

    def __call__(self, pixels_NHWC: Tensor, device: torch.device) -> Tensor:
        """uint8 RGB → float32 (N, C, H, W) on the device."""
        bytes_NCHW = pixels_NHWC.to(device).permute(0, 3, 1, 2)
        if self.reversed:
            bytes_NCHW = bytes_NCHW.flip(1)
        mean_CHW = torch.tensor(self.mean, device=device)[:, None, None]
        std_CHW = torch.tensor(self.std, device=device)[:, None, None]
        values_NCHW = bytes_NCHW.contiguous().float().mul_(self.scale).add_(self.shift)
        return values_NCHW.sub_(mean_CHW).div_(std_CHW)


def read_pixels(name: str) -> Pixels:
    """What the preprocessor file beside a model's weights says.

    Args:
        name: local folder or hub id.

    Raises:
        InputError: there is no such file, or it leaves a number open.
    """
    file, plain = _read_file(name)
    kind = plain.get("video_processor_type") or plain.get("image_processor_type")
    kind = kind or plain.get("feature_extractor_type") or ""
    said = {**_UNSAID.get(str(kind).removesuffix("Fast"), _UNSAID[""]), **plain}
    try:
        return _pixels(said)
    except (KeyError, TypeError, ValueError) as error:
        what = f"no `{error.args[0]}`" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{_KEY} is `{name}`, whose `{file}` does not say how pixels are normalised: {what}."
            " Write there `image_mean` and `image_std` of three channels (or `do_normalize: false`)"
            " and a square `size` or `crop_size`, as the model was trained."
        ) from None


def _read_file(name: str) -> tuple[str, Mapping[str, Any]]:
    """The file that counts, and what it says of pictures."""
    for file, sections in _FILES:
        try:
            path = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
            plain = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        except (OSError, ValueError, HFValidationError) as error:
            text = " ".join(str(error).split())[:300]
            raise InputError(f"{_KEY} is `{name}`, whose `{file}` cannot be read: {text}") from None
        if sections:
            plain = next((plain[section] for section in sections if section in plain), {})
        if plain:
            return file, plain
    raise InputError(
        f"{_KEY} is `{name}`, but there is no `preprocessor_config.json` beside its weights. It"
        " says how pixels are normalised, which would otherwise go wrong unseen. Take it from where"
        " the model was published, or save its image processor into the folder."
    )


def _pixels(said: Mapping[str, Any]) -> Pixels:
    rescaled, normalised = said.get("do_rescale", True), said.get("do_normalize", True)
    offset = said["offset"] or said.get("rescale_offset", False)
    return Pixels(
        size=_size(said),
        scale=float(said["rescale_factor"]) if rescaled else 1.0,
        shift=-1.0 if rescaled and offset else 0.0,
        mean=_three(said["image_mean"], "image_mean") if normalised else (0.0, 0.0, 0.0),
        std=_three(said["image_std"], "image_std") if normalised else (1.0, 1.0, 1.0),
        reversed=bool(said.get("do_flip_channel_order", False)),
    )


def _three(value: Any, field: str) -> tuple[float, float, float]:
    values = [float(one) for one in value] if isinstance(value, list) else [float(value)] * 3
    if len(values) != 3 or (field == "image_std" and min(values) <= 0):
        raise ValueError(f"`{field}` is {value}")
    return values[0], values[1], values[2]


def _size(said: Mapping[str, Any]) -> int | None:
    """The edge of what is left after cropping, if anything is cropped or resized."""
    cropped = said.get("crop_size") is not None and said.get("do_center_crop", True)
    field = "crop_size" if cropped else "size"
    value = said.get(field)
    if value is None:
        return None
    edges = {"height": value, "width": value} if isinstance(value, int) else value
    if "shortest_edge" in edges:
        return int(edges["shortest_edge"])
    if "height" not in edges or edges["height"] != edges.get("width"):
        raise ValueError(f"`{field}` is {value}, which is no square")
    return int(edges["height"])
