"""LoRA: low-rank adapters, trained beside the frozen weights of a language model.

Each linear layer except the head gets two matrices: A, drawn from torch's generator, and B, zero.
The first output is therefore that of the language model itself (LoRA, Hu et al., 2021; the layers
are PEFT's). Rank 64 on a Llama with 8 billion weights trains 168 million. With `nf4` the frozen
weights are stored in 4 bits with double quantization (QLoRA, Dettmers et al., 2023), about 0.5 GB
per billion weights, which requires CUDA. Without CUDA, training such a model is an error; a trained
one is loaded over float32 weights, which its adapters fit as well.
"""

import importlib.util
import logging
import warnings
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kinesweep.config.loading import did_you_mean
from kinesweep.config.recipe.backbone import LoraConfig
from kinesweep.config.recipe.graph import EncoderLoraConfig
from kinesweep.core.errors import ConfigError, ResourceError

_LOG = logging.getLogger(__name__)
_PATH = "model.backbone.lora"
# Device types that store weights in 4 bits. bitsandbytes also supports CPUs, but there 4 bits are
# slower than float32.
_HOLD_4_BITS = ("cuda",)


def is_of_adapter(key: str) -> bool:
    """Return whether a weight's name is that of an adapter."""
    # PEFT's keys look like `…q_proj.lora_A.default.weight`.
    return not {"lora_A", "lora_B"}.isdisjoint(key.split("."))


def add_lora(model: PreTrainedModel, config: LoraConfig) -> None:
    """Add adapters to a language model in place and freeze all other weights.

    Raises:
        ConfigError: If the model lacks a target layer; all such targets are named.
    """
    _inject(model, config, _targets(model, config))


def adapt_layers(network: nn.Module, config: EncoderLoraConfig) -> None:
    """Add adapters to all linear layers of a network in place and freeze all other weights."""
    layers = [name for name, one in network.named_modules() if isinstance(one, nn.Linear)]
    _inject(network, config, layers)


def _inject(model: nn.Module, config: LoraConfig | EncoderLoraConfig, targets: list[str]) -> None:
    """Add adapters to the target layers, in float32."""
    # Imported here, because most models have no adapters.
    import peft

    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # any number; it is divided by the rank
        lora_dropout=config.dropout,
        target_modules=targets,
    )
    with warnings.catch_warnings():
        # GPT-2 stores its weights transposed. PEFT handles it, but warns once per layer.
        warnings.filterwarnings("ignore", message="fan_in_fan_out", category=UserWarning)
        peft.inject_adapter_in_model(lora, model)
    for name, parameter in model.named_parameters():
        if is_of_adapter(name):
            # Over 4-bit weights PEFT creates adapters in bfloat16, where a step of 2e-5 is lost
            # to rounding.
            parameter.data = parameter.data.float()


def quantization(config: LoraConfig | None, device: torch.device) -> Any:
    """Return Hugging Face's configuration for 4-bit weights, or None if they are not requested.

    Args:
        config: Config of the adapters.
        device: Device that will hold the weights.

    Raises:
        ResourceError: If 4 bits are requested without CUDA or without bitsandbytes.
    """
    if config is None or config.quantize == "none":
        return None
    missing = _lacking(device)
    if missing:
        raise ResourceError(
            f"`{_PATH}.quantize` is nf4, but this {' and '.join(missing)}."
            " Run on a CUDA GPU with bitsandbytes installed and `resources.gpus=1`, or set"
            f" `{_PATH}.quantize=none`."
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def readable(config: LoraConfig | None, device: torch.device, folder: Any) -> LoraConfig | None:
    """Return the adapter config for loading a trained model; without 4 bits if unavailable here.

    Args:
        config: Config of the adapters.
        device: Device that will hold the weights.
        folder: Folder of the model, for the warning.
    """
    if config is None or config.quantize == "none":
        return config
    missing = _lacking(device)
    if not missing:
        return config
    text = (
        "%s: its language model was held in 4 bits (nf4) in training, but this %s. It is loaded in"
        " float32 (4 GB per billion weights); texts may differ slightly from those of the run."
    )
    _LOG.warning(text, folder, " and ".join(missing))
    return config.model_copy(update={"quantize": "none"})


def device_of(config: LoraConfig | None) -> torch.device:
    """Return the default device: the GPU for 4-bit weights if there is one, else the CPU."""
    is_small = config is not None and config.quantize != "none"
    return torch.device("cuda" if is_small and torch.cuda.is_available() else "cpu")


def _lacking(device: torch.device) -> list[str]:
    """Return what is missing for 4-bit weights; each text continues a sentence after `this`."""
    missing = []
    if device.type not in _HOLD_4_BITS:
        has_gpu = torch.cuda.is_available()
        missing.append("process runs on the CPU" if has_gpu else "machine lacks a CUDA GPU")
    if importlib.util.find_spec("bitsandbytes") is None:
        missing.append("environment lacks bitsandbytes (`pip install 'kinesweep[qlora]'`)")
    return missing


def _targets(model: PreTrainedModel, config: LoraConfig) -> list[str]:
    """Return the full names of the layers that get an adapter; the head is never among them."""
    head = model.get_output_embeddings()
    # The 4-bit layers of bitsandbytes are subclasses of `nn.Linear`; GPT-2 uses `Conv1D`.
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    ]
    if config.targets == "all-linear":
        return layers
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in layers))
    problems = [
        (f"{_PATH}.targets", _unknown(target, ends))
        for target in config.targets
        if not any(_ends(name, target) for name in layers)
    ]
    if problems:
        raise ConfigError("the model", problems)
    return [name for name in layers if any(_ends(name, target) for target in config.targets)]


def _ends(name: str, target: str) -> bool:
    """Return whether a target equals the last one or more parts of a layer's name."""
    return name == target or name.endswith(f".{target}")


def _unknown(target: str, ends: list[str]) -> str:
    """Return the problem of a target that matches no layer, with a suggestion."""
    hint = did_you_mean(target, ends) or f"; it has {', '.join(f'`{end}`' for end in ends)}"
    return f"the language model has no linear layer `{target}`{hint}"
