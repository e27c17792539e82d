"""The mean of several checkpoints' weights, often better than each of them.

Those that lead up to the best evaluation are taken, the best itself the last: what training did
afterwards made it worse. One tensor at a time is in memory; sums are in float64, so the order of
files does not matter to float32 weights.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from kinesweep.training.checkpoints import WEIGHTS


def write_mean(checkpoints: Sequence[Path], out: Path) -> None:
    """Writes the mean weights of checkpoints as safetensors.

    Args:
        checkpoints: folders; all hold the same tensors. What is no fraction (counts) comes from
            the last one.
        out: the file.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(folder / WEIGHTS, "pt")) for folder in checkpoints]
        names = files[-1].keys()
        means = {name: _mean([file.get_tensor(name) for file in files]) for name in names}
        save_file(means, out, metadata={"format": "pt"})


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    last = tensors[-1]
    if not last.is_floating_point():
        return last
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(last.dtype)
