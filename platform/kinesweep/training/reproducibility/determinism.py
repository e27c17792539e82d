"""Process settings that two runs must share to produce the same bits.

Seeds are set before tokenizer and model are created, and only deterministic kernels are used. The
number of threads is fixed, because another number sums in another order. The settings apply to the
whole process and remain after the run.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers.utils import logging

from kinesweep.config.recipe.resources import PerformanceConfig, ResourcesConfig
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.core.errors import ResourceError
from kinesweep.core.seeds import derive_seed, seed_everything
from kinesweep.core.system.devices import select_device
from kinesweep.core.system.kernels import configure_kernels


def configure_process(
    training: TrainingConfig,
    resources: ResourcesConfig,
    performance: PerformanceConfig | None = None,
) -> torch.device:
    """Set the seeds, threads and deterministic kernels of this process for a run.

    Args:
        training: The `training` section, with the seed and the precision.
        resources: The `resources` section, with the numbers of CPUs and GPUs.
        performance: The `performance` section, for training; None: its defaults.

    Returns:
        Device on which the model belongs.

    Raises:
        ResourceError: If a GPU is requested but none is available, or for fp16 without a GPU.
    """
    if training.precision == "fp16" and resources.gpus == 0:
        raise ResourceError(
            "`training.precision: fp16` needs a GPU; on the CPU use `bf16` or `fp32`"
        )
    performance = performance or PerformanceConfig()
    device = configure_determinism(training.seed, resources.cpus, resources.gpus)
    configure_kernels(performance.deterministic, performance.tf32)
    return device


def configure_determinism(seed: int, cpus: int, gpus: float) -> torch.device:
    """Seed the random generators, set the threads, and enable deterministic algorithms.

    Messages and progress bars of transformers are switched off too.

    Args:
        seed: Random seed for Python, NumPy and PyTorch.
        cpus: Number of threads of PyTorch's operators.
        gpus: Number of GPUs, or a fraction of one; 0 selects the CPU.

    Returns:
        Device on which the model belongs.

    Raises:
        ResourceError: If a GPU is requested but none is available.
    """
    # First, because cuBLAS reads its setting when the check of the device starts CUDA.
    configure_kernels()
    device = select_device(
        "cuda" if gpus > 0 else "cpu",
        f"`resources.gpus` is {gpus:g}; set it to 0 to train on the CPU",
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(cpus)
    seed_everything(seed)
    return device


def seed_dropout(seed: int, rank: int) -> None:
    """Seed PyTorch's generators so that each rank draws its own dropout noise.

    Call this function after all ranks have built identical models from the same seed.

    Args:
        seed: Random seed of the run.
        rank: Rank of this process.
    """
    torch.manual_seed(derive_seed(seed, "dropout", rank))


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore the state of the CPU random generator at the end of the `with` block.

    Starting a PyTorch data loader draws a number from this generator.
    """
    with torch.random.fork_rng(devices=[]):
        yield
