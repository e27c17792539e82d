"""Conversion of MultimodalHugs' feature extractor to the section `model.vision`.

One vision model reads all inputs of pixels: videos, images and drawn SignWriting. It is trained
with the translator unless it is frozen.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.interop.multimodalhugs_inputs import InputSlot
from kinesweep.interop.settings_section import SettingsSection

DEFAULT_FPS = 25.0
"""Frame rate that is written where MultimodalHugs has none; the user is told to check it."""
DEFAULT_SIZE = 224
"""Side in pixels of images of models that state no other."""
_PIXEL_MODALITIES = frozenset({"video", "image", "signwriting"})
# Settings of a CLIP vision model that define its layers. Configurations saved by old versions of
# transformers have others too, such as those of text generation.
_CLIP_VISION_KEYS = frozenset(
    {
        *("hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers"),
        *("num_attention_heads", "num_channels", "image_size", "patch_size", "hidden_act"),
        *("layer_norm_eps", "attention_dropout", "initializer_range", "initializer_factor"),
    }
)


def convert_vision(
    model: SettingsSection,
    slots: Sequence[InputSlot],
    parts: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    strides: Sequence[int],
    notes: list[str],
) -> dict[str, Any] | None:
    """Convert the feature extractor to the `model.vision` section.

    Args:
        model: The `model` section of MultimodalHugs; the converted settings are removed from it.
        slots: All inputs.
        parts: Source and features of each input; the size of frames is set to that of the model.
        strides: Distance between kept frames of each input.
        notes: List to which remarks are appended.

    Raises:
        InputError: If there are pixels without an image model, or an image model without pixels.
    """
    pixels = [slot for slot in slots if slot.modality in _PIXEL_MODALITIES]
    kind = model.pop_setting("feature_extractor_type")
    if not pixels:
        if kind is not None:
            raise InputError(
                "`model.feature_extractor_type` is an image model, but no input has images; pass"
                " `--modality` if the inputs are not what the keys of `processor` say"
            )
        return None
    pretrained = model.pop_setting("pretrained_feature_extractor")
    config = dict(model.pop_setting("feature_extractor_config", "feature_extractor_cfg") or {})
    # MultimodalHugs accepts this case, so it needs an explanation rather than a default.
    if kind is None and pretrained is None:
        raise InputError(
            f"`{pixels[0].modality}` inputs need `model.feature_extractor_type`: without it, a"
            " linear layer reads raw pixels, which no recipe does; add a feature extractor"
        )
    is_frozen = bool(model.pop_setting("freeze_feature_extractor"))
    vision: dict[str, Any] = {"kind": "hf", "freeze": is_frozen}
    scratch: dict[str, Any] = {}
    if pretrained is None:
        scratch, config = _split_scratch_config(str(kind), config)
        vision["scratch"] = scratch
    else:
        # A pretrained model has a type of its own. CLIP's image embedding is a projection of its
        # class token.
        vision |= {"pretrained": pretrained, "pool": "first"}
        model.restore_setting("feature_extractor_type", kind)
    if config:
        model.restore_setting("feature_extractor_config", config)
    if kind == "clip":
        notes.append(
            "MultimodalHugs reads the projected embedding of CLIP; `model.vision` reads the hidden"
            " state of the class token before the projection, and the encoder projects it"
        )
    for slot, (_, features), stride in zip(slots, parts, strides, strict=True):
        model_size = int(scratch.get("image_size") or _read_image_size(pretrained))
        if features["kind"] == "frames":
            features["size"] = model_size
            vision["windows"] = {"target_fps": DEFAULT_FPS / stride}
        elif features["kind"] == "images" and pretrained is None and features["size"] != model_size:
            # The model decides; the size that is not used is reported.
            slot.settings.restore_setting("width", features["size"])
            features["size"] = model_size
    if "windows" not in vision:
        # Images and signs follow each other in no time, so none is padded to a window.
        vision["windows"] = {"num_frames": 1}
    for slot in pixels:
        _drop_pixel_settings(slot, pretrained)
    return vision


def _read_image_size(pretrained: object) -> int:
    """Return the image size of a pretrained model in a local folder; 224 if it states none."""
    try:
        config = json.loads(Path(str(pretrained), "config.json").read_text(encoding="utf-8"))
    # A hub id is no folder; extraction names the size of a model that reads other images.
    except (OSError, ValueError):
        return DEFAULT_SIZE
    # A CLIP model has a section for its vision model.
    size = {**config, **(config.get("vision_config") or {})}.get("image_size")
    return size if isinstance(size, int) else DEFAULT_SIZE


def _split_scratch_config(
    kind: str, config: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of a vision model from scratch, and the keys that it does not use.

    Args:
        kind: Type of the feature extractor.
        config: Its configuration; that of CLIP has a section for its vision model.
    """
    if kind != "clip":
        return {"model_type": kind, **config}, {}
    own = dict(config.pop("vision_config", None) or {})
    values = {key: own.pop(key) for key in sorted(_CLIP_VISION_KEYS & own.keys())}
    return {"model_type": "clip_vision_model", **values}, {**config, **own}


def _drop_pixel_settings(slot: InputSlot, pretrained: object) -> None:
    """Remove the image processor of a slot if it is that of the vision model."""
    processor = slot.settings.pop_setting("custom_preprocessor_path")
    if processor is not None and pretrained is not None and processor != pretrained:
        slot.settings.restore_setting("custom_preprocessor_path", processor)
