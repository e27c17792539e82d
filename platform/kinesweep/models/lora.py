"""LoRA: low-rank adapters, trained beside the frozen weights of a language model.

Each linear layer except the head gets two matrices: A, drawn from torch's generator, and B, zero.
The first output is therefore that of the language model itself (LoRA, Hu et al., 2021; the layers
are PEFT's). Rank 64 on a Llama with 8 billion weights trains 168 million. With `nf4` the frozen
weights are stored in 4 bits with double quantization (QLoRA, Dettmers et al., 2023), about 0.5 GB
per billion weights, and with `int8` in 8 bits (LLM.int8, Dettmers et al., 2022), about 1 GB; both
require CUDA. Without CUDA, training such a model is an error; a trained one is loaded over float32
weights, which its adapters fit as well.
"""

import importlib.util
import logging
import warnings
from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kinesweep.config.pretraining.text_tower import TextLoraConfig
from kinesweep.config.recipe.model.backbone import LoraConfig
from kinesweep.config.recipe.model.graph import EncoderLoraConfig
from kinesweep.config.recipe.model.vision import VisionLoraConfig
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import ConfigError, ResourceError

_LOG = logging.getLogger(__name__)
_CONFIG_PATH = "model.backbone.lora"
# Device types that store quantized weights. bitsandbytes also supports CPUs, but there 4 bits are
# slower than float32.
_QUANTIZING_DEVICE_TYPES = ("cuda",)
_BITS = {"int8": 8, "nf4": 4}


def is_adapter_weight(key: str) -> bool:
    """Return whether a weight belongs to an adapter, judging by its key in the state dict."""
    # PEFT's keys look like `…q_proj.lora_A.default.weight`.
    return not {"lora_A", "lora_B"}.isdisjoint(key.split("."))


def add_lora(model: PreTrainedModel, config: LoraConfig) -> None:
    """Add adapters to a language model in place and freeze all other weights.

    Args:
        model: Language model.
        config: Rank, scale, dropout and target layers of the adapters.

    Raises:
        ConfigError: If the model lacks a target layer; all such targets are named.
    """
    _inject_adapters(model, config, _find_target_layer_names(model, config))


def add_lora_to_linear_layers(network: nn.Module, config: EncoderLoraConfig) -> None:
    """Add adapters to all linear layers of a network in place and freeze all other weights.

    Args:
        network: Network of an encoder.
        config: Rank, scale and dropout of the adapters.
    """
    layer_names = [
        name for name, module in network.named_modules() if isinstance(module, nn.Linear)
    ]
    _inject_adapters(network, config, layer_names)


def add_vision_lora(
    network: nn.Module, config: VisionLoraConfig, unused_weights: Collection[str] = ()
) -> None:
    """Add adapters to the target layers of a vision model in place and freeze its own weights.

    Args:
        network: Network of the vision model.
        config: Rank, scale, dropout and target layers of the adapters.
        unused_weights: Weights on which the vectors do not depend; their layers get no adapters.

    Raises:
        ConfigError: If the model lacks a target layer; all such targets are named.
    """
    # Adapters on which the vectors do not depend would never get a gradient.
    used_names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" not in unused_weights
    ]
    path, owner = "model.vision.lora", "vision model"
    _inject_adapters(network, config, _select_layers(used_names, config.targets, path, owner))


def add_text_lora(encoder: nn.Module, config: TextLoraConfig) -> None:
    """Add adapters to the target layers of a text encoder in place and freeze its own weights.

    Args:
        encoder: Text encoder.
        config: Rank, scale, dropout and target layers of the adapters.

    Raises:
        ConfigError: If the encoder lacks a target layer.
    """
    names = [name for name, layer in encoder.named_modules() if isinstance(layer, nn.Linear)]
    path, owner = "objective.text.lora", "text encoder"
    _inject_adapters(encoder, config, _select_layers(names, config.targets, path, owner))


def _inject_adapters(
    model: nn.Module, config: LoraConfig | EncoderLoraConfig, layer_names: list[str]
) -> None:
    """Add float32 adapters to the named layers of a model in place; freeze all other weights."""
    # Imported here, because most models have no adapters.
    import peft

    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # any number; it is divided by the rank
        lora_dropout=config.dropout,
        target_modules=layer_names,
    )
    with warnings.catch_warnings():
        # GPT-2 stores its weights transposed. PEFT handles it, but warns once per layer.
        warnings.filterwarnings("ignore", message="fan_in_fan_out", category=UserWarning)
        peft.inject_adapter_in_model(lora, model)
    for name, parameter in model.named_parameters():
        if is_adapter_weight(name):
            # Over 4-bit weights PEFT creates adapters in bfloat16, where a step of 2e-5 is lost
            # to rounding.
            parameter.data = parameter.data.float()


