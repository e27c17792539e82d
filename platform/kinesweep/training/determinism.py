"""Everything that must stand still for two runs to give the same bits.

Seeds are set before the tokenizer and the model are made; kernels are the deterministic ones;
threads are pinned, because another count sums in another order. The settings are the process's and
stay after the run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers.utils import logging

from kinesweep.core.errors import ResourceError
from kinesweep.core.recipe import Recipe
from kinesweep.core.seeds import derive_seed, seed_everything


def pin_process(recipe: Recipe) -> torch.device:
    """Seeds, threads and kernels of this process; returns where the model goes.

    Raises:
        ResourceError: a GPU is asked for and there is none, or fp16 without one.
    """
    if recipe.training.precision == "fp16" and recipe.resources.gpus == 0:
        raise ResourceError(
            "`training.precision: fp16` needs a GPU; on the CPU use `bf16` or `fp32`"
        )
    return pin(recipe.training.seed, recipe.resources.cpus, recipe.resources.gpus)


def pin(seed: int, cpus: int, gpus: float) -> torch.device:
    """The same for any training: what it is seeded with, its threads, its GPUs or share of one.

    Raises:
        ResourceError: a GPU is asked for and there is none.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    device = _device(gpus)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    # Deterministic mode would also write NaN into every fresh tensor; our results do not read them.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(cpus)
    seed_everything(seed)
    return device


def pin_threads(recipe: Recipe) -> None:
    """As many threads as `resources.cpus`; accelerate sets its own number on the way."""
    torch.set_num_threads(recipe.resources.cpus)


def seed_dropout(seed: int, rank: int) -> None:
    """Gives each rank noise of its own, once the model is built alike on all of them."""
    torch.manual_seed(derive_seed(seed, "dropout", rank))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts the CPU's generator back afterwards: opening a torch loader draws a number from it."""
    with torch.random.fork_rng(devices=[]):
        yield


def _device(gpus: float) -> torch.device:
    if gpus > 0 and not torch.cuda.is_available():
        raise ResourceError(
            f"`resources.gpus` is {gpus:g}, but this process sees no CUDA device;"
            " set it to 0 to train on the CPU"
        )
    return torch.device("cuda" if gpus > 0 else "cpu")
