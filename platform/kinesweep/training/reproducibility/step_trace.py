"""Trace of a run, so that a repetition can be compared with it step by step.

`start.json` holds the digest of every tensor before the first step and the settings that change
bits. With a trace, `metrics.jsonl` has a line for every step. The trace does not change what the
run computes.
"""

import hashlib
import os
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from kinesweep.core.io import write_json
from kinesweep.models.translator import Translator
from kinesweep.training.run_records.run_identity import START_FILE, get_processor_name

# Environment variables that select kernels or thread counts; no others are recorded.
_RECORDED_ENV_VARS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA"),
)


def write_start_trace(folder: Path, model: Translator, on_gpu: bool) -> None:
    """Write the tensor digests and process settings before the first step to `start.json`.

    Args:
        folder: Run folder.
        model: Model with its initial weights.
        on_gpu: Whether the run uses a GPU.
    """
    trace = {"tensors": compute_tensor_digests(model), "settings": collect_process_settings(on_gpu)}
    write_json(folder / START_FILE, trace)


def compute_tensor_digests(model: Translator) -> dict[str, str]:
    """Compute a digest of each tensor of a model.

    Returns:
        Name of the tensor → SHA-256 of its type, shape and bytes, sorted by name.
    """
    return {
        name: _compute_tensor_digest(tensor) for name, tensor in sorted(model.state_dict().items())
    }


def collect_process_settings(on_gpu: bool) -> dict[str, Any]:
    """Collect the processor, threads, kernel settings and package versions of this process.

    These are the settings that may change the results of a run.

    Args:
        on_gpu: Whether the run uses a GPU, which is then recorded as the processor.

    Returns:
        Name of the setting → value, plain values only. Packages are named `package NAME`, and
        environment variables `$NAME`.
    """
    cuda_matmul = torch.backends.cuda.matmul
    packages = {
        f"package {distribution.metadata['Name']}": distribution.version
        for distribution in distributions()
    }
    return {
        "processor": get_processor_name(on_gpu),
        # The cores that this process may use, which can be fewer than the machine has.
        "cores": len(os.sched_getaffinity(0)),
        "torch threads": torch.get_num_threads(),
        "torch threads between operators": torch.get_num_interop_threads(),
        "deterministic kernels": torch.are_deterministic_algorithms_enabled(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "tf32": bool(cuda_matmul.allow_tf32),
        "mkldnn": torch.backends.mkldnn.is_available(),
        **{f"${name}": os.environ.get(name, "") for name in _RECORDED_ENV_VARS},
        **dict(sorted(packages.items())),
    }


def _compute_tensor_digest(tensor: torch.Tensor) -> str:
    """Compute the SHA-256 of the type, shape and bytes of a tensor, as hexadecimal digits."""
    cpu_tensor = tensor.detach().cpu().contiguous()
    # Equal bytes of another dtype or shape must not give the same digest.
    digest = hashlib.sha256(f"{cpu_tensor.dtype}|{tuple(cpu_tensor.shape)}|".encode())
    # NumPy has no bfloat16, so the tensor is read as bytes.
    digest.update(cpu_tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
