"""The settings for speed that concern the model: precision, attention, compilation.

The switches of kernels are set with the seeds (`reproducibility.determinism`). Everything here
holds for training only: the final scores are computed from the saved weights without compilation,
in float32, with the default attention and kernels, so that `evaluate` and `translate` give the
same. Compilation costs a minute or more at the start, which only long runs earn back.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.config.recipe.resources import PerformanceConfig
from kinesweep.core.errors import ResourceError, format_one_line
from kinesweep.models.translator import Translator

logger = logging.getLogger(__name__)
T = TypeVar("T")


def resolve_precision(
    training: ResolvedTrainingConfig, device: torch.device
) -> ResolvedTrainingConfig:
    """Return the `training` section with the precision that `auto` stands for on a device.

    It is bf16 on GPUs that compute in it, and fp32 everywhere else: fp16 would need a scaled loss,
    and CPUs gain nothing.
    """
    if training.precision != "auto":
        return training
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return training.model_copy(update={"precision": "bf16" if has_bf16 else "fp32"})


def set_attention(model: Translator, attention: str) -> None:
    """Set the implementation of the backbone's attention, without changing its weights.

    Args:
        model: Translator.
        attention: `performance.attention`; `auto` leaves the choice of Hugging Face.

    Raises:
        ResourceError: If this backbone, or this environment, does not have it.
    """
    if attention == "auto":
        return
    backbone: PreTrainedModel = model.backbone
    try:
        backbone.set_attn_implementation(attention)
        # Hugging Face only warns about models that cannot change it.
        reason = "" if get_attention(model) == attention else "the model cannot change it"
    except (ImportError, ValueError, RuntimeError) as error:
        reason = format_one_line(error)
    if reason:
        raise ResourceError(
            f"`performance.attention` is {attention}, which a `{backbone.config.model_type}` cannot"
            f" use here: {reason}; use `auto`"
        )


def get_attention(model: Translator) -> str:
    """Return the name of the implementation of the backbone's attention."""
    # Hugging Face has no public getter for this setting.
    return str(model.backbone.config._attn_implementation)


def compile_layers(model: Translator, is_wanted: bool) -> None:
    """Compile each layer of the backbone in place; the names of its weights stay the same.

    The layers are compiled one by one: all of them share their code, so that a single layer is
    compiled, in a fraction of the time of the whole model.

    Args:
        model: Translator.
        is_wanted: `performance.compile`; False does nothing.

    Raises:
        ResourceError: If the backbone has no such layers, or this machine cannot compile.
    """
    if not is_wanted:
        return
    # Types of layers that Hugging Face marks as blocks of its models.
    layers = [
        one for one in model.backbone.modules() if isinstance(one, GradientCheckpointingLayer)
    ]
    if not layers:
        name = model.backbone.config.model_type
        raise ResourceError(
            f"`performance.compile` is true, but a `{name}` has no layers that can be compiled one"
            " by one; set it to false"
        )
    # Graphs of an earlier run in this process count towards torch's limit, beyond which layers
    # silently stay uncompiled and the bits would be others than in a fresh process.
    torch.compiler.reset()
    _check_compiler(model.device)
    for layer in layers:
        # Not `torch.compile(layer)`, whose wrapper adds `_orig_mod` to the names of weights.
        layer.compile()


def run_uncompiled(function: Callable[[Translator], T], is_compiled: bool) -> Callable[[Any], T]:
    """Return a function that runs compiled layers without compilation.

    Texts grow by a token a step, and each length would be compiled anew.

    Args:
        function: Function of the model.
        is_compiled: Whether the layers of the model are compiled; otherwise the function is
            returned as it is.
    """
    if not is_compiled:
        return function

    def call(model: Translator) -> T:
        with torch.compiler.set_stance("force_eager"):
            return function(model)

    return call


def describe_resolved(
    model: Translator, training: ResolvedTrainingConfig, performance: PerformanceConfig
) -> dict[str, Any]:
    """Return the settings that a run resolved, by the names under which they are logged.

    It is also said in the log if runs do not repeat to the bit.

    Args:
        model: Translator.
        training: The resolved `training` section.
        performance: The `performance` section.
    """
    resolved: dict[str, Any] = dict(training.step_counts)
    resolved |= {"precision": training.precision, "attention": get_attention(model)}
    if not performance.deterministic:
        logger.info("`performance.deterministic` is false: this run does not repeat to the bit")
        resolved["repeats_to_the_bit"] = False
    return {f"resolved.{name}": value for name, value in resolved.items()}


def _check_compiler(device: torch.device) -> None:
    """Compile a small function, to fail before training instead of in its first step.

    Raises:
        ResourceError: If that fails.
    """
    try:
        # The compiler, its headers and on GPUs Triton are needed; only a compilation tries all.
        torch.compile(nn.functional.gelu, fullgraph=True)(torch.ones(16, device=device))
    except Exception as error:  # torch wraps the errors of compilers in many types
        kind = "Triton" if device.type == "cuda" else "a C++ compiler"
        raise ResourceError(
            f"`performance.compile` needs {kind}, but compilation fails here"
            f" ({format_one_line(error, 200)}); install it, for example `g++`, or set"
            " `performance.compile` to false"
        ) from None
