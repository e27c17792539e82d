"""Import of the projectors of Sign_LLaVA's first stage, as a model folder for the second stage.

DeepSpeed saves them to `mp_rank_00_model_states.pt`, a dictionary whose `module` contains the
trained tensors: a projector per stream, which is one linear layer or two with a GELU in between. A
tensor belongs to the stream whose name its own name contains (`…mm_projector.dino.0.weight`,
`…pose_projector.bias`); the number before `weight` gives the order of the layers. The language
model is the one of the recipe, which is only read. Superfluous and missing tensors are errors that
name the tensor. The file is read without running pickled code.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.data.given import load_external_tokenizer
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.features import build_features
from kinesweep.interop.weight_import import (
    copy_tensors_into_model,
    read_checkpoint_tensors,
    write_imported_model,
)
from kinesweep.models import Translator, build_translator
from kinesweep.models.checkpoint_io import get_non_base_state_dict

_LAYER_PATTERN = re.compile(r"(?:(?P<number>\d+)\.)?(?P<what>weight|bias)$")


def import_projectors(
    path: Path, recipe: Recipe, out: Path, tokenizer: str | None = None
) -> Translator:
    """Import Sign_LLaVA's projectors and write a model folder for `model.init_from`.

    Args:
        path: DeepSpeed's `mp_rank_00_model_states.pt`: a dictionary with `module`, or the tensors
            alone.
        recipe: Recipe of the first stage.
        out: Folder to create.
        tokenizer: Folder or hub id; default: the tokenizer of `model.backbone.pretrained`.

    Returns:
        The model with the imported projectors.

    Raises:
        CheckpointError: If the file cannot be read, or tensors are missing, superfluous or of the
            wrong shape.
        InputError: If the language model or its tokenizer cannot be read, or if the recipe trains
            the language model.
    """
    config = recipe.effective_model
    if not config.has_frozen_base:
        raise InputError(
            "projectors can only be imported for a frozen language model: set `training.stage:"
            " projectors` and `model.backbone.pretrained` in the recipe"
        )
    tensors = read_checkpoint_tensors(path, "module")
    streams = build_features(recipe.features).streams
    layers = {stream: _find_layer_prefixes(tensors, stream) for stream in streams}
    _check_tensor_streams(tensors, layers, path)
    # `has_frozen_base` guarantees a pretrained backbone; the empty text only satisfies the type
    # checker.
    name = tokenizer or config.backbone.pretrained or ""
    text = TextTokenizer(
        load_external_tokenizer(name, config.tokenizer.new_tokens, []), config.tokenizer.lowercase
    )
    # Everything that the file does not contain must be the same for every import.
    seed_everything(recipe.training.seed)
    widths = {stream: _get_input_width(tensors, layers[stream], stream, path) for stream in streams}
    smoothing = recipe.training.label_smoothing_factor
    model = build_translator(config, widths, text.vocabulary, smoothing)
    renamed_tensors = {
        f"encoders.{stream}.{target}": tensors[source]
        for stream in streams
        for target, source in _map_layer_names(layers[stream])
    }
    # Without the frozen language model, whose weights come from its own folder.
    copy_tensors_into_model(model, renamed_tensors, path, get_non_base_state_dict(model))
    write_imported_model(out, model.eval(), text, recipe)
    return model


def _find_layer_prefixes(tensors: Mapping[str, Tensor], stream: str) -> list[str]:
    """Find the name prefixes of a stream's layers, without `weight` and `bias`, in order.

    Args:
        tensors: Source name → tensor.
        stream: Name of the stream.
    """
    # The stream must be a whole word of the name: `pose` matches `pose_projector`, not `poses`.
    stream_pattern = re.compile(rf"(?:.*[._])?{re.escape(stream)}(?:[._].*)?$")
    order_by_prefix: dict[str, int] = {}
    for name in tensors:
        layer = _LAYER_PATTERN.search(name)
        if layer is not None and stream_pattern.match(name[: layer.start()].rstrip(".")):
            # Layers with an index are ordered by it; a single linear layer has none.
            order_by_prefix[name[: layer.start("what")]] = int(layer["number"] or 0)
    return sorted(order_by_prefix, key=lambda name: order_by_prefix[name])


def _map_layer_names(layers: Sequence[str]) -> list[tuple[str, str]]:
    """Map the layers of a projector to the encoder; return (encoder name, source name) pairs.

    All layers but the last are hidden layers; with none, the encoder is linear.
    """
    # A hidden layer occupies three modules of the MLP encoder: linear, activation, dropout.
    target_prefixes = [f"hidden.{3 * index}." for index in range(len(layers) - 1)] + ["linear."]
    return [
        (f"{target}{suffix}", f"{source}{suffix}")
        for target, source in zip(target_prefixes, layers, strict=False)
        for suffix in ("weight", "bias")
    ]


def _check_tensor_streams(
    tensors: Mapping[str, Tensor], layers: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Check that every tensor belongs to exactly one stream.

    Raises:
        CheckpointError: If a tensor belongs to no stream or to several.
    """
    assigned_prefixes = [layer for prefixes in layers.values() for layer in prefixes]
    for name in tensors:
        count = assigned_prefixes.count(name[: name.rfind(".") + 1])
        if count != 1:
            owner = "several streams" if count else "no stream"
            raise CheckpointError(
                f"`{path}` contains `{name}`, which by its name belongs to {owner} of the recipe"
                f" ({', '.join(layers)})"
            )


def _get_input_width(
    tensors: Mapping[str, Tensor], layers: Sequence[str], stream: str, path: Path
) -> int:
    """Return the input width of a stream's projector, in values per frame."""
    weight = tensors.get(f"{layers[0]}weight") if layers else None
    if weight is None or weight.dim() != 2:
        raise CheckpointError(f"`{path}` has no projector for the stream `{stream}`")
    return int(weight.shape[1])
