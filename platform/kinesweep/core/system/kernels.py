"""Switches of PyTorch's kernels, which hold for the whole process.

One function sets all of them, whatever the process did before: a worker trains one run after
another, and a switch that a run leaves behind would change the bits of the next one. Deterministic
kernels cost time on GPUs only; TensorFloat-32 rounds the factors of products to 10 bits.
"""

import os

import torch


def configure_kernels(
    deterministic: bool = True, tf32: bool = False, *, warn_only: bool = False
) -> None:
    """Set the switches of all kernels of this process; none is left as it was.

    Args:
        deterministic: Whether only kernels are used that repeat to the bit. Otherwise cuDNN also
            selects kernels by their time, so that two runs may differ.
        tf32: Whether float32 products, convolutions and RNNs on GPUs use TensorFloat-32.
        warn_only: Whether an operation without a deterministic kernel gives a warning instead of an
            error.
    """
    # cuBLAS reads this variable when CUDA starts, so it comes before anything that touches the GPU.
    # Deterministic cuBLAS kernels require it (PyTorch notes on reproducibility).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    # Deterministic mode also fills every fresh tensor with NaN. Results do not depend on
    # uninitialized memory, so this cost is avoided.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # The benchmark selects kernels by time, so its choice may differ between runs.
    torch.backends.cudnn.benchmark = not deterministic
    # Hugging Face reads this at each call; the backward pass of flash attention is not repeatable
    # by default.
    os.environ["FLASH_ATTENTION_DETERMINISTIC"] = str(int(deterministic))
    # Not `fp32_precision`: torch 2.13 itself still reads these two (torch.compile does), and raises
    # an error if the newer names were set. These two set both.
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
