"""Initialization of a run from the weights of an earlier training stage.

Typically the first stage trains projectors beside a frozen language model, and the second stage
trains the projectors together with adapters. The earlier weights are loaded completely or not at
all. A renamed stream, a projector of another kind or another language model raises an error that
names it, because a projector that silently keeps its random weights invalidates the results. Only
adapters and the stream of reference clips may be new.
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
from kinesweep.core.checkpoint_files import compute_weights_digest, find_weights
from kinesweep.core.collectives import is_rank_zero
from kinesweep.core.errors import CheckpointError
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import is_tag
from kinesweep.models.base import compute_base_model_sha256
from kinesweep.models.checkpoint_io import get_non_base_state_dict
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.lora import is_adapter_weight
from kinesweep.models.translator import Translator

_LOG = logging.getLogger(__name__)
# Settings of encoders and fusion that a later stage may change.
_CHANGEABLE_SETTINGS = ("dropout", "stream_dropout")


def load_initial_tokenizer(folder: Path, recipe: Recipe) -> TextTokenizer:
    """Load the tokenizer of an earlier training stage, whose weights depend on its token ids.

    Logs a warning that lists words of this run's prompt for which the tokenizer has no pieces.

    Args:
        folder: Best model of the earlier stage.
        recipe: Recipe of this run; its `model.tokenizer` must match the earlier one.

    Returns:
        Tokenizer of the earlier stage.

    Raises:
        CheckpointError: If `folder` is not a model folder or its recipe sets another tokenizer.
    """
    model_dir = find_weights(folder).parent
    initial_config, run_config = read_recipe(model_dir).model.tokenizer, recipe.model.tokenizer
    if _strip_folder_location(initial_config) != _strip_folder_location(run_config):
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose `model.tokenizer` is"
            f" {initial_config.model_dump()},"
            f" but this run's is {run_config.model_dump()}. Use the same tokenizer; the weights of"
            " the"
            " earlier stage depend on its token ids."
        )
    tokenizer = TextTokenizer.load(model_dir)
    unknown_words = _find_unknown_words(tokenizer, recipe.prompt)
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
    """Find the words of the prompt, except tags, for which the tokenizer has no pieces."""
    prompt_text = " ".join([prompt.system, prompt.context, prompt.question, prompt.suffix])
    # Tags are left out: an unknown tag raises its own error in `encode_prompt`.
    words = [word for word in dict.fromkeys(prompt_text.split()) if not is_tag(word)]
    return [
        word for word in words if tokenizer.tokenizer.unk_token_id in tokenizer.encode_prompt(word)
    ]


def _strip_folder_location(config: TokenizerConfig) -> TokenizerConfig:
    """Reduce the tokenizer folder in a config to its name, so that its location is not compared."""
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
    if sha256 is not None and compute_weights_digest(folder) != sha256:
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, whose weights have changed since this run was"
            " created. Restore them, or start a new run in another folder."
        )
    # Compare the configs before the tensors: their differences explain those of the tensors.
    initial_config = KinesweepConfig.from_pretrained(path.parent)
    problems = _compare_architectures(model.config, initial_config)
    over_base = model.config.base is not None
    model_state = get_non_base_state_dict(model) if over_base else model.state_dict(keep_vars=True)
    model_tensors, initial_tensors = (
        _normalize_tensor_names(model_state),
        _normalize_tensor_names(_read_safetensors(path)),
    )
    if not problems:
        # Each check assumes that the ones before it passed; `_describe_missing_weights` looks
        # up every name of `initial_tensors`.
        problems = (
            _describe_mismatched_weights(model_tensors, initial_tensors)
            or _describe_missing_weights(model_tensors, initial_tensors)
            or _compare_settings(model.config, initial_config)
        )
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"`model.init_from` is `{folder}`, but {'; '.join(problems[:5])}{more}. Train the"
            " earlier stage with the same `model` settings, or remove `model.init_from`."
        )
    for name, tensor in initial_tensors.items():
        # Nothing is copied until all checks have passed, so a refused model stays untouched.
        model_tensors[name].copy_(tensor)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}") from None


def _compare_architectures(
    model_config: KinesweepConfig, initial_config: KinesweepConfig
) -> list[str]:
    """Compare the streams, encoder kinds, skeletons, references and base models of two configs.

    Returns:
        Descriptions of the differences; empty if there are none.
    """
    model_streams, initial_streams = (
        model_config.get_encoder_widths(),
        initial_config.get_encoder_widths(),
    )
    differences = []
    # The order counts too: channel fusion concatenates the streams in this order.
    if list(model_streams.items()) != list(initial_streams.items()):
        differences.append(
            f"it reads {_format_stream_widths(initial_config.get_stream_widths())}, and this model"
            f" reads {_format_stream_widths(model_config.get_stream_widths())}"
        )
    for name in model_streams.keys() & initial_streams.keys():
        model_encoder, initial_encoder = (
            model_config.get_model_config().get_encoder_config(name),
            initial_config.get_model_config().get_encoder_config(name),
        )
        if model_encoder.kind != initial_encoder.kind:
            differences.append(
                f"its encoder of `{name}` is `{initial_encoder.kind}`, not `{model_encoder.kind}`"
            )
        elif (initial_skeleton := initial_config.get_skeleton(name)) != model_config.get_skeleton(
            name
        ) and initial_skeleton is not None:
            differences.append(
                f"its `{name}` has the skeleton `{initial_skeleton.name}`, or bones that differ"
                " from this"
                " model's"
            )
    return [
        *differences,
        *_compare_reference_modes(model_config, initial_config),
        *_compare_base_models(model_config, initial_config),
    ]


def _compare_reference_modes(
    model_config: KinesweepConfig, initial_config: KinesweepConfig
) -> list[str]:
    """Compare the reference settings of the two models.

    The earlier store may have had no references (`KinesweepConfig.encoded`). The mode `subtract`
    has no weights and no effect without references, so it is the only mode that may be new.

    Returns:
        Description of the difference; empty if there is none.
    """
    model_reference, initial_reference = (
        model_config.get_model_config().reference,
        initial_config.get_model_config().reference,
    )
    is_new_subtraction = (
        initial_reference is None
        and model_reference is not None
        and model_reference.mode == "subtract"
    )
    if model_reference == initial_reference or is_new_subtraction:
        return []
    descriptions = [
        "none" if one is None else str(one.model_dump())
        for one in (initial_reference, model_reference)
    ]
    return [f"its `model.reference` is {descriptions[0]}, not {descriptions[1]}"]


def _compare_base_models(
    model_config: KinesweepConfig, initial_config: KinesweepConfig
) -> list[str]:
    """Compare the pretrained base models of the two models by their hashes."""
    backbone = model_config.get_model_config().backbone
    if initial_config.base is None or backbone.pretrained is None:
        return []
    # A model that trains its language model has no `base`; hash the pretrained one that it starts
    # from.
    model_digest = (model_config.base or {}).get("sha256") or compute_base_model_sha256(
        backbone.pretrained, backbone.revision
    )
    if model_digest == initial_config.base["sha256"]:
        return []
    initial_base = f"`{initial_config.base['name']}` with content {initial_config.base['sha256']}"
    return [
        f"its language model is {initial_base}, not `{backbone.pretrained}` with content"
        f" {model_digest}"
    ]


def _describe_mismatched_weights(
    model_tensors: dict[str, Tensor], initial_tensors: dict[str, Tensor]
) -> list[str]:
    """Describe the earlier weights that do not exist in this model or have another shape in it."""
    differences = []
    for name, tensor in initial_tensors.items():
        if name not in model_tensors:
            differences.append(f"its `{name}` does not exist in this model")
        elif model_tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(model_tensors[name].shape)}"
            differences.append(f"its `{name}` has the shape {shapes}")
    return differences


def _describe_missing_weights(
    model_tensors: dict[str, Tensor], initial_tensors: dict[str, Tensor]
) -> list[str]:
    """Describe the weights of this model that the checkpoint of the earlier stage lacks.

    Adapters may be missing, and so may a frozen language model: it was not saved with the earlier
    stage and has been loaded from its own folder.
    """
    # One tensor of the language model means that the earlier stage saved all of it.
    has_language_model = any(_is_language_model_weight(name) for name in initial_tensors)
    # Tied weights are one tensor under several names, saved under only one of them. Compare
    # storage.
    initial_pointers = {model_tensors[name].data_ptr() for name in initial_tensors}
    return [
        f"it has no `{name}`"
        for name, tensor in model_tensors.items()
        if name not in initial_tensors
        and not is_adapter_weight(name)
        and (has_language_model or not _is_language_model_weight(name))
        and tensor.data_ptr() not in initial_pointers
    ]


def _is_language_model_weight(name: str) -> bool:
    """Return whether the weight `name` belongs to the language model itself, not to an adapter."""
    return name.startswith("backbone.") and not is_adapter_weight(name)


def _normalize_tensor_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names that they have in a model without adapters."""
    # PEFT moves an adapted layer's own weights into a submodule named `base_layer`.
    return {name.replace(".base_layer.", "."): tensor for name, tensor in tensors.items()}


