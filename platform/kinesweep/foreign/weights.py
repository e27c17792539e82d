"""A trained model folder of MultimodalHugs as one of ours.

Its `config.json` says how the backbone is built, the settings that it was trained with say the
rest. Every tensor is accounted for: each of theirs has its place, each of ours its tensor (tied
ones are stored once), shapes agree. A mapper of kind `adapter` cannot be imported, because there it
was saved without weights.

Shapes: D features, E width of the backbone.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from kinesweep.batches.text import Text
from kinesweep.batches.tokenizer import load_pretrained
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.model import CnnEncoderConfig, ModelConfig
from kinesweep.core.schema import StreamSchema
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.features import build_features
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.backbones.scratch import special_ids
from kinesweep.models.config import describe
from kinesweep.models.translator import Translator
from kinesweep.training.files import write_folder, write_json
from kinesweep.training.model_folder import FEATURES, write_recipe

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
_COMPUTED = "embed_positions.weights"
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
    load_tensors(model, tensors, folder)

    def fill(beside: Path) -> None:
        model.save_pretrained(beside)
        text.save(beside)
        write_recipe(beside, recipe)
        stream = StreamSchema(width, None, recipe.store.dtype)
        facts = {
            "features": recipe.features.model_dump(mode="json"),
            "person": getattr(recipe.source, "person", 0),
            "store_dtype": recipe.store.dtype,
            "store_fingerprint": "",
            "streams": {build_features(recipe.features).stream: stream.to_json()},
        }
        write_json(beside / FEATURES, facts)

    write_folder(out, fill)
    return model


def load_tensors(model: Translator, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Puts their tensors into our model, all of them, all of it.

    Raises:
        CheckpointError: not every tensor has its place; the first are named.
    """
    placed = {_placed(name): tensor for name, tensor in tensors.items() if not _computed(name)}
    own = model.state_dict(keep_vars=True)
    given = {own[name].data_ptr() for name in placed if name in own}
    problems = [f"`{name}` has no place" for name in placed if name not in own]
    problems += [
        f"`{name}` is missing"
        for name, tensor in own.items()
        if name not in placed and tensor.data_ptr() not in given
    ]
    problems += [
        f"`{name}` is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
        for name, tensor in placed.items()
        if name in own and tensor.shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f"; {len(problems) - 3} more" * (len(problems) > 3))
        raise CheckpointError(f"`{folder}` is not a model that its settings describe: {shown}")
    with torch.no_grad():
        for name, tensor in placed.items():
            own[name].copy_(tensor)


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
    for key, value in special_ids(backbone.config, words).items():
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


def _placed(name: str) -> str:
    """Our name of one of their tensors; their own where none fits."""
    for theirs, ours in _PLACES:
        if re.match(theirs, name):
            return re.sub(theirs, ours, name, count=1)
    return name


def _computed(name: str) -> bool:
    return name.startswith("backbone.") and name.endswith(_COMPUTED)
