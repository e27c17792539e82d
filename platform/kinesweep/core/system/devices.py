"""Selection of the device on which a model runs, by the same words in every command and function.

The words are checked without PyTorch, whose import takes seconds, so that a misspelt one is
reported at once. Whether the GPU exists is only known to the process that will use it.
"""

import re
from typing import TYPE_CHECKING

from kinesweep.core.errors import InputError, ResourceError

if TYPE_CHECKING:
    import torch

AUTO_DEVICE = "auto"
DEVICE_WORDS = "auto, cpu, cuda or cuda:N"
"""Allowed names of devices, as messages and help texts list them."""
_DEVICE_NAME = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,3}))?")


def check_device_name(name: str, option: str = "--device") -> str:
    """Return the name of a device if it is one of the allowed words, without importing PyTorch.

    Args:
        name: `auto`, `cpu`, `cuda` or `cuda:N`.
        option: Name of the option or argument, for the message.

    Raises:
        InputError: If it is another word.
    """
    # `fullmatch`, because `$` would also accept a line break at the end.
    if not isinstance(name, str) or not _DEVICE_NAME.fullmatch(name):
        raise InputError(f"`{option}` must be {DEVICE_WORDS}, but is `{name}`")
    return name


def select_device(name: str = AUTO_DEVICE, requested_by: str = "") -> "torch.device":
    """Select the device that a name stands for, and check that this process can use it.

    Args:
        name: `auto`: a GPU if there is one, otherwise the CPU; `cuda`: the current GPU; `cuda:N`:
            the GPU with this index among those that the process sees.
        requested_by: Setting that asks for the device, as the beginning of the message, with the
            way out after a semicolon. Default: that of the option `--device`.

    Raises:
        InputError: If it is another word.
        ResourceError: If a GPU is asked for that this process does not see.
    """
    import torch

    check_device_name(name)
    if name == AUTO_DEVICE:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    # The count of devices alone is no proof: without a working driver it may still be positive.
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = torch.device(name).index or 0
    if index < num_gpus:
        return torch.device(name)
    reason, _, remedy = requested_by.partition(";")
    reason = reason or f"`--device` is `{name}`"
    remedy = remedy.strip() or "use `--device cpu`, or `auto` for a GPU where there is one"
    # Ray hides the GPUs that belong to others, so the number is that of this process.
    seen = f"only the indices 0 to {num_gpus - 1} of CUDA devices" if num_gpus else "no CUDA device"
    raise ResourceError(f"{reason}, but this process sees {seen}; {remedy}")
