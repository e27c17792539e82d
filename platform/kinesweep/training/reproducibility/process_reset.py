"""Reuse of one process for many runs: fast garbage collection, and a reset between two runs.

The reset covers the state that a run leaves in torch and accelerate. Seeds, threads and kernels are
not reset, because each run sets them itself. The process group stays, because its ranks serve many
runs.
"""

import gc

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState


def freeze_gc() -> None:
    """Exclude all existing objects from garbage collection, to make later collections fast.

    The Trainer collects garbage after each run, and Python does so during runs. Searching the half
    a million objects of torch and transformers takes 0.2 s or more each time and finds nothing.
    Call this function after all modules are imported and before a run creates objects.
    """
    gc.freeze()


def reset_process_state() -> None:
    """Reset the process-wide state that the previous run left, and free its memory."""
    # These classes hold process-wide state; a second Trainer would inherit that of the first one.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    PartialState._reset_state()
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    # Collect first: Trainer and model form reference cycles, and `empty_cache` returns only freed
    # memory to the device.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
