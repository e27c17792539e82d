"""Low-rank adapters: small matrices that learn beside a language model's own, which stay.

Each linear layer but the head gets two matrices, A drawn from torch's generator and B zero, so the
first output is the language model's own (LoRA, Hu et al., 2021; PEFT makes the layers). Rank 64 on
a Llama of 8 billion weights learns 168 million. With `nf4` the weights that stay are held in 4 bits
with double quantisation (QLoRA, Dettmers et al., 2023), about 0.5 GB a billion; that needs CUDA.
"""

import importlib.util
import warnings
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from kinesweep.core.config import near_miss
from kinesweep.core.errors import ConfigError, ResourceError
from kinesweep.core.recipe.backbone import LoraConfig

_PATH = "model.backbone.lora"


def is_of_adapter(key: str) -> bool:
    """Whether a weight's name is that of an adapter."""
    return not {"lora_A", "lora_B"}.isdisjoint(key.split("."))


def adapt(model: PreTrainedModel, config: LoraConfig) -> None:
    """Puts adapters into a language model, in place; everything else stops learning.

    Raises:
        ConfigError: a target that the model does not have; all are named.
    """
    import peft

    targets = _targets(model, config)
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


def quantization(config: LoraConfig | None) -> Any:
    """Hugging Face's configuration of weights in 4 bits, or None where they are not asked for.

    Raises:
        ResourceError: they are, but there is no CUDA or no bitsandbytes.
    """
    if config is None or config.quantize == "none":
        return None
    missing = []
    if not torch.cuda.is_available():
        missing.append("a CUDA GPU")
    if importlib.util.find_spec("bitsandbytes") is None:
        missing.append("bitsandbytes (`pip install bitsandbytes`)")
    if missing:
        raise ResourceError(
            f"`{_PATH}.quantize` is nf4, but this machine lacks {' and '.join(missing)}."
            f" Run where both are, or set `{_PATH}.quantize=none`."
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


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
