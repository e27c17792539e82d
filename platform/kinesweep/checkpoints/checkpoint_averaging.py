"""Averaging of the weights of several checkpoints, which often beats each single one.

The average covers the best checkpoint and those that precede it; later checkpoints are excluded
because training did not improve after the best one. Beside the result, only one tensor of each
checkpoint is in memory at a time. Sums are in float64, so for float32 weights the order of the
files does not matter.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from kinesweep.core.checkpoint_files import WEIGHTS_FILENAME


def write_averaged_weights(checkpoint_dirs: Sequence[Path], output_path: Path) -> None:
    """Write the mean weights of several checkpoints as a safetensors file.

    Args:
        checkpoint_dirs: Checkpoint folders with identical tensor names. Tensors that are not
            floating point (such as counters) are taken from the last one.
        output_path: Output file.
    """
    with ExitStack() as stack:
        files = [
            stack.enter_context(safe_open(folder / WEIGHTS_FILENAME, "pt"))
            for folder in checkpoint_dirs
        ]
        # `safe_open` maps the files; a tensor is read only when `get_tensor` is called.
        names = files[-1].keys()
        means = {
            name: _average_tensors([file.get_tensor(name) for file in files]) for name in names
        }
        save_file(means, output_path, metadata={"format": "pt"})


def _average_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """Compute the mean of tensors in the dtype of the last one.

    Tensors that are not floating point have no meaningful mean; the last one is returned.
    """
    last_tensor = tensors[-1]
    if not last_tensor.is_floating_point():
        return last_tensor
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(last_tensor.dtype)