def _compare_settings(model_config: KinesweepConfig, initial_config: KinesweepConfig) -> list[str]:
    """Describe settings that change the meaning of weights with equal names and shapes.

    Dropout is ignored, because it affects training only.
    """
    model_recipe, initial_recipe = (
        model_config.get_model_config(),
        initial_config.get_model_config(),
    )
    parts: list[tuple[str, Any, Any]] = [
        (
            f"encoder of `{name}`",
            model_recipe.get_encoder_config(name),
            initial_recipe.get_encoder_config(name),
        )
        for name in model_config.get_encoder_widths()
    ]
    parts.append(("fusion", model_recipe.fusion, initial_recipe.fusion))
    return [
        f"its {what} has `{key}` {initial_settings[key]}, not {model_settings[key]}"
        for what, model_settings, initial_settings in (
            (what, a.model_dump(), b.model_dump()) for what, a, b in parts
        )
        for key in model_settings
        if key not in _CHANGEABLE_SETTINGS
        and not _is_new_adapter(key, initial_settings[key])
        and model_settings[key] != initial_settings[key]
    ]


def _is_new_adapter(key: str, initial_value: Any) -> bool:
    """Return whether a setting adds LoRA adapters that the earlier stage did not have."""
    return key == "lora" and initial_value is None


def _format_stream_widths(widths: dict[str, int]) -> str:
    """Format the streams and their widths as one line of text."""
    return ", ".join(f"`{name}` ({width})" for name, width in widths.items())
