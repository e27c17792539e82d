"""Initialization of a run from the weights of an earlier training stage.

Typically the first stage trains projectors beside a frozen language model, and the second stage
trains the projectors together with adapters. The earlier weights are loaded completely or not at
all. A renamed stream, a projector of another kind or another language model raises an error that
names it, because a silently random projector has spoilt results before. Only adapters and the
stream of reference clips may be new.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinesweep.checkpoints.model_dir_files import read_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import TokenizerConfig
from kinesweep.config.recipe.prompt import PromptConfig
from kinesweep.core.checkpoint_files import find_weights, weights_digest
from kinesweep.core.collectives import is_rank_zero
from kinesweep.core.errors import CheckpointError
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import is_tag
from kinesweep.models.base import base_sha256
from kinesweep.models.checkpoint_io import non_base_state_dict
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.lora import is_of_adapter
from kinesweep.models.translator import Translator

_LOG = logging.getLogger(__name__)
# Settings of encoders and fusion that a later stage may change.
_FREE = ("dropout", "stream_dropout")


def earlier_text(folder: Path, recipe: Recipe) -> TextTokenizer:
    """Load the tokenizer of an earlier stage, because its weights depend on the token ids.

    Logs a warning that lists words of this run's prompt for which the tokenizer has no pieces.

    Args:
        folder: Best model of the earlier stage.
        recipe: Recipe of this run; its `model.tokenizer` must match the earlier one.

    Raises:
        CheckpointError: If `folder` is not a model folder or its recipe sets another tokenizer.
    """
    place = find_weights(folder).parent
    theirs, ours = read_recipe(place).model.tokenizer, recipe.model.tokenizer
    if _moved(theirs) != _moved(ours):
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose `model.tokenizer` is {theirs.model_dump()},"
            f" but this run's is {ours.model_dump()}. Use the same tokenizer; the weights of the"
            " earlier stage depend on its token ids."
        )
    text = TextTokenizer.load(place)
    unknown = _unknown(text, recipe.prompt)
    # Only rank 0 logs, else every worker would repeat the warning.
    if unknown and is_rank_zero():
        _LOG.warning(
            "the tokenizer of `model.init_from`, `%s`, has no pieces for %s of this run's `prompt`:"
            " the model reads them as unknown tokens. Rephrase the prompt, or add these words to"
            " `model.tokenizer.new_tokens` of both stages.",
            folder,
            ", ".join(f"`{word}`" for word in unknown),
        )
    return text


def _unknown(text: TextTokenizer, prompt: PromptConfig) -> list[str]:
    """Return the words of the prompt for which the tokenizer has no pieces, ignoring tags."""
    said = " ".join([prompt.system, prompt.context, prompt.question, prompt.suffix])
    # Tags are left out: an unknown tag raises its own error in `encode_prompt`.
    words = [word for word in dict.fromkeys(said.split()) if not is_tag(word)]
    return [word for word in words if text.tokenizer.unk_token_id in text.encode_prompt(word)]


def _moved(config: TokenizerConfig) -> TokenizerConfig:
    """Return a tokenizer config that does not depend on its folder's location, only on its name."""
    if config.kind != "folder":
        return config
    return config.model_copy(update={"path": Path(config.path).name})


@torch.no_grad()
def load_initial_weights(model: Translator, folder: Path, sha256: str | None = None) -> None:
    """Copy the weights of an earlier stage into a newly built model.

    Args:
        model: Model that receives the weights.
        folder: Best model of the earlier stage.
        sha256: Expected hash of the weights, recorded when the run was created; None skips the
            check.

    Raises:
        CheckpointError: If the weights do not fit the model; the differences are named.
    """
    path = find_weights(folder)
    if sha256 is not None and weights_digest(folder) != sha256:
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose weights have changed since this run was"
            " created. Restore them, or start a new run in another folder."
        )
    # Compare the configs before the tensors: their differences explain those of the tensors.
    by = KinesweepConfig.from_pretrained(path.parent)
    problems = _other_parts(model.config, by)
    over_base = model.config.base is not None
    held = non_base_state_dict(model) if over_base else model.state_dict(keep_vars=True)
    ours, theirs = _plain(held), _plain(_read(path))
    if not problems:
        # Each check assumes that the ones before it passed; `_missing_key_errors` looks up every
        # name of `theirs`.
        problems = (
            _misfits(ours, theirs)
            or _missing_key_errors(ours, theirs)
            or _other_ways(model.config, by)
        )
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, but {'; '.join(problems[:5])}{more}. Train the"
            " earlier stage with the same `model` settings, or remove `model.init_from`."
        )
    for name, tensor in theirs.items():
        # Nothing is copied until all checks have passed, so a refused model stays untouched.
        ours[name].copy_(tensor)


