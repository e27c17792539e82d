"""Low-rank adapters: small matrices that learn beside a language model's own, which stay.

Each linear layer but the head gets two matrices, A drawn from torch's generator and B zero, so the
first output is the language model's own (LoRA, Hu et al., 2021; PEFT makes the layers). Rank 64 on
a Llama of 8 billion weights learns 168 million. With `nf4` the weights that stay are held in 4 bits
with double quantisation (QLoRA, Dettmers et al., 2023), about 0.5 GB a billion; that needs CUDA.
Training is refused elsewhere; what was trained is read over whole weights there, which it fits.
"""

import importlib.util
import logging
import warnings
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kinesweep.core.config import near_miss
from kinesweep.core.errors import ConfigError, ResourceError
from kinesweep.core.recipe.backbone import LoraConfig
from kinesweep.core.recipe.graph import EncoderLoraConfig

_LOG = logging.getLogger(__name__)
_PATH = "model.backbone.lora"
_HOLD_4_BITS = ("cuda",)
"""Kinds of devices. bitsandbytes knows CPUs too, but there 4 bits are slower than whole weights."""


def is_of_adapter(key: str) -> bool:
    """Whether a weight's name is that of an adapter."""
    return not {"lora_A", "lora_B"}.isdisjoint(key.split("."))


def adapt(model: PreTrainedModel, config: LoraConfig) -> None:
    """Puts adapters into a language model, in place; everything else stops learning.

    Raises:
        ConfigError: a target that the model does not have; all are named.
    """
    _inject(model, config, _targets(model, config))


def adapt_layers(network: nn.Module, config: EncoderLoraConfig) -> None:
    """Puts adapters beside all linear layers of a network, in place; the rest stops learning."""
    layers = [name for name, one in network.named_modules() if isinstance(one, nn.Linear)]
    _inject(network, config, layers)


def _inject(model: nn.Module, config: LoraConfig | EncoderLoraConfig, targets: list[str]) -> None:
    import peft

    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # any number; it is divided by the rank
        lora_dropout=config.dropout,
        target_modules=targets,
    )
    with warnings.catch_warnings():
        # GPT-2 keeps its weights transposed; PEFT sees it, does it, and says so for each layer.
        warnings.filterwarnings("ignore", message="fan_in_fan_out", category=UserWarning)
        peft.inject_adapter_in_model(lora, model)
    for name, parameter in model.named_parameters():
        if is_of_adapter(name):
            # Beside 4 bits PEFT makes them bfloat16, in which a step of 2e-5 is lost by rounding.
            parameter.data = parameter.data.float()


def quantization(config: LoraConfig | None, device: torch.device) -> Any:
    """Hugging Face's configuration of weights in 4 bits, or None where they are not asked for.

    Args:
        config: of the adapters.
        device: where the weights will be.

    Raises:
        ResourceError: they are asked for, but there is no CUDA or no bitsandbytes.
    """
    if config is None or config.quantize == "none":
        return None
    missing = _lacking(device)
    if missing:
        raise ResourceError(
            f"`{_PATH}.quantize` is nf4, but this {' and '.join(missing)}."
            f" Run where both are, with `resources.gpus=1`, or set `{_PATH}.quantize=none`."
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def readable(config: LoraConfig | None, device: torch.device, folder: Any) -> LoraConfig | None:
    """Adapters for reading a model that was trained with them: without 4 bits where there are none.

    Args:
        config: of the adapters.
        device: where the weights will be.
        folder: of the model, for what is said of it.
    """
    if config is None or config.quantize == "none":
        return config
    missing = _lacking(device)
    if not missing:
        return config
    text = (
        "%s: its language model was held in 4 bits (nf4) in training, but this %s. It is read"
        " whole, in float32 (4 GB a billion weights); texts may differ a little from the run's."
    )
    _LOG.warning(text, folder, " and ".join(missing))
    return config.model_copy(update={"quantize": "none"})


def device_of(config: LoraConfig | None) -> torch.device:
    """Where a model goes if nobody says: to the GPU for weights in 4 bits, else to the CPU."""
    is_small = config is not None and config.quantize != "none"
    return torch.device("cuda" if is_small and torch.cuda.is_available() else "cpu")


def _lacking(device: torch.device) -> list[str]:
    """What is missing for weights in 4 bits; each follows upon `this`."""
    missing = []
    if device.type not in _HOLD_4_BITS:
        has_gpu = torch.cuda.is_available()
        missing.append("process works on the CPU" if has_gpu else "machine lacks a CUDA GPU")
    if importlib.util.find_spec("bitsandbytes") is None:
        missing.append("environment lacks bitsandbytes (`pip install 'kinesweep[qlora]'`)")
    return missing


def _targets(model: PreTrainedModel, config: LoraConfig) -> list[str]:
    """Full names of the layers that get an adapter, the head never among them."""
    head = model.get_output_embeddings()
    # A layer in 4 bits is a kind of `nn.Linear` too.
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
    """Whether a target is the last part, or several, of a layer's name."""
    return name == target or name.endswith(f".{target}")


def _unknown(target: str, ends: list[str]) -> str:
    hint = near_miss(target, ends) or f"; it has {', '.join(f'`{end}`' for end in ends)}"
    return f"the language model has no linear layer `{target}` that could have an adapter{hint}"
