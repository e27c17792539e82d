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

from kinesweep.config.recipe import Recipe
from kinesweep.core.io import write_json
from kinesweep.models.translator import Translator
from kinesweep.training.run_records.run_identity import START, processor

# Environment variables that select kernels or thread counts; no others are recorded.
_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA"),
)


def write_start(folder: Path, recipe: Recipe, model: Translator) -> None:
    """Write `start.json` of a run that is about to take its first step."""
    plain = {"tensors": tensor_digests(model), "settings": settings(recipe)}
    write_json(folder / START, plain)


def tensor_digests(model: Translator) -> dict[str, str]:
    """Return the SHA-256 of each tensor's type, shape and bytes, by name."""
    return {name: _digest(tensor) for name, tensor in sorted(model.state_dict().items())}


def settings(recipe: Recipe) -> dict[str, Any]:
    """Return libraries, threads and processor of this process, by name."""
    cuda = torch.backends.cuda.matmul
    packages = {f"package {d.metadata['Name']}": d.version for d in distributions()}
    return {
        "processor": processor(recipe.resources.gpus > 0),
        # The cores that this process may use, which can be fewer than the machine has.
        "cores": len(os.sched_getaffinity(0)),
        "torch threads": torch.get_num_threads(),
        "torch threads between operators": torch.get_num_interop_threads(),
        "deterministic kernels": torch.are_deterministic_algorithms_enabled(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "tf32": bool(cuda.allow_tf32),
        "mkldnn": torch.backends.mkldnn.is_available(),
        **{f"${name}": os.environ.get(name, "") for name in _VARIABLES},
        **dict(sorted(packages.items())),
    }


def _digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of a tensor's type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{plain.dtype}|{tuple(plain.shape)}|".encode())
    # NumPy has no bfloat16, so the tensor is read as bytes.
    digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
