"""The device of a trained model, for the commands and functions that use one.

On a GPU the process gets the kernels of training, so that texts are those of the run's evaluations;
on the CPU nothing is changed. An operation without a deterministic kernel only gives a warning
here: a translation that may differ in its last bit is better than none.
"""

import logging

import torch

from kinesweep.core.system.devices import AUTO_DEVICE, select_device
from kinesweep.core.system.kernels import configure_kernels

logger = logging.getLogger(__name__)


def prepare_inference(device_name: str = AUTO_DEVICE) -> torch.device:
    """Select the device of a trained model, configure this process for it, and log its name.

    Args:
        device_name: `auto`, `cpu`, `cuda` or `cuda:N`; see `select_device`.

    Raises:
        InputError: If it is another word.
        ResourceError: If a GPU is asked for that this process does not see.
    """
    device = select_device(device_name)
    if device.type == "cuda":
        configure_kernels(warn_only=True)
        if device.index is not None:
            # Video models and metrics use the current GPU, which must be the same one.
            torch.cuda.set_device(device)
    logger.info(f"device: {device}")
    return device
