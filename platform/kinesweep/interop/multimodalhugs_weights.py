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
from kinesweep.config.recipe.model import CnnEncoderConfig, ModelConfig
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import load_pretrained
from kinesweep.interop.weight_import import load_tensors, rename_keys, write_imported
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.backbones.architectures import seq2seq_ids
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
"""Patterns for the start of a source name and their replacements; the first match is used."""
_COMPUTED = (r"backbone\..*embed_positions\.weights$",)
"""Sinusoidal positions that older versions of transformers saved; the model computes them."""


def import_model(
    folder: Path, recipe: Recipe, out: Path, tokenizer: str | None = None
) -> Translator:
    """Import a model and write a model folder for `kinesweep evaluate`.

    Args:
        folder: MultimodalHugs' model folder with `config.json` and `model.safetensors`.
        recipe: Recipe converted from the settings that the model was trained with.
        out: Folder to create.
        tokenizer: Folder or hub id; default: `folder`. `new_tokens` of the recipe are added.

    Returns:
        The imported model.

    Raises:
        CheckpointError: If files are missing, or tensors are missing, superfluous or of the wrong
            shape.
        InputError: If the mapper has no equivalent, or the tokenizer does not match the model.
    """
    config, tensors = _read(folder)
    new_tokens = recipe.model.tokenizer.new_tokens
    text = TextTokenizer(load_pretrained(tokenizer or str(folder), new_tokens, []))
    # The width comes from the saved configuration, because there is no feature store to ask.
    width = int(config["feat_dim"])
    model = _build(config, recipe.model, width, text.vocabulary)
    load_tensors(model, rename_keys(tensors, _PLACES, _COMPUTED), folder)
    write_imported(out, model, text, recipe)
    return model


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the configuration and the tensors of a model folder.

    Raises:
        CheckpointError: If files or keys are missing.
        InputError: If the mapper was saved without weights.
    """
    paths = folder / "config.json", folder / "model.safetensors"
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise CheckpointError(
            f"`{folder}` is not a model folder of MultimodalHugs: {', '.join(missing)} missing;"
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
    """Build the model with weights that are still to be loaded.

    Args:
        config: MultimodalHugs' `config.json`.
        model: The `model` section of the recipe.
        width: Values per frame of the pose stream.
        words: Size and special tokens of the tokenizer.

    Raises:
        InputError: If the tokenizer is larger than the model's embeddings, or the mapper has no
            equivalent.
    """
    plain = dict(config["backbone_config"])
    # The type of the backbone may be stored next to its configuration instead of inside.
    plain.setdefault("model_type", config.get("backbone_type", "m2m_100"))
    backbone = BACKBONES[model.backbone.kind].rebuild(plain)
    rows = backbone.get_input_embeddings().num_embeddings
    if words.size > rows:
        raise InputError(
            f"the tokenizer has {words.size} tokens, but the model has embeddings for {rows}"
        )
    # The tokenizer may have added tokens, so its ids replace those of the saved configuration.
    for key, value in seq2seq_ids(backbone.config, words).items():
        setattr(backbone.config, key, value)
    _check_mapper(config, model, backbone.get_input_embeddings().embedding_dim)
    described = describe(model, {_STREAM: width}, words, 0.0, backbone)
    return Translator(described, backbone).eval()


def _check_mapper(config: Mapping[str, Any], model: ModelConfig, out: int) -> None:
    """Check that the convolutions can be built as an encoder of kind `cnn`.

    Args:
        config: MultimodalHugs' `config.json`.
        model: The `model` section of the recipe.
        out: Width of the backbone.

    Raises:
        InputError: If they have a norm or an activation after them, or another width.
    """
    if not isinstance(model.encoder, CnnEncoderConfig):
        return
    # An encoder of kind `cnn` has no layers after its last convolution block.
    further = [
        key for key in ("layer_norm", "activation") if config.get(f"multimodal_mapper_{key}")
    ]
    if further:
        raise InputError(f"a `cnn_adapter` followed by `{further[0]}` has no equivalent")
    if model.encoder.channels != out:
        raise InputError(
            f"the convolutions of the model are {out} wide, but `model.encoder.channels` is"
            f" {model.encoder.channels}; set it to {out}"
        )
