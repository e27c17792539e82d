"""A `best_model.pth` of SSVP-SLT as one of our model folders.

A recipe (`ssvp_t5`, `ssvp_bart`, `ssvp_tarres`) says how the model is built: its backbone's folder
gives the configuration, never the weights, and every tensor of the checkpoint is accounted for. The
file is read without running what is pickled in it. Theirs multiplies Tarrés' features by the square
root of the width where the others learn a scale: here that is the gain.

Not carried over: optimiser and loss scale, and BART's `<s>` before each text, which it writes by
itself and which is left out. Case is no part of a checkpoint: it is learnt from given texts.

Shapes: D features, E width of the backbone.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinesweep.batches.given import load_given
from kinesweep.batches.text import Text
from kinesweep.batches.truecase import learn_truecaser
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.recipe import Recipe
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.features import build_features
from kinesweep.foreign.imported import load_tensors, placed, read_tensors, write_imported
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.config import describe
from kinesweep.models.translator import Translator

_LINEAR = (
    r"(?:encoder\.)?"
    r"(?:feature_projection\.feature_proj|feature_projection|feature_proj|feat_proj)"
)
_SCALE = r"(?:encoder\.)?(?:feature_projection\.scale|(?:feature_projection\.)?feature_proj_scale)$"
_WRAPPERS = r"(?:(?:model|backbone|transformer)\.)*"
_Places = tuple[tuple[str, str], ...]
_T5: _Places = ((rf"{_WRAPPERS}(?=(?:shared|encoder|decoder|lm_head)\.)", "backbone."),)
_BART: _Places = (
    (rf"{_WRAPPERS}(?=(?:lm_head\.|final_logits_bias$))", "backbone."),
    (rf"{_WRAPPERS}(?=(?:shared|encoder|decoder)\.)", "backbone.model."),
)
_TARRES: _Places = (
    (rf"{_WRAPPERS}decoder\.output_projection\.", "backbone.lm_head."),
    (rf"{_WRAPPERS}encoder\.transformer_layers\.", "backbone.model.encoder.layers."),
    (rf"{_WRAPPERS}decoder\.(?=layernorm_embedding\.)", "backbone.model.decoder.layers.0."),
    (rf"{_WRAPPERS}(?=(?:encoder|decoder)\.)", "backbone.model."),
)
"""What their names begin with, and ours; the first that fits counts."""
_COMPUTED = (
    r".*(?:encoder|decoder)\.version$",
    r".*embed_positions\.(?:_float_tensor|weights)$",
)
"""fairseq's marks, and sinusoids, which are computed here."""


def import_ssvp(
    path: Path,
    recipe: Recipe,
    out: Path,
    tokenizer: str | None = None,
    texts: Sequence[str] = (),
) -> Translator:
    """Writes a model folder that `evaluate` takes.

    Args:
        path: their `best_model.pth`: a dictionary with `model`, or the tensors alone.
        recipe: what it was trained with, with our names.
        out: a new folder.
        tokenizer: folder (Hugging Face's, or fairseq's with a SentencePiece model) or hub id;
            default: that of `model.tokenizer.path` or `model.backbone.pretrained`.
        texts: of training, from which `generation.truecase` learns case.

    Returns:
        The model.

    Raises:
        CheckpointError: not readable, or a tensor has no place, no shape that fits, or is not
            there.
        ConfigError: the recipe's backbone cannot be built.
        InputError: no tokenizer, one that does not fit, or no texts to learn case from.
    """
    tensors = read_tensors(path, "model")
    text = _text(recipe, tokenizer, texts)
    (stream,) = build_features(recipe.features).streams
    found = placed(tensors, _places(tensors, stream), _COMPUTED)
    width = _width(found, stream, path)
    model = _build(recipe, {stream: width}, text.vocabulary)
    if _is_fairseq(tensors):
        out_width = len(found[f"encoders.{stream}.linear.weight"])
        by = math.sqrt(out_width) if model.backbone.config.scale_embedding else 1.0
        found.setdefault(f"encoders.{stream}.gain", torch.full((out_width,), by))
    load_tensors(model, found, path)
    write_imported(out, model, text, recipe)
    return model


def _text(recipe: Recipe, tokenizer: str | None, texts: Sequence[str]) -> Text:
    config = recipe.model.tokenizer
    own = config.path if config.kind == "folder" else recipe.model.backbone.pretrained
    name = tokenizer or own
    if name is None:
        raise InputError("the recipe's backbone is from scratch: say where its tokenizer is")
    if recipe.generation.truecase and not texts:
        raise InputError(
            "`generation.truecase` is on, but there are no texts to learn case from; give those of"
            " training, or set it to false in the recipe"
        )
    truecaser = learn_truecaser(texts) if config.lowercase and texts else None
    return Text(load_given(name, config.new_tokens, []), config.lowercase, truecaser)


def _is_fairseq(tensors: Mapping[str, Tensor]) -> bool:
    """Whether it is Tarrés' model: fairseq's names."""
    marks = ("transformer_layers.", "decoder.output_projection.", "feat_proj.")
    return any(mark in name for name in tensors for mark in marks)


def _places(tensors: Mapping[str, Tensor], stream: str) -> list[tuple[str, str]]:
    """Their names and ours."""
    backbone = _BART
    if _is_fairseq(tensors):
        backbone = _TARRES
    elif any(".block." in name for name in tensors):
        backbone = _T5
    ours = f"encoders.{stream}"
    return [
        (rf"{_WRAPPERS}{_SCALE}", f"{ours}.gain"),
        (rf"{_WRAPPERS}{_LINEAR}\.(?=(?:weight|bias)$)", f"{ours}.linear."),
        *backbone,
    ]


def _width(found: Mapping[str, Tensor], stream: str, path: Path) -> int:
    """Values a frame that the projection reads."""
    weight = found.get(f"encoders.{stream}.linear.weight")
    if weight is None or weight.dim() != 2:
        raise CheckpointError(f"`{path}` has no projection of features; is it SSVP-SLT's?")
    return int(weight.shape[1])


def _build(recipe: Recipe, widths: dict[str, int], words: Vocabulary) -> Translator:
    """Our model of the same make, its weights still to come."""
    config = recipe.model
    backbone = BACKBONES[config.backbone.kind].empty(config.backbone, words)
    rows = backbone.get_input_embeddings().num_embeddings
    if words.size > rows:
        raise InputError(f"the tokenizer has {words.size} tokens, the model rows for {rows}")
    smoothing = recipe.training.label_smoothing_factor
    described: Any = describe(config, widths, words, smoothing, backbone)
    return Translator(described, backbone).eval()
