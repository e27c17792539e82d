"""The weights of an earlier stage, with which a run begins.

First projectors learn beside a language model that stays; then they and its adapters. What the
earlier run trained is taken over whole or not at all: a stream that was renamed, a projector of
another kind or another language model is refused by name, because a projector that was silently
random has spoilt results before. Only adapters may be new, and references to which clips are held.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinesweep.batches.text import Text
from kinesweep.batches.tokenizer import is_tag
from kinesweep.core.errors import CheckpointError
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.model import TokenizerConfig
from kinesweep.core.recipe.prompt import PromptConfig
from kinesweep.core.weights import weights_digest, weights_of
from kinesweep.models.adapters import is_of_adapter
from kinesweep.models.base import base_sha256
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.saving import own_state
from kinesweep.models.translator import Translator
from kinesweep.training.model_files import read_recipe
from kinesweep.training.ranks import is_first

_LOG = logging.getLogger(__name__)
_FREE = ("dropout", "stream_dropout")
"""Keys of encoders and fusion that a later stage may set anew."""


def earlier_text(folder: Path, recipe: Recipe) -> Text:
    """The tokenizer of an earlier stage, whose weights know its tokens by their numbers.

    Words of this run's prompt that it has no pieces for are named in a warning.

    Args:
        folder: of the earlier stage's best model.
        recipe: of this run; its `model.tokenizer` must be that of the earlier one.

    Raises:
        CheckpointError: no model folder, or another tokenizer was asked for there.
    """
    place = weights_of(folder).parent
    theirs, ours = read_recipe(place).model.tokenizer, recipe.model.tokenizer
    if _moved(theirs) != _moved(ours):
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose `model.tokenizer` is {theirs.model_dump()},"
            f" but this run's is {ours.model_dump()}. Take the same; its tokens have numbers."
        )
    text = Text.load(place)
    unknown = _unknown(text, recipe.prompt)
    if unknown and is_first():
        _LOG.warning(
            "the tokenizer of `model.init_from`, `%s`, has no pieces for %s of this run's `prompt`:"
            " the model reads a mark for what is unknown. Say it in other words, or name these in"
            " `model.tokenizer.new_tokens` of both stages.",
            folder,
            ", ".join(f"`{word}`" for word in unknown),
        )
    return text


def _unknown(text: Text, prompt: PromptConfig) -> list[str]:
    """Words of the recipe's prompt that a tokenizer has no pieces for, tags left out."""
    said = " ".join([prompt.system, prompt.context, prompt.question, prompt.after])
    words = [word for word in dict.fromkeys(said.split()) if not is_tag(word)]
    return [word for word in words if text.tokenizer.unk_token_id in text.encode_prompt(word)]


def _moved(config: TokenizerConfig) -> TokenizerConfig:
    """A tokenizer's part of a recipe wherever its folder lies: of a bundle's the name is left."""
    if config.kind != "folder":
        return config
    return config.model_copy(update={"path": Path(config.path).name})


@torch.no_grad()
def begin_with(model: Translator, folder: Path, sha256: str | None = None) -> None:
    """Copies the weights of an earlier stage into a model that was just built.

    Args:
        model: gets them.
        folder: of the earlier stage's best model.
        sha256: what its weights were when the run was named; None: whatever they are.

    Raises:
        CheckpointError: they are not those of such a model; what differs is named.
    """
    path = weights_of(folder)
    if sha256 is not None and weights_digest(folder) != sha256:
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose weights are others than when this run was"
            " begun. Put them back, or begin a new run."
        )
    by = KinesweepConfig.from_pretrained(path.parent)
    problems = _other_parts(model.config, by)
    over_base = model.config.base is not None
    held = own_state(model) if over_base else model.state_dict(keep_vars=True)
    ours, theirs = _plain(held), _plain(_read(path))
    if not problems:
        problems = _misfits(ours, theirs) or _missing(ours, theirs) or _other_ways(model.config, by)
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, but {'; '.join(problems[:5])}{more}. Train the"
            " earlier stage with the same `model`, or begin without it."
        )
    for name, tensor in theirs.items():
        ours[name].copy_(tensor)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}") from None


