"""Initialization of a run from the tokenizer and the weights of an earlier training stage.

Typically the first stage trains projectors beside a frozen language model, and the second stage
trains the projectors together with adapters. The earlier weights are loaded completely or not at
all. A renamed stream, a projector of another kind or another language model raises an error that
names it, because a projector that silently keeps its random weights invalidates the results. Only
adapters and the feature stream of reference motions may be new (`stage_compatibility`).
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinesweep.checkpoints.model_dir_files import read_recipe
from kinesweep.config.recipe.model import TokenizerConfig
from kinesweep.config.recipe.prompt import PromptConfig
from kinesweep.core.checkpoint_files import compute_weights_digest, find_weights_file
from kinesweep.core.collectives import is_rank_zero
from kinesweep.core.errors import CheckpointError
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.features.texts.hf_tokenizer import is_tag
from kinesweep.models.checkpoint_io import get_non_base_state_dict
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.translator import Translator
from kinesweep.training.loop.stage_compatibility import find_incompatibilities

_LOG = logging.getLogger(__name__)
# Maximum number of differences in an error message.
_MAX_SHOWN_PROBLEMS = 5


def load_initial_tokenizer(
    folder: Path, run_config: TokenizerConfig, prompt: PromptConfig
) -> TextTokenizer:
    """Load the tokenizer of an earlier training stage, whose weights depend on its token ids.

    Logs a warning that lists words of this run's prompt for which the tokenizer has no pieces.

    Args:
        folder: Model folder of the earlier stage.
        run_config: Tokenizer config of this run, which must match that of the earlier stage.
        prompt: The `prompt` section of this run.

    Returns:
        Tokenizer of the earlier stage.

    Raises:
        CheckpointError: If `folder` is not a model folder or its recipe has another tokenizer.
        ConfigError: If the recipe in the folder cannot be read or is not valid.
    """
    model_dir = find_weights_file(folder).parent
    initial_config = read_recipe(model_dir).model.tokenizer
    if _strip_folder_location(initial_config) != _strip_folder_location(run_config):
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose `model.tokenizer` is"
            f" {initial_config.model_dump()}, but this run's is {run_config.model_dump()}. Use the"
            " same tokenizer; the weights of the earlier stage depend on its token ids."
        )
    tokenizer = TextTokenizer.load(model_dir)
    unknown_words = _find_unknown_words(tokenizer, prompt)
    # Only rank 0 logs, else every worker would repeat the warning.
    if unknown_words and is_rank_zero():
        _LOG.warning(
            "the tokenizer of `model.init_from`, `%s`, has no pieces for %s of this run's `prompt`:"
            " the model reads them as unknown tokens. Rephrase the prompt, or add these words to"
            " `model.tokenizer.new_tokens` of both stages.",
            folder,
            ", ".join(f"`{word}`" for word in unknown_words),
        )
    return tokenizer


def _find_unknown_words(tokenizer: TextTokenizer, prompt: PromptConfig) -> list[str]:
    """Find the words of the prompt, except tags, whose encoding contains the unknown token."""
    prompt_text = " ".join([prompt.system, prompt.context, prompt.question, prompt.suffix])
    # Tags are left out: an unknown tag raises its own error in `encode_prompt`.
    words = [word for word in dict.fromkeys(prompt_text.split()) if not is_tag(word)]
    return [
        word for word in words if tokenizer.tokenizer.unk_token_id in tokenizer.encode_prompt(word)
    ]


def _strip_folder_location(config: TokenizerConfig) -> TokenizerConfig:
    """Return a tokenizer config whose folder, if it has one, is reduced to the folder's name.

    Configs that name copies of one folder on two machines then compare as equal.
    """
    if config.kind != "folder":
        return config
    return config.model_copy(update={"path": Path(config.path).name})


@torch.no_grad()
def load_initial_weights(model: Translator, folder: Path, sha256: str | None = None) -> None:
    """Copy the weights of an earlier stage into a newly built model.

    Args:
        model: Model that receives the weights, in place.
        folder: Model folder of the earlier stage.
        sha256: Expected hash of the weights, recorded when the run was created; None skips the
            check.

    Raises:
        CheckpointError: If the weights cannot be read, have another hash, or do not fit the model;
            the first differences are named.
    """
    path = find_weights_file(folder)
    if sha256 is not None and compute_weights_digest(folder) != sha256:
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose weights have changed since this run was"
            " created. Restore them, or start a new run in another folder."
        )
    initial_config = KinesweepConfig.from_pretrained(path.parent)
    has_base = model.config.base is not None
    model_state = get_non_base_state_dict(model) if has_base else model.state_dict(keep_vars=True)
    model_tensors = _normalize_tensor_names(model_state)
    initial_tensors = _normalize_tensor_names(_read_safetensors(path))
    problems = find_incompatibilities(model.config, initial_config, model_tensors, initial_tensors)
    if problems:
        shown_problems = "; ".join(problems[:_MAX_SHOWN_PROBLEMS])
        if len(problems) > _MAX_SHOWN_PROBLEMS:
            shown_problems += f" and {len(problems) - _MAX_SHOWN_PROBLEMS} more"
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, but {shown_problems}. Train the"
            " earlier stage with the same `model` settings, or remove `model.init_from`."
        )
    for name, tensor in initial_tensors.items():
        # Nothing is copied until all checks have passed, so a refused model stays untouched.
        model_tensors[name].copy_(tensor)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file; return name → tensor.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}") from None


def _normalize_tensor_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names that they have in a model without adapters."""
    # PEFT moves an adapted layer's own weights into a submodule named `base_layer`.
    return {name.replace(".base_layer.", "."): tensor for name, tensor in tensors.items()}
