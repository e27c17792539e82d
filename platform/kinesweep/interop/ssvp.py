"""Import of SSVP-SLT's `best_model.pth` as a model folder.

A recipe (`ssvp_t5`, `ssvp_bart`, `ssvp_tarres`) defines the model. The backbone's folder provides
the configuration but no weights, and every tensor of the checkpoint must match. The file is read
without running pickled code. SSVP-SLT multiplies the features of the Tarrés model by the square
root of the width, where the other models learn a scale; both become the encoder's gain.

Optimizer state and loss scale are not imported, nor is the `<s>` before each text that BART
generates by itself. A checkpoint contains no truecaser, so one is learned from given texts.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.data.external_tokenizer import load_external_tokenizer
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.truecase import learn_truecaser
from kinesweep.features import build_features
from kinesweep.interop.weight_import import (
    copy_tensors_into_model,
    read_checkpoint_tensors,
    rename_state_dict_keys,
    write_imported_model,
)
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.config import build_kinesweep_config
from kinesweep.models.translator import Translator

_LINEAR_PATTERN = (
    r"(?:encoder\.)?"
    r"(?:feature_projection\.feature_proj|feature_projection|feature_proj|feat_proj)"
)
_SCALE_PATTERN = (
    r"(?:encoder\.)?(?:feature_projection\.scale|(?:feature_projection\.)?feature_proj_scale)$"
)
# Prefixes of modules that wrap the language model, in any number and order.
_WRAPPER_PATTERN = r"(?:(?:model|backbone|transformer)\.)*"
_KeyRenames = tuple[tuple[str, str], ...]
_T5_RENAMES: _KeyRenames = (
    (rf"{_WRAPPER_PATTERN}(?=(?:shared|encoder|decoder|lm_head)\.)", "backbone."),
)
_BART_RENAMES: _KeyRenames = (
    (rf"{_WRAPPER_PATTERN}(?=(?:lm_head\.|final_logits_bias$))", "backbone."),
    (rf"{_WRAPPER_PATTERN}(?=(?:shared|encoder|decoder)\.)", "backbone.model."),
)
_TARRES_RENAMES: _KeyRenames = (
    (rf"{_WRAPPER_PATTERN}decoder\.output_projection\.", "backbone.lm_head."),
    (rf"{_WRAPPER_PATTERN}encoder\.transformer_layers\.", "backbone.model.encoder.layers."),
    (rf"{_WRAPPER_PATTERN}decoder\.(?=layernorm_embedding\.)", "backbone.model.decoder.layers.0."),
    (rf"{_WRAPPER_PATTERN}(?=(?:encoder|decoder)\.)", "backbone.model."),
)
"""Patterns for the start of a source name and their replacements; the first match is used.

The lookaheads keep the matched part of the name and replace only the wrappers before it.
"""
_COMPUTED_KEYS = (
    r".*(?:encoder|decoder)\.version$",
    r".*embed_positions\.(?:_float_tensor|weights)$",
)
"""Version markers of fairseq, and sinusoidal positions, which the model computes."""


def import_ssvp(
    path: Path,
    recipe: Recipe,
    output_dir: Path,
    tokenizer_name: str | None = None,
    texts: Sequence[str] = (),
) -> Translator:
    """Import an SSVP-SLT checkpoint and write a model folder for `kinesweep evaluate`.

    Args:
        path: SSVP-SLT's `best_model.pth`: a dictionary with `model`, or the tensors alone.
        recipe: Recipe that corresponds to the training settings; it is written to the model folder
            as a whole.
        output_dir: Folder to create.
        tokenizer_name: Hub id or folder (Hugging Face's, or fairseq's with a SentencePiece model)
            of the tokenizer; None: `model.tokenizer.path` or `model.backbone.pretrained`.
        texts: Training texts, from which a truecaser is learned if the recipe lowercases texts.

    Returns:
        The imported model.

    Raises:
        CheckpointError: If the file cannot be read, or tensors are missing, superfluous or of the
            wrong shape.
        ConfigError: If the backbone of the recipe cannot be built.
        InputError: If there is no tokenizer, if it does not match the model, or if texts are needed
            to learn the case.
    """
    tensors = read_checkpoint_tensors(path, "model")
    tokenizer = _load_text_tokenizer(
        recipe.model, tokenizer_name, texts, recipe.generation.truecase
    )
    # SSVP-SLT has exactly one stream, that of the video features.
    (stream,) = build_features(recipe.single_features).streams
    renamed_tensors = rename_state_dict_keys(
        tensors, _get_key_renames(tensors, stream), _COMPUTED_KEYS
    )
    # The input width comes from the checkpoint, because there is no feature store to ask.
    width = _get_input_width(renamed_tensors, stream, path)
    model = _build_model(
        recipe.model,
        {stream: width},
        tokenizer.vocabulary,
        recipe.training.label_smoothing_factor,
    )
    if _has_fairseq_names(tensors):
        # Fixed in Tarrés' model and therefore not saved; a checkpoint with its own scale keeps it.
        output_width = len(renamed_tensors[f"encoders.{stream}.linear.weight"])
        gain = math.sqrt(output_width) if model.backbone.config.scale_embedding else 1.0
        renamed_tensors.setdefault(f"encoders.{stream}.gain", torch.full((output_width,), gain))
    copy_tensors_into_model(model, renamed_tensors, path)
    write_imported_model(output_dir, model, tokenizer, recipe)
    return model


def _load_text_tokenizer(
    model_section: ModelConfig, name: str | None, texts: Sequence[str], needs_truecaser: bool
) -> TextTokenizer:
    """Load the tokenizer, with a truecaser learned from the texts if the recipe lowercases them.

    Args:
        model_section: The `model` section of the recipe.
        name: Hub id or folder of the tokenizer; None: that of the recipe.
        texts: Training texts.
        needs_truecaser: Whether generated texts are to be truecased (`generation.truecase`).

    Raises:
        InputError: If the recipe has no tokenizer and none is given, or a truecaser is needed but
            there are no texts.
    """
    config = model_section.tokenizer
    default_name = config.path if config.kind == "folder" else model_section.backbone.pretrained
    name = name or default_name
    if name is None:
        raise InputError(
            "the recipe's backbone is from scratch, so it has no tokenizer; say where its tokenizer"
            " is with `--tokenizer`"
        )
    if needs_truecaser and not texts:
        raise InputError(
            "`generation.truecase` is on, but there are no texts to learn case from; give the"
            " training texts, or set it to false in the recipe"
        )
    # Learned even if `generation.truecase` is off, so that it can be turned on for evaluation.
    truecaser = learn_truecaser(texts) if config.lowercase and texts else None
    return TextTokenizer(
        load_external_tokenizer(name, config.new_tokens, []), config.lowercase, truecaser
    )


def _has_fairseq_names(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether any of the tensors has a name from fairseq, as in the Tarrés model."""
    markers = ("transformer_layers.", "decoder.output_projection.", "feat_proj.")
    return any(marker in name for name in tensors for marker in markers)


