"""Import of a trained model folder of MultimodalHugs.

Its `config.json` defines the backbone; the settings that it was trained with define the rest. Every
tensor must match: source tensors and model parameters correspond to each other (tied ones are
stored once), and shapes agree. A mapper of type `adapter` cannot be imported, because
MultimodalHugs saved it without weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.encoders import CnnEncoderConfig
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.features.texts.hf_tokenizer import load_pretrained_tokenizer
from kinesweep.interop.weight_import import (
    copy_tensors_into_model,
    rename_state_dict_keys,
    write_imported_model,
)
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.backbones.architectures import get_seq2seq_special_ids
from kinesweep.models.config import build_kinesweep_config
from kinesweep.models.translator import Translator

_STREAM = "pose"
_KEY_RENAMES = (
    (r"(?:multimodal|vl)_mapper\.layer_norm_before\.", f"encoders.{_STREAM}.norm_in."),
    (r"(?:multimodal|vl)_mapper\.layer_norm\.", f"encoders.{_STREAM}.norm_out."),
    (
        r"(?:multimodal|vl)_mapper\.mapping_layer\.projection_layer\.",
        f"encoders.{_STREAM}.project.",
    ),
    (
        r"(?:multimodal|vl)_mapper\.mapping_layer\.conv_layers\.",
        f"encoders.{_STREAM}.convolutions.",
    ),
    (r"(?:multimodal|vl)_mapper\.mapping_layer\.", f"encoders.{_STREAM}.linear."),
    (r"backbone\.", "backbone."),
)
"""Patterns for the start of a source name and their replacements; the first match is used."""
_COMPUTED_KEYS = (r"backbone\..*embed_positions\.weights$",)
"""Sinusoidal positions that older versions of transformers saved; the model computes them."""


def import_multimodalhugs_model(
    folder: Path, recipe: Recipe, output_dir: Path, tokenizer_name: str | None = None
) -> Translator:
    """Import a MultimodalHugs model and write a model folder for `kinesweep evaluate`.

    Args:
        folder: MultimodalHugs' model folder with `config.json` and `model.safetensors`.
        recipe: Recipe converted from the settings that the model was trained with; it is written to
            the model folder as a whole.
        output_dir: Folder to create.
        tokenizer_name: Folder or hub id of the tokenizer; None: `folder`. `new_tokens` of the
            recipe are added.

    Returns:
        The imported model.

    Raises:
        CheckpointError: If files are missing, or tensors are missing, superfluous or of the wrong
            shape.
        InputError: If the mapper has no equivalent, or the tokenizer cannot be loaded or does not
            match the model.
    """
    config, tensors = _read_model_folder(folder)
    new_tokens = recipe.model.tokenizer.new_tokens
    tokenizer = TextTokenizer(
        load_pretrained_tokenizer(tokenizer_name or str(folder), new_tokens, [])
    )
    # The width comes from the saved configuration, because there is no feature store to ask.
    width = int(config["feat_dim"])
    model = _build_model(config, recipe.model, width, tokenizer.vocabulary)
    copy_tensors_into_model(
        model, rename_state_dict_keys(tensors, _KEY_RENAMES, _COMPUTED_KEYS), folder
    )
    write_imported_model(output_dir, model, tokenizer, recipe)
    return model


def _read_model_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the configuration and the tensors of MultimodalHugs' model folder.

    Returns:
        Content of `config.json`, and source name → tensor.

    Raises:
        CheckpointError: If files, or keys of the configuration, are missing.
        InputError: If the mapper was saved without weights.
    """
    config_path, weights_path = folder / "config.json", folder / "model.safetensors"
    missing_files = [path.name for path in (config_path, weights_path) if not path.is_file()]
    if missing_files:
        raise CheckpointError(
            f"`{folder}` is not a model folder of MultimodalHugs: {', '.join(missing_files)}"
            " missing; pickled weights are not read"
        )
    config = json.loads(config_path.read_text(encoding="utf-8"))
    required_keys = ("feat_dim", "backbone_config")
    missing_keys = [key for key in required_keys if not config.get(key)]
    if missing_keys:
        raise CheckpointError(f"`{config_path}` has no `{missing_keys[0]}`")
    if config.get("multimodal_mapper_type", config.get("vl_mapper_type")) == "adapter":
        raise InputError(
            f"`{folder}` has the mapper `adapter`, which MultimodalHugs saved without weights;"
            " there is nothing to import"
        )
    return config, load_file(weights_path)


def _build_model(
    config: Mapping[str, Any], model_section: ModelConfig, width: int, vocabulary: Vocabulary
) -> Translator:
    """Build a Translator with MultimodalHugs' backbone configuration, without loading weights.

    Args:
        config: MultimodalHugs' `config.json`.
        model_section: The `model` section of the recipe.
        width: Values per frame of the pose stream.
        vocabulary: Size and special tokens of the tokenizer.

    Raises:
        InputError: If the tokenizer is larger than the model's embeddings, or the mapper has no
            equivalent.
    """
    backbone_config = dict(config["backbone_config"])
    # The type of the backbone may be stored next to its configuration instead of inside.
    backbone_config.setdefault("model_type", config.get("backbone_type", "m2m_100"))
    backbone = get_backbone_ops(model_section.backbone).create_from_saved_config(backbone_config)
    num_embeddings = backbone.get_input_embeddings().num_embeddings
    if vocabulary.size > num_embeddings:
        raise InputError(
            f"the tokenizer has {vocabulary.size} tokens, but the model has embeddings for"
            f" {num_embeddings}"
        )
    # The tokenizer may have added tokens, so its ids replace those of the saved configuration.
    for key, value in get_seq2seq_special_ids(backbone.config, vocabulary).items():
        setattr(backbone.config, key, value)
    _check_cnn_mapper(config, model_section, backbone.get_input_embeddings().embedding_dim)
    translator_config = build_kinesweep_config(
        model_section, {_STREAM: width}, vocabulary, 0.0, backbone
    )
    return Translator(translator_config, backbone).eval()


def _check_cnn_mapper(
    config: Mapping[str, Any], model_section: ModelConfig, backbone_width: int
) -> None:
    """Check that a convolutional mapper can be built as an encoder of kind `cnn`.

    Does nothing if the recipe has an encoder of another kind.

    Args:
        config: MultimodalHugs' `config.json`.
        model_section: The `model` section of the recipe.
        backbone_width: Width of the backbone's embeddings.

    Raises:
        InputError: If the convolutions are followed by a norm or an activation, or have another
            width than `model.encoder.channels`.
    """
    if not isinstance(model_section.encoder, CnnEncoderConfig):
        return
    # An encoder of kind `cnn` has no layers after its last convolution block.
    trailing_layers = [
        key
        for key in ("layer_norm", "activation")
        # The former keys begin with `vl`.
        if config.get(f"multimodal_mapper_{key}", config.get(f"vl_mapper_{key}"))
    ]
    if trailing_layers:
        raise InputError(f"a `cnn_adapter` followed by `{trailing_layers[0]}` has no equivalent")
    if model_section.encoder.channels != backbone_width:
        raise InputError(
            f"the convolutions of the model are {backbone_width} wide, but `model.encoder.channels`"
            f" is {model_section.encoder.channels}; set it to {backbone_width}"
        )