def _other_parts(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """What differs before any weight is looked at: streams, kinds of encoders, language model."""
    here, there = ours.encoded(), theirs.encoded()
    found = []
    if list(here.items()) != list(there.items()):  # fusion by channel has columns for each in turn
        found.append(
            f"it reads {_listed(theirs.widths())}, and this model {_listed(ours.widths())}"
        )
    for name in here.keys() & there.keys():
        mine, other = ours.recipe_part().encoder_of(name), theirs.recipe_part().encoder_of(name)
        if mine.kind != other.kind:
            found.append(f"its encoder of `{name}` is `{other.kind}`, not `{mine.kind}`")
        elif (bones := theirs.skeleton(name)) != ours.skeleton(name) and bones is not None:
            found.append(f"its `{name}` has the skeleton `{bones.name}`, or other bones than here")
    return [*found, *_other_reference(ours, theirs), *_other_base(ours, theirs)]


def _other_reference(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """Whether theirs is held against a reference in another way.

    Its store may have had none (`KinesweepConfig.encoded`). `subtract` has no weights, and says
    nothing before there are references, so it alone may be new.
    """
    mine, other = ours.recipe_part().reference, theirs.recipe_part().reference
    begins = other is None and mine is not None and mine.mode == "subtract"
    if mine == other or begins:
        return []
    said = ["none" if one is None else str(one.model_dump()) for one in (other, mine)]
    return [f"its `model.reference` is {said[0]}, not {said[1]}"]


def _other_base(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """Whether theirs stands on another language model than ours, or than ours begins with."""
    backbone = ours.recipe_part().backbone
    if theirs.base is None or backbone.pretrained is None:
        return []
    mine = (ours.base or {}).get("sha256") or base_sha256(backbone.pretrained, backbone.revision)
    if mine == theirs.base["sha256"]:
        return []
    other = f"`{theirs.base['name']}` with content {theirs.base['sha256']}"
    return [f"its language model is {other}, not `{backbone.pretrained}` with content {mine}"]


def _misfits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """Weights of theirs that have no place here."""
    found = []
    for name, tensor in theirs.items():
        if name not in ours:
            found.append(f"its `{name}` has no place in this model")
        elif ours[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(ours[name].shape)}"
            found.append(f"its `{name}` has the shape {shapes}")
    return found


def _missing(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """Weights of ours that theirs should have: all but adapters, and a language model that stayed.

    One that stayed was not saved, and was read from its own folder.
    """
    whole = any(_is_language_models(name) for name in theirs)
    # Tied weights are one tensor under several names, saved under one of them.
    held = {ours[name].data_ptr() for name in theirs}
    return [
        f"it has no `{name}`"
        for name, tensor in ours.items()
        if name not in theirs
        and not is_of_adapter(name)
        and (whole or not _is_language_models(name))
        and tensor.data_ptr() not in held
    ]


def _is_language_models(name: str) -> bool:
    """Whether a weight is the language model's own."""
    return name.startswith("backbone.") and not is_of_adapter(name)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names that they have without adapters beside them."""
    return {name.replace(".base_layer.", "."): tensor for name, tensor in tensors.items()}


def _other_ways(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """What weights of the same names and shapes would mean otherwise here, but for dropout."""
    mine, other = ours.recipe_part(), theirs.recipe_part()
    parts: list[tuple[str, Any, Any]] = [
        (f"encoder of `{name}`", mine.encoder_of(name), other.encoder_of(name))
        for name in ours.encoded()
    ]
    parts.append(("fusion", mine.fusion, other.fusion))
    return [
        f"its {what} has `{key}` {there[key]}, not {here[key]}"
        for what, here, there in ((what, a.model_dump(), b.model_dump()) for what, a, b in parts)
        for key in here
        if key not in _FREE and not _is_new_adapter(key, there[key]) and here[key] != there[key]
    ]


def _is_new_adapter(key: str, theirs: Any) -> bool:
    """Whether an encoder may have adapters here because it had none there."""
    return key == "lora" and theirs is None


def _listed(widths: dict[str, int]) -> str:
    return ", ".join(f"`{name}` ({width})" for name, width in widths.items())
