"""The main loop of the workers of a warm slot: request a run, train it, submit the result.

Ranks wait by polling and never inside a collective, which would time out. Slots and controllers
import this module to pass its function on, so PyTorch is imported only in the workers.
"""

import threading
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from kinesweep.core.errors import KinesweepError
from kinesweep.core.run_logger import RunLogger, RunStatus
from kinesweep.sweeps.workers.slot_request import CLOSE, RequestResult, format_error_summary
from kinesweep.training.run_records.task import TrainingTask

_POLL_INTERVAL_S = 0.5
"""Interval in seconds at which a worker checks whether its run was canceled."""


def serve_runs(config: dict[str, Any]) -> None:
    """Request and train runs until the slot closes; the main function of each worker.

    Args:
        config: Mapping with `slot`, the handle of the slot actor, and `group`, the name of the
            worker group.

    Raises:
        Exception: If a run raises an error other than a `KinesweepError`; ends the worker group.
    """
    import ray.train

    import kinesweep.training.loop.run  # noqa: F401  # everything is imported before it is exempted
    from kinesweep.training.reproducibility.process_reset import freeze_gc, reset_process_state

    freeze_gc()
    slot, group, last_token = config["slot"], config["group"], ""
    has_trained = False
    rank = ray.train.get_context().get_world_rank()
    while True:
        response = ray.get(slot.take_request.remote(group, rank, last_token))
        if response == CLOSE:
            return
        if response is None:
            continue
        last_token, packed_task = response
        task: TrainingTask = ray.cloudpickle.loads(packed_task)
        try:
            result = _train_task(slot, last_token, task)
        except Exception as error:
            # The slot gets the reason first; raising then ends this group, and the slot starts a
            # new one. Without `fail_request` the request would count as lost and be retried.
            if _is_reproducible_error(error):
                ray.get(slot.fail_request.remote(last_token, format_error_summary(error)))
            raise
        # The process serves many runs: libraries must hold no state of the one that has ended.
        reset_process_state()
        if not has_trained:
            freeze_gc()  # classes of models are imported when a run first uses them
        has_trained = True
        # Submitted last: the slot may be leased again as soon as all ranks have submitted, so each
        # process must be clean by then.
        ray.get(slot.submit_result.remote(last_token, rank, result))


def _train_task(slot: ActorHandle, token: str, task: TrainingTask) -> RequestResult:
    """Train one run and return its result.

    A `KinesweepError` becomes a failed result; all other exceptions are raised.
    """
    from kinesweep.core.collectives import is_rank_zero
    from kinesweep.training.loop.run_callbacks import RunCallbacks

    # Only rank 0 asks and reports; its decisions reach the other ranks through the trainer.
    stop_flag = _StopFlag(slot, token) if is_rank_zero() else None
    try:
        run_logger = (
            _PruneAwareRunLogger(task.open_run_logger(), stop_flag)
            if stop_flag is not None
            else task.open_run_logger()
        )

        def report_evaluation(metrics: dict[str, float]) -> bool:
            return stop_flag is None or bool(ray.get(slot.report_evaluation.remote(token, metrics)))

        should_stop = stop_flag if stop_flag is not None else _never_stop
        result = task.train(run_logger, RunCallbacks(report_evaluation, should_stop))
    except KinesweepError as error:
        return RequestResult("failed", reason=f"{type(error).__name__}: {error}")
    finally:
        # The thread must not ask about this token while the next run is trained.
        if stop_flag is not None:
            stop_flag.close()
    return RequestResult("result", {**result.to_json(), "objectives": result.objective_values})


def _is_reproducible_error(error: Exception) -> bool:
    """Return whether the run is expected to raise the same error again.

    Every error of a run with a single worker counts as reproducible. With several ranks an error
    may only reflect the death of another rank, so only exhausted GPU memory does.
    """
    import ray.train
    import torch

    is_single_worker = ray.train.get_context().get_world_size() == 1
    # Running out of GPU memory repeats in a retry, whichever rank it happens on.
    return is_single_worker or isinstance(error, torch.OutOfMemoryError)


def _never_stop() -> bool:
    """Return False; the stop condition of ranks other than 0, which follow rank 0."""
    return False


class _StopFlag:
    """A callable that returns whether the run of a request should stop; see `get_stop_reason`.

    A thread, started on creation, polls the slot until `close`, so the call costs nothing.
    """

    def __init__(self, slot: ActorHandle, token: str) -> None:
        self.reason = ""
        self._fetch_reason: Callable[[], str] = lambda: ray.get(slot.get_stop_reason.remote(token))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll_slot, daemon=True, name="stop flag")
        self._thread.start()

    def __call__(self) -> bool:
        return bool(self.reason)

    def get_reason(self) -> str:
        """Return the stop reason, or an empty string; asks the slot if no reason is known yet."""
        if not self.reason:
            self._update_reason()
        return self.reason

    def close(self) -> None:
        """Stop the polling thread and wait for its end."""
        self._closed.set()
        self._thread.join()

    def _poll_slot(self) -> None:
        """Poll the slot until there is a reason to stop or the flag is closed."""
        while not self.reason and not self._closed.wait(_POLL_INTERVAL_S):
            self._update_reason()

    def _update_reason(self) -> None:
        """Ask the slot for a stop reason once; if the slot is gone, the reason is `lost`."""
        try:
            self.reason = self._fetch_reason()
        except RayError:
            # No slot means that no trial waits for this run any more.
            self.reason = "lost"


class _PruneAwareRunLogger:
    """A run logger that forwards to another one and ends the run of a pruned trial as pruned."""

    def __init__(self, run_logger: RunLogger, stop_flag: _StopFlag) -> None:
        self._run_logger, self._stop_flag = run_logger, stop_flag
        self.log_params, self.log_metrics = run_logger.log_params, run_logger.log_metrics
        self.log_artifact, self.log_dataset = run_logger.log_artifact, run_logger.log_dataset
        self.count_pending_records = run_logger.count_pending_records

    def finish(self, status: RunStatus) -> None:
        """End the run; the status `stopped` becomes `pruned` if the trial was pruned."""
        # The run may stop at a report before the thread has polled, hence `get_reason`.
        is_pruned = status == "stopped" and self._stop_flag.get_reason() == "pruned"
        self._run_logger.finish("pruned" if is_pruned else status)
