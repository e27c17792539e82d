"""What a run writes down so that a repetition can be compared with it step by step.

`start.json` holds the digest of every tensor before the first step and the settings that change
bits; `metrics.jsonl` then has a line for every step. Neither changes what the run computes.
"""

import hashlib
import os
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from kinesweep.core.recipe import Recipe
from kinesweep.models.translator import Translator
from kinesweep.training.files import write_json
from kinesweep.training.identity import START, processor

_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA"),
)
"""Environment variables that choose kernels or threads; no other is recorded."""


def write_start(folder: Path, recipe: Recipe, model: Translator) -> None:
    """Writes `start.json` of a run that is about to take its first step."""
    plain = {"tensors": tensor_digests(model), "settings": settings(recipe)}
    write_json(folder / START, plain)


def tensor_digests(model: Translator) -> dict[str, str]:
    """Name → SHA-256 of a tensor's type, shape and bytes."""
    return {name: _digest(tensor) for name, tensor in sorted(model.state_dict().items())}


def settings(recipe: Recipe) -> dict[str, Any]:
    """Libraries, threads and processor of this process, by name."""
    cuda = torch.backends.cuda.matmul
    packages = {f"package {d.metadata['Name']}": d.version for d in distributions()}
    return {
        "processor": processor(recipe.resources.gpus > 0),
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
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{plain.dtype}|{tuple(plain.shape)}|".encode())
    digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
