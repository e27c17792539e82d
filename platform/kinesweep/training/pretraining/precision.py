"""Numeric precision of pretraining: autocast and, for fp16, the scaling of the loss."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

from kinesweep.core.errors import ResourceError

PrecisionName = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """The precision and device of a run.

    Args:
        name: Value of `training.precision`.
        device: Device of the model.

    Attributes:
        device: Device of the model.
        scaler: Scaler of the loss; it does nothing except for fp16.

    Raises:
        ResourceError: For fp16 without a GPU.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        if name == "fp16" and device.type == "cpu":
            raise ResourceError(
                "`training.precision: fp16` needs a GPU; on the CPU use `bf16` or `fp32`"
            )
        self.device, self._dtype = device, _DTYPES[name]
        # bfloat16 has the range of float32, so small gradients do not vanish in it.
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which the model computes in this precision."""
        # Weights stay in float32: updates are smaller than the steps of half precision.
        return torch.autocast(
            self.device.type, self._dtype, enabled=self._dtype is not torch.float32
        )
