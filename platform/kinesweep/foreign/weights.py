"""A trained model folder of MultimodalHugs as one of ours.

Its `config.json` says how the backbone is built, the settings that it was trained with say the
rest. Every tensor is accounted for: each of theirs has its place, each of ours its tensor (tied
ones are stored once), shapes agree. A mapper of kind `adapter` cannot be imported, because there it
was saved without weights.

Shapes: D features, E width of the backbone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from kinesweep.batches.text import Text
from kinesweep.batches.tokenizer import load_pretrained
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.model import CnnEncoderConfig, ModelConfig
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.foreign.imported import load_tensors, placed, write_imported
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.backbones.family import seq2seq_ids
from kinesweep.models.config import describe
from kinesweep.models.translator import Translator

_STREAM = "pose"
_PLACES = (
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
"""What their names begin with, and ours; the first that fits counts."""
_COMPUTED = (r"backbone\..*embed_positions\.weights$",)
"""Sinusoids that older versions of transformers saved; they are computed here."""


def import_model(
    folder: Path, recipe: Recipe, out: Path, tokenizer: str | None = None
) -> Translator:
    """Writes a model folder that `evaluate` takes.

    Args:
        folder: theirs, with `config.json` and `model.safetensors`.
        recipe: converted from the settings that it was trained with.
        out: a new folder.
        tokenizer: folder or hub id; default: `folder` itself. `new_tokens` of the recipe are added.

    Returns:
        The model.

    Raises:
        CheckpointError: files are missing, or a tensor has no place, no shape that fits, or is not
            there.
        InputError: a mapper that has no counterpart, a tokenizer that does not fit.
    """
    config, tensors = _read(folder)
    new_tokens = recipe.model.tokenizer.new_tokens
    text = Text(load_pretrained(tokenizer or str(folder), new_tokens, []))
    width = int(config["feat_dim"])
    model = _build(config, recipe.model, width, text.vocabulary)
    load_tensors(model, placed(tensors, _PLACES, _COMPUTED), folder)
    write_imported(out, model, text, recipe)
    return model


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    paths = folder / "config.json", folder / "model.safetensors"
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise CheckpointError(
            f"`{folder}` is no model folder of MultimodalHugs: {', '.join(missing)} missing;"
            " pickled weights are not read"
        )
    config = json.loads(paths[0].read_text(encoding="utf-8"))
    wanted = ("feat_dim", "backbone_config")
    absent = [key for key in wanted if not config.get(key)]
    if absent:
        raise CheckpointError(f"`{paths[0]}` has no `{absent[0]}`")
    if config.get("multimodal_mapper_type", config.get("vl_mapper_type")) == "adapter":
        raise InputError(
            f"`{folder}` has the mapper `adapter`, which MultimodalHugs saved without weights;"
            " there is nothing to import"
        )
    return config, load_file(paths[1])


def _build(
    config: Mapping[str, Any], model: ModelConfig, width: int, words: Vocabulary
) -> Translator:
    """Our model of the same make, its weights still to come."""
    plain = dict(config["backbone_config"])
    plain.setdefault("model_type", config.get("backbone_type", "m2m_100"))
    backbone = BACKBONES[model.backbone.kind].rebuild(plain)
    rows = backbone.get_input_embeddings().num_embeddings
    if words.size > rows:
        raise InputError(f"the tokenizer has {words.size} tokens, the model rows for {rows}")
    for key, value in seq2seq_ids(backbone.config, words).items():
        setattr(backbone.config, key, value)
    _check_mapper(config, model, backbone.get_input_embeddings().embedding_dim)
    described = describe(model, {_STREAM: width}, words, 0.0, backbone)
    return Translator(described, backbone).eval()


def _check_mapper(config: Mapping[str, Any], model: ModelConfig, out: int) -> None:
    """Refuses convolutions that are built otherwise than ours can be."""
    if not isinstance(model.encoder, CnnEncoderConfig):
        return
    further = [
        key for key in ("layer_norm", "activation") if config.get(f"multimodal_mapper_{key}")
    ]
    if further:
        raise InputError(f"a `cnn_adapter` with `{further[0]}` behind it has no counterpart")
    if model.encoder.channels != out:
        raise InputError(
            f"its convolutions are {out} wide: set `model.encoder.channels={out}`, not"
            f" {model.encoder.channels}"
        )
