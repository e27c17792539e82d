"""What imports of weights share: names put right, every tensor accounted for, the folder written.

Each tensor of theirs has its place, each of ours its tensor (tied ones may be there once or, equal,
often), shapes agree; whatever does not is refused by name, because a projector that was silently
random has spoilt results before.

Shapes: D features.
"""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kinesweep.batches.text import Text
from kinesweep.core.errors import CheckpointError
from kinesweep.core.recipe import Recipe
from kinesweep.core.schema import StreamSchema
from kinesweep.models.translator import Translator
from kinesweep.training.files import write_folder, write_json
from kinesweep.training.model_files import FEATURES, write_recipe


def write_imported(out: Path, model: Translator, text: Text, recipe: Recipe) -> None:
    """Writes the model folder of an imported model, whose store nobody knows yet.

    Args:
        out: a new folder.
        model: with its weights.
        text: its tokenizer.
        recipe: what it was trained with.
    """

    def fill(beside: Path) -> None:
        model.save_pretrained(beside)
        text.save(beside)
        write_recipe(beside, recipe)
        streams = {
            name: StreamSchema(width, None, recipe.store.dtype).to_json()
            for name, width in model.config.widths().items()
        }
        facts = {
            "features": recipe.portable().features.model_dump(mode="json"),
            "person": getattr(recipe.corpora[0], "person", 0),
            "store_dtype": recipe.store.dtype,
            "store_fingerprint": "",
            "streams": streams,
        }
        write_json(beside / FEATURES, facts)

    write_folder(out, fill)


def placed(
    tensors: Mapping[str, Tensor], places: Sequence[tuple[str, str]], computed: Sequence[str]
) -> dict[str, Tensor]:
    """Their tensors by our names; one that fits nowhere keeps its own.

    Args:
        tensors: by their names.
        places: what a name begins with, as a pattern, and ours; the first that fits counts.
        computed: patterns of names that are left out, because their values are computed here.

    Raises:
        CheckpointError: two of theirs are one of ours.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if any(re.match(pattern, name) for pattern in computed):
            continue
        ours = _placed(name, places)
        if ours in found:
            raise CheckpointError(f"two tensors stand for `{ours}`, one of them `{name}`")
        found[ours] = tensor
    return found


def read_tensors(path: Path, key: str) -> dict[str, Tensor]:
    """Tensors of a file by name, without what data-parallel training puts before their names.

    Args:
        path: what `torch.save` wrote; nothing pickled in it is run.
        key: of a dictionary that holds them beside other things; or they are all there is.

    Raises:
        CheckpointError: not readable, or no tensors.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"`{path}` cannot be read as tensors: {' '.join(str(error).split())[:200]}. Objects"
            f" beside them are never built; if there are some, save its `{key}` alone"
        ) from None
    state = held.get(key, held) if isinstance(held, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"`{path}` holds neither `{key}` nor tensors by name")
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise CheckpointError(f"`{path}` holds `{odd[0]}`, which is no tensor")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def load_tensors(
    model: Translator,
    placed: Mapping[str, Tensor],
    origin: Path,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Puts tensors into our model, all of them, all of it.

    Args:
        model: ours.
        placed: by our names.
        origin: where they come from, for errors.
        state: name → tensor of the part of the model that they fill; default: all of it.

    Raises:
        CheckpointError: not every tensor has its place, or two that are one here differ; the
            first are named.
    """
    own = model.state_dict(keep_vars=True) if state is None else state
    problems = _misfits(own, placed)
    if problems:
        shown = "; ".join(problems[:3]) + (f"; {len(problems) - 3} more" * (len(problems) > 3))
        raise CheckpointError(f"`{origin}` is not a model that its settings describe: {shown}")
    with torch.no_grad():
        for name, tensor in placed.items():
            own[name].copy_(tensor)


def _misfits(own: Mapping[str, Tensor], placed: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with each tensor that does not fit."""
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
    first: dict[int, str] = {}
    for name in [name for name in placed if name in own]:
        twin = first.setdefault(own[name].data_ptr(), name)
        if twin != name and not torch.equal(placed[twin], placed[name]):
            problems.append(f"`{name}` differs from `{twin}`, which is the same tensor here")
    return problems


def _placed(name: str, places: Sequence[tuple[str, str]]) -> str:
    """Our name of one of their tensors; their own where none fits."""
    for theirs, ours in places:
        if re.match(theirs, name):
            return re.sub(theirs, ours, name, count=1)
    return name
