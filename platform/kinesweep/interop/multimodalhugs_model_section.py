"""Conversion of MultimodalHugs' model settings into the `model` section of a recipe.

The section joins settings from three sections of MultimodalHugs: the mapper becomes the encoder,
and backbone, tokenizer and frozen parts keep their meaning. Settings that behave differently are
explained in remarks.
"""

from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.interop.settings_section import SettingsSection

# MultimodalHugs' mapper → kind of encoder; other names are left to the recipe's validation.
_ENCODER_KINDS = {"linear": "linear", "cnn_adapter": "cnn", "adapter": "adapter"}
_FREEZE_KEYS = {
    "freeze_multimodal_mapper": "encoder",
    "freeze_vl_mapper": "encoder",
    "freeze_backbone": "backbone",
    "freeze_encoder_embed_tokens": "embeddings",
    "freeze_decoder_embed_tokens": "embeddings",
    "freeze_lm_head": "lm_head",
}


def convert_model_section(
    model: SettingsSection, data: SettingsSection, processor: SettingsSection, notes: list[str]
) -> dict[str, Any]:
    """Convert encoder, backbone, tokenizer and frozen parts to the `model` section.

    The converted settings are removed from `model`, `data` and `processor`.

    Args:
        model: The `model` section of MultimodalHugs.
        data: The `data` section of MultimodalHugs.
        processor: The flattened `processor` section of MultimodalHugs.
        notes: List to which remarks are appended.

    Raises:
        InputError: If the model reads images.
    """
    if model.pop_setting("feature_extractor_type"):
        raise InputError(
            "only settings of pose-to-text models can be converted, but"
            " `model.feature_extractor_type` reads images"
        )
    # A set, because current and former names of a setting freeze the same part.
    frozen_parts = {part for key, part in _FREEZE_KEYS.items() if model.pop_setting(key)}
    pretrained = model.pop_setting("pretrained_backbone")
    architecture = model.pop_setting("backbone_type", "backbone_name", default="m2m_100")
    scratch_config = model.pop_setting("backbone_config") or {}
    backbone = {"scratch": {"architecture": architecture, **scratch_config}}
    if pretrained:
        backbone = {"pretrained": pretrained}
        if scratch_config:
            notes.append(
                "`model.backbone_config` is not used; a pretrained backbone keeps its own config"
            )
    return {
        "encoder": _convert_encoder(model, notes),
        "backbone": backbone,
        "tokenizer": _convert_tokenizer(data, processor, pretrained, notes),
        "freeze": sorted(frozen_parts),
    }


def _convert_encoder(model: SettingsSection, notes: list[str]) -> dict[str, Any]:
    """Convert the multimodal mapper to the `model.encoder` section; append remarks to `notes`.

    The converted settings are removed from `model`.
    """
    kind = model.pop_setting("multimodal_mapper_type", "vl_mapper_type", default="linear")

    def pop_mapper_setting(name: str) -> Any:
        """Remove a setting of the mapper under its current and former name; return its value."""
        return model.pop_setting(f"multimodal_mapper_{name}", f"vl_mapper_{name}")

    encoder: dict[str, Any] = {
        "kind": _ENCODER_KINDS.get(str(kind), kind),
        "standardize": False,
        "norm_in": bool(pop_mapper_setting("layer_norm_before")),
        "dropout": pop_mapper_setting("dropout") or 0.0,
    }
    has_output_norm = bool(pop_mapper_setting("layer_norm"))
    has_activation = bool(pop_mapper_setting("activation"))
    # Read for all kinds, so that none of them is reported as an unknown key.
    factor = pop_mapper_setting("factor") or model.pop_setting("vl_factor")
    kernels, strides = model.pop_setting("adapter_ksize"), model.pop_setting("adapter_stride")
    if kind == "linear":
        encoder |= {
            "norm_out": has_output_norm,
            "activation": "relu" if has_activation else "none",
        }
    if kind == "adapter":
        encoder |= {"norm_out": has_output_norm}
        notes.append(
            "the `adapter` of MultimodalHugs had no weights and no effect; the converted one has"
            " weights"
        )
    if kind == "cnn_adapter":
        encoder |= {"kernels": kernels or (3, 3), "strides": strides or (2, 2)}
        notes.append("a norm and an activation after the convolutions are not converted")
    if factor and kind != "linear":
        notes.append(
            f"the mapper factor {factor} sets widths in another way and is not converted; see"
            " `model.encoder`"
        )
    return encoder


def _convert_tokenizer(
    data: SettingsSection, processor: SettingsSection, pretrained: str | None, notes: list[str]
) -> dict[str, Any]:
    """Convert the tokenizer and its new tokens to the `model.tokenizer` section.

    The converted settings are removed from `data` and `processor`.

    Args:
        data: The `data` section of MultimodalHugs.
        processor: The flattened `processor` section of MultimodalHugs.
        pretrained: Hub id or folder of the pretrained backbone; None for a backbone from scratch.
        notes: List to which remarks are appended.
    """
    path_keys = ("text_tokenizer_path", "tokenizer_path")
    path = processor.pop_setting(*path_keys) or data.pop_setting(*path_keys)
    new_tokens = processor.pop_setting("new_vocabulary") or data.pop_setting(
        "new_vocabulary", "tokenizer_src_langs_path"
    )
    if not pretrained:
        notes.append("a backbone from scratch gets a tokenizer trained on the corpus's texts")
        return {"kind": "train", **({"new_tokens": new_tokens} if new_tokens else {})}
    if path and path != pretrained:
        notes.append(f"the tokenizer of `{pretrained}` is used instead of `{path}`")
    return {"kind": "pretrained", **({"new_tokens": new_tokens} if new_tokens else {})}