def _read(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}") from None


def _other_parts(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """Compare streams, encoder kinds, skeletons, reference and language model of two configs.

    Returns:
        Descriptions of the differences; empty if there are none.
    """
    here, there = ours.encoded(), theirs.encoded()
    found = []
    # The order counts too: channel fusion concatenates the streams in this order.
    if list(here.items()) != list(there.items()):
        found.append(
            f"it reads {_listed(theirs.widths())}, and this model reads {_listed(ours.widths())}"
        )
    for name in here.keys() & there.keys():
        mine, other = ours.recipe_part().encoder_of(name), theirs.recipe_part().encoder_of(name)
        if mine.kind != other.kind:
            found.append(f"its encoder of `{name}` is `{other.kind}`, not `{mine.kind}`")
        elif (bones := theirs.skeleton(name)) != ours.skeleton(name) and bones is not None:
            found.append(
                f"its `{name}` has the skeleton `{bones.name}`, or bones that differ from this"
                " model's"
            )
    return [*found, *_other_reference(ours, theirs), *_other_base(ours, theirs)]


def _other_reference(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """Compare how the two models use reference clips.

    The earlier store may have had no references (`KinesweepConfig.encoded`). The mode `subtract`
    has no weights and no effect without references, so it is the only mode that may be new.
    """
    mine, other = ours.recipe_part().reference, theirs.recipe_part().reference
    begins = other is None and mine is not None and mine.mode == "subtract"
    if mine == other or begins:
        return []
    said = ["none" if one is None else str(one.model_dump()) for one in (other, mine)]
    return [f"its `model.reference` is {said[0]}, not {said[1]}"]


def _other_base(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """Compare the pretrained language models of the two models by content."""
    backbone = ours.recipe_part().backbone
    if theirs.base is None or backbone.pretrained is None:
        return []
    # A model that trains its language model has no `base`; hash the pretrained one that it starts
    # from.
    mine = (ours.base or {}).get("sha256") or base_sha256(backbone.pretrained, backbone.revision)
    if mine == theirs.base["sha256"]:
        return []
    other = f"`{theirs.base['name']}` with content {theirs.base['sha256']}"
    return [f"its language model is {other}, not `{backbone.pretrained}` with content {mine}"]


def _misfits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """Describe the earlier weights that this model lacks or holds with another shape."""
    found = []
    for name, tensor in theirs.items():
        if name not in ours:
            found.append(f"its `{name}` does not exist in this model")
        elif ours[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(ours[name].shape)}"
            found.append(f"its `{name}` has the shape {shapes}")
    return found


def _missing_key_errors(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """Return a message for each weight of the model that the earlier stage's checkpoint lacks.

    Adapters may be missing, and so may a frozen language model: it was not saved with the earlier
    stage and has been loaded from its own folder.
    """
    # One tensor of the language model means that the earlier stage saved all of it.
    whole = any(_is_language_models(name) for name in theirs)
    # Tied weights are one tensor under several names, saved under only one of them. Compare
    # storage.
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
    """Return whether a weight belongs to the language model itself and not to an adapter."""
    return name.startswith("backbone.") and not is_of_adapter(name)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to the names that they have without adapters."""
    # PEFT moves an adapted layer's own weights into a submodule named `base_layer`.
    return {name.replace(".base_layer.", "."): tensor for name, tensor in tensors.items()}


def _other_ways(ours: KinesweepConfig, theirs: KinesweepConfig) -> list[str]:
    """Describe settings that change the meaning of weights with equal names and shapes.

    Dropout is ignored, because it affects training only.
    """
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
    """Return whether an encoder adds adapters that the earlier stage did not have."""
    return key == "lora" and theirs is None


def _listed(widths: dict[str, int]) -> str:
    """Format streams with their widths."""
    return ", ".join(f"`{name}` ({width})" for name, width in widths.items())
