"""Makes a process as good as new between two runs.

What a run leaves behind in torch, accelerate and transformers is put back; what it sets itself
(seeds, threads, kernels) it sets again. The process group stays: its ranks serve many runs.
"""

import gc

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState


def exempt_imports() -> None:
    """Exempt all objects that exist by now from garbage collection.

    The Trainer collects garbage after each run, and Python between. Searching the half a million
    objects of torch and transformers takes 0.2 s or more each time and finds nothing. To be called
    when everything is imported and no run has left anything.
    """
    gc.freeze()


def reset_process() -> None:
    """Forgets the last run."""
    AcceleratorState._reset_state()
    GradientState._reset_state()
    PartialState._reset_state()
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
