"""The projectors of a Sign_LLaVA's first stage as a model folder that a second stage begins with.

DeepSpeed wrote them to `mp_rank_00_model_states.pt`: a dictionary whose `module` holds what was
trained, here a projector for each stream: one linear layer, or two with a GELU between. A tensor
belongs to the stream whose name stands in its own (`…mm_projector.dino.0.weight`,
`…pose_projector.bias`), and its layer is told by the number before `weight`. The language model is
that of the recipe; it is read, never written. A tensor without a place, or a place without a
tensor, is refused by name. The file is read without running what is pickled in it.

Shapes: D features, E width of the language model.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from kinesweep.batches.given import load_given
from kinesweep.batches.text import Text
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.recipe import Recipe
from kinesweep.core.seeds import seed_everything
from kinesweep.features import build_features
from kinesweep.foreign.imported import load_tensors, read_tensors, write_imported
from kinesweep.models import Translator, build_translator
from kinesweep.models.saving import own_state

_LAYER = re.compile(r"(?:(?P<number>\d+)\.)?(?P<what>weight|bias)$")


def import_projectors(
    path: Path, recipe: Recipe, out: Path, tokenizer: str | None = None
) -> Translator:
    """Writes a model folder for `model.init_from`.

    Args:
        path: their `mp_rank_00_model_states.pt`: a dictionary with `module`, or the tensors alone.
        recipe: of the first stage, with our names.
        out: a new folder.
        tokenizer: folder or hub id; default: that of `model.backbone.pretrained`.

    Returns:
        The model.

    Raises:
        CheckpointError: not readable, or a tensor has no place, no shape that fits, or is not
            there.
        InputError: the language model or its tokenizer cannot be read, or is none that stays.
    """
    config = recipe.staged_model
    if not config.keeps_base:
        raise InputError(
            "projectors are imported over a language model that stays: set `training.stage:"
            " projectors` and `model.backbone.pretrained` in the recipe"
        )
    tensors = read_tensors(path, "module")
    streams = build_features(recipe.features).streams
    layers = {stream: _layers(tensors, stream) for stream in streams}
    _check_all_placed(tensors, layers, path)
    name = tokenizer or config.backbone.pretrained or ""
    text = Text(load_given(name, config.tokenizer.new_tokens, []), config.tokenizer.lowercase)
    seed_everything(recipe.training.seed)
    widths = {stream: _width(tensors, layers[stream], stream, path) for stream in streams}
    smoothing = recipe.training.label_smoothing_factor
    model = build_translator(config, widths, text.vocabulary, smoothing)
    found = {
        f"encoders.{stream}.{ours}": tensors[theirs]
        for stream in streams
        for ours, theirs in _pairs(layers[stream])
    }
    load_tensors(model, found, path, own_state(model))
    write_imported(out, model.eval(), text, recipe)
    return model


def _layers(tensors: Mapping[str, Tensor], stream: str) -> list[str]:
    """Their names of a stream's layers without `weight` and `bias`, in order."""
    of_stream = re.compile(rf"(?:.*[._])?{re.escape(stream)}(?:[._].*)?$")
    found: dict[str, int] = {}
    for name in tensors:
        layer = _LAYER.search(name)
        if layer is not None and of_stream.match(name[: layer.start()].rstrip(".")):
            found[name[: layer.start("what")]] = int(layer["number"] or 0)
    return sorted(found, key=lambda name: found[name])


def _pairs(layers: Sequence[str]) -> list[tuple[str, str]]:
    """Our names and theirs: all layers but the last are hidden, an activation behind each."""
    ours = [f"hidden.{3 * place}." for place in range(len(layers) - 1)] + ["linear."]
    return [
        (f"{mine}{what}", f"{theirs}{what}")
        for mine, theirs in zip(ours, layers, strict=False)
        for what in ("weight", "bias")
    ]


def _check_all_placed(
    tensors: Mapping[str, Tensor], layers: Mapping[str, Sequence[str]], path: Path
) -> None:
    """Refuses a file with a tensor of no stream's, or of two."""
    owners = [layer for of_stream in layers.values() for layer in of_stream]
    for name in tensors:
        count = owners.count(name[: name.rfind(".") + 1])
        if count != 1:
            whose = "several streams" if count else "no stream"
            raise CheckpointError(
                f"`{path}` holds `{name}`, which by its name is of {whose} of the recipe's"
                f" ({', '.join(layers)})"
            )


def _width(tensors: Mapping[str, Tensor], layers: Sequence[str], stream: str, path: Path) -> int:
    """Values a frame that a stream's projector reads."""
    weight = tensors.get(f"{layers[0]}weight") if layers else None
    if weight is None or weight.dim() != 2:
        raise CheckpointError(f"`{path}` has no projector of the stream `{stream}`")
    return int(weight.shape[1])
