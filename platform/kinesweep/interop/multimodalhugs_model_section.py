"""Conversion of MultimodalHugs' model settings into the `model` section of a recipe.

The section joins settings from three sections of MultimodalHugs: the mapper becomes the encoder,
and backbone, tokenizer and frozen parts keep their meaning. Settings that behave differently are
explained in remarks.
"""

from typing import Any

from kinesweep.interop.settings_section import SettingsSection

# MultimodalHugs' mapper → kind of encoder; other names are left to the recipe's validation.
_ENCODER_KINDS = {"linear": "linear", "cnn_adapter": "cnn", "adapter": "adapter"}
# Former spelling → type in transformers.
_ARCHITECTURE_NAMES = {"m2m100": "m2m_100"}
_FREEZE_KEYS = {
    "freeze_multimodal_mapper": "encoder",
    "freeze_vl_mapper": "encoder",
    "freeze_backbone": "backbone",
    "freeze_encoder_embed_tokens": "embeddings",
    "freeze_decoder_embed_tokens": "embeddings",
    "freeze_lm_head": "lm_head",
}


def convert_model_section(
    model: SettingsSection, tokenizer: dict[str, Any], reads_texts: bool, notes: list[str]
) -> dict[str, Any]:
    """Convert encoder, backbone, tokenizer and frozen parts to the `model` section.

    The converted settings are removed from `model`.

    Args:
        model: The `model` section of MultimodalHugs.
        tokenizer: The converted `model.tokenizer` section.
        reads_texts: Whether the input is a text, which has embeddings and no mapper.
        notes: List to which remarks are appended.
    """
    # A set, because current and former names of a setting freeze the same part.
    frozen_parts = {part for key, part in _FREEZE_KEYS.items() if model.pop_setting(key)}
    pretrained = model.pop_setting("pretrained_backbone")
    architecture = model.pop_setting("backbone_type", "backbone_name", default="m2m_100")
    architecture = _ARCHITECTURE_NAMES.get(architecture, architecture)
    scratch_config = dict(model.pop_setting("backbone_config", "backbone_cfg") or {})
    # The size of the vocabulary is that of the tokenizer.
    vocabulary_size = scratch_config.pop("vocab_size", None)
    if vocabulary_size is not None:
        model.restore_setting("backbone_config.vocab_size", vocabulary_size)
    backbone = {"scratch": {"architecture": architecture, **scratch_config}}
    if pretrained:
        backbone = {"pretrained": pretrained}
        # A pretrained backbone has a type and a configuration of its own.
        model.restore_setting("backbone_type", architecture)
        if scratch_config:
            model.restore_setting("backbone_config", scratch_config)
    encoder = {"kind": "tokens", "embeddings": "backbone"}
    return {
        "encoder": encoder if reads_texts else _convert_encoder(model, notes),
        "backbone": backbone,
        "tokenizer": tokenizer,
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
    return encoder


def convert_tokenizer(
    data: SettingsSection, texts: SettingsSection, pretrained: str | None, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert the tokenizer and its new tokens.

    The converted settings are removed from `data` and `texts`.

    Args:
        data: The `data` section of MultimodalHugs.
        texts: Settings of the texts in the `processor` section.
        pretrained: Hub id or folder of the pretrained backbone; None for a backbone from scratch.
        notes: List to which remarks are appended.

    Returns:
        The `tokenizer` of features of texts, and the `model.tokenizer` section.
    """
    path_keys = ("text_tokenizer_path", "tokenizer_path")
    path = texts.pop_setting(*path_keys) or data.pop_setting(*path_keys)
    new_tokens = texts.pop_setting("new_vocabulary") or data.pop_setting(
        "new_vocabulary", "tokenizer_src_langs_path", "src_lang_tokenizer_path"
    )
    added = {"new_tokens": new_tokens} if new_tokens else {}
    of_source = {"kind": "pretrained", "path": path or pretrained, **added}
    if not pretrained:
        notes.append("a backbone from scratch gets a tokenizer trained on the corpus's texts")
        return of_source, {"kind": "train", **added}
    if path and path != pretrained:
        notes.append(f"the tokenizer of `{pretrained}` is used instead of `{path}`")
    return of_source, {"kind": "pretrained", **added}