def _get_key_renames(tensors: Mapping[str, Tensor], stream: str) -> list[tuple[str, str]]:
    """Return the renames from the names in the checkpoint to those of the model.

    Args:
        tensors: Source name → tensor, whose names show the kind of backbone.
        stream: Name of the feature stream.

    Returns:
        Pairs of a pattern for the start of a source name and its replacement; the first matching
        pair applies.
    """
    backbone_renames = _BART_RENAMES
    if _has_fairseq_names(tensors):
        backbone_renames = _TARRES_RENAMES
    # Of the supported models, only T5 calls its layers `block`.
    elif any(".block." in name for name in tensors):
        backbone_renames = _T5_RENAMES
    encoder_prefix = f"encoders.{stream}"
    return [
        (rf"{_WRAPPER_PATTERN}{_SCALE_PATTERN}", f"{encoder_prefix}.gain"),
        (
            rf"{_WRAPPER_PATTERN}{_LINEAR_PATTERN}\.(?=(?:weight|bias)$)",
            f"{encoder_prefix}.linear.",
        ),
        *backbone_renames,
    ]


def _get_input_width(renamed_tensors: Mapping[str, Tensor], stream: str, path: Path) -> int:
    """Return the input width of the feature projection, in values per frame.

    Args:
        renamed_tensors: Name in the model → tensor.
        stream: Name of the feature stream.
        path: File of the tensors, for the error message.

    Raises:
        CheckpointError: If the checkpoint has no feature projection.
    """
    weight = renamed_tensors.get(f"encoders.{stream}.linear.weight")
    if weight is None or weight.dim() != 2:
        raise CheckpointError(
            f"`{path}` has no projection of features; it must be a checkpoint of SSVP-SLT"
        )
    return int(weight.shape[1])


def _build_model(
    model_section: ModelConfig,
    widths: dict[str, int],
    vocabulary: Vocabulary,
    label_smoothing: float,
) -> Translator:
    """Build the model of a recipe without loading its weights.

    Args:
        model_section: The `model` section of the recipe.
        widths: Name of the feature stream → values per frame.
        vocabulary: Size and special tokens of the tokenizer.
        label_smoothing: Label smoothing of further training
            (`training.label_smoothing_factor`).

    Raises:
        ConfigError: If the backbone of the recipe cannot be built.
        InputError: If the tokenizer has more tokens than the model has embeddings.
    """
    backbone_type = get_backbone_ops(model_section.backbone)
    backbone = backbone_type.create_with_random_weights(model_section.backbone, vocabulary)
    # The embeddings may have more rows than the tokenizer has tokens (padding of the vocabulary).
    num_embeddings = backbone.get_input_embeddings().num_embeddings
    if vocabulary.size > num_embeddings:
        raise InputError(
            f"the tokenizer has {vocabulary.size} tokens, but the model has embeddings for"
            f" {num_embeddings}"
        )
    translator_config: Any = build_kinesweep_config(
        model_section, widths, vocabulary, label_smoothing, backbone
    )
    return Translator(translator_config, backbone).eval()
