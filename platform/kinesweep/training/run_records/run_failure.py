"""Failures of runs as errors for people: a diverged loss, exhausted memory, workers that died.

`train_run` returns a diverged run as a result with the status `failed`, because a sweep goes on
with its other trials. Wherever a single run was asked for, its failure is an error instead: a
result that nobody looks at would pass for success.
"""

from collections.abc import Callable

from kinesweep.core.errors import ResourceError, TrainingError, format_one_line
from kinesweep.training.run_records.result import RunResult

# PyTorch's allocator on the CPU raises a plain `RuntimeError`; this is a part of its message.
_CPU_ALLOCATION_ERROR = "DefaultCPUAllocator"


def train_or_raise(train: Callable[[], RunResult], learning_rate: float) -> RunResult:
    """Train a run with a function and return its result, or raise an error if the run failed.

    Args:
        train: Function that trains the run.
        learning_rate: `training.learning_rate` of the run, for the message.

    Raises:
        ResourceError: If the memory of the machine or of the GPU was exhausted.
        TrainingError: If the run diverged.
        Exception: If `train` raises another error.
    """
    try:
        result = train()
    except Exception as error:
        if is_memory_error(error):
            raise make_memory_error(error) from None
        raise
    raise_if_failed(result, learning_rate)
    return result


def raise_if_failed(result: RunResult, learning_rate: float) -> None:
    """Raise an error that says why a run failed; do nothing if it did not.

    Args:
        result: Result of the run.
        learning_rate: `training.learning_rate` of the run, for the message.

    Raises:
        TrainingError: If the status of the run is `failed`.
    """
    if result.status != "failed":
        return
    best = "" if result.best_step is None else f" (the best one was at step {result.best_step})"
    raise TrainingError(
        f"the run in `{result.folder}` diverged: the scores of the evaluation after {result.step}"
        f" steps{best} are not finite numbers. Lower"
        f" `training.learning_rate` ({learning_rate:g}), raise `training.warmup_steps` or lower"
        " `training.max_grad_norm`; `metrics.jsonl` in the folder shows the loss of each step. To"
        " train the same settings again, pass `--overwrite`"
    )


def is_memory_error(error: Exception) -> bool:
    """Return whether an error says that the memory of the machine or of a GPU is exhausted."""
    # By name: this module is imported without PyTorch, whose error is a `RuntimeError`.
    is_gpu_error = type(error).__name__ == "OutOfMemoryError"
    return is_gpu_error or isinstance(error, MemoryError) or _CPU_ALLOCATION_ERROR in str(error)


def make_memory_error(error: Exception) -> ResourceError:
    """Make the error for a run that exhausted the memory, with the settings to change."""
    return ResourceError(
        f"the memory is exhausted ({format_one_line(error) or type(error).__name__}); lower"
        " `batch.max_frames` or `batch.batch_size` (raise `training.gradient_accumulation_steps` to"
        " keep the size of a step), in evaluations `evaluation.max_frames`, or limit the longest"
        " clips with `batch.max_clip_frames`"
    )