def build_quantization_config(config: LoraConfig | None, device: torch.device) -> Any:
    """Build Hugging Face's configuration for quantized weights; None if they are not requested.

    Args:
        config: Config of the adapters; None: the model has none.
        device: Device that will hold the weights.

    Raises:
        ResourceError: If they are requested without CUDA or without bitsandbytes.
    """
    if config is None or config.quantize == "none":
        return None
    missing = _find_missing_requirements(device)
    if missing:
        raise ResourceError(
            f"`{_CONFIG_PATH}.quantize` is {config.quantize}, but this {' and '.join(missing)}."
            " Run on a CUDA GPU with bitsandbytes installed and `resources.gpus=1`, or set"
            f" `{_CONFIG_PATH}.quantize=none`."
        )
    from transformers import BitsAndBytesConfig

    if config.quantize == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def drop_unsupported_quantization(
    config: LoraConfig | None, device: torch.device, folder: Any
) -> LoraConfig | None:
    """Return the config for loading a trained model, in float32 if quantization is unavailable.

    A warning is logged if quantized weights are replaced.

    Args:
        config: Config of the adapters; None: the model has none.
        device: Device that will hold the weights.
        folder: Folder of the model, for the warning.
    """
    if config is None or config.quantize == "none":
        return config
    missing = _find_missing_requirements(device)
    if not missing:
        return config
    message = (
        "%s: its language model was held in %d bits (%s) in training, but this %s. It is loaded in"
        " float32 (4 GB per billion weights); texts may differ slightly from those of the run."
    )
    kind = config.quantize
    _LOG.warning(message, folder, _BITS[kind], kind, " and ".join(missing))
    return config.model_copy(update={"quantize": "none"})


def get_default_device(config: LoraConfig | None) -> torch.device:
    """Return the GPU for quantized weights if there is one, and the CPU for all other models."""
    is_quantized = config is not None and config.quantize != "none"
    return torch.device("cuda" if is_quantized and torch.cuda.is_available() else "cpu")


def _find_missing_requirements(device: torch.device) -> list[str]:
    """List what a device and this environment lack for quantized weights, as ends of `this …`."""
    missing = []
    if device.type not in _QUANTIZING_DEVICE_TYPES:
        has_gpu = torch.cuda.is_available()
        missing.append("process runs on the CPU" if has_gpu else "machine lacks a CUDA GPU")
    if importlib.util.find_spec("bitsandbytes") is None:
        missing.append("environment lacks bitsandbytes (`pip install 'kinesweep[qlora]'`)")
    return missing


def _find_target_layer_names(model: PreTrainedModel, config: LoraConfig) -> list[str]:
    """Find the full names of the layers that get an adapter; the head is never among them.

    Raises:
        ConfigError: If a target is the name of no linear layer; all such targets are listed.
    """
    head = model.get_output_embeddings()
    # The quantized layers of bitsandbytes are subclasses of `nn.Linear`; GPT-2 uses `Conv1D`.
    linear_names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    ]
    return _select_layers(linear_names, config.targets, _CONFIG_PATH, "language model")


def _select_layers(
    linear_names: list[str], targets: Literal["all-linear"] | tuple[str, ...], path: str, owner: str
) -> list[str]:
    """Select the linear layers that are targets.

    Args:
        linear_names: Full names of the linear layers.
        targets: Suffixes of names, or `all-linear`.
        path: Dotted path of the adapters in the recipe, for the error.
        owner: Description of the model, for the error.

    Raises:
        ConfigError: If a target is the name of no linear layer; all such targets are listed.
    """
    if targets == "all-linear":
        return linear_names
    last_parts = list(dict.fromkeys(name.rpartition(".")[2] for name in linear_names))
    problems = [
        (f"{path}.targets", _format_unknown_target(target, last_parts, owner))
        for target in targets
        if not any(_is_target_layer(name, target) for name in linear_names)
    ]
    if problems:
        raise ConfigError("the model", problems)
    return [
        name for name in linear_names if any(_is_target_layer(name, target) for target in targets)
    ]


def _is_target_layer(name: str, target: str) -> bool:
    """Return whether a layer's full name ends with a target, compared at its dots."""
    return name == target or name.endswith(f".{target}")


def _format_unknown_target(target: str, layer_names: list[str], owner: str) -> str:
    """Format the problem of a target that matches no layer, with a similar layer or all layers."""
    hint = (
        suggest_closest_word(target, layer_names)
        or f"; it has {', '.join(f'`{layer_name}`' for layer_name in layer_names)}"
    )
    return f"the {owner} has no linear layer `{target}`{hint}"
