"""The loop of a warm slot's workers: request a run, train it, stop when told to.

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
from kinesweep.sweeps.workers.worker_slot import CLOSE, RequestResult, first_line
from kinesweep.training.run_records.task import Task

_ASK_S = 0.5
"""Interval in seconds at which a worker asks whether its run was cancelled."""


def serve_runs(config: dict[str, Any]) -> None:
    """Request and train runs until told to close; the main function of each worker.

    Args:
        config: `slot`: handle of the slot actor; `group`: name of the worker group.
    """
    import ray.train

    import kinesweep.training.loop.run  # noqa: F401  # everything is imported before it is exempted
    from kinesweep.training.reproducibility.process_reset import exempt_imports, reset_process

    exempt_imports()
    slot, group, seen = config["slot"], config["group"], ""
    trained = False
    rank = ray.train.get_context().get_world_rank()
    while True:
        asked = ray.get(slot.take.remote(group, rank, seen))
        if asked == CLOSE:
            return
        if asked is None:
            continue
        seen, packed = asked
        task: Task = ray.cloudpickle.loads(packed)
        try:
            outcome = _train(slot, seen, task)
        except Exception as error:
            # The slot learns the reason first; raising then ends this group, and the slot starts a
            # new one. Without `fail` the request would count as lost and be retried.
            if _is_its_own(error):
                ray.get(slot.fail.remote(seen, first_line(error)))
            raise
        # The process serves many runs: libraries must hold no state of the one that has ended.
        reset_process()
        if not trained:
            exempt_imports()  # classes of models are imported when a run first uses them
        trained = True
        # Answered last: the slot may be leased again as soon as all ranks have answered, so each
        # process must be clean by then.
        ray.get(slot.answer.remote(seen, rank, outcome))


def _train(slot: ActorHandle, token: str, task: Task) -> RequestResult:
    """Train one run. Errors for users become an outcome; all others end the worker group."""
    from kinesweep.core.collectives import is_rank_zero
    from kinesweep.training.loop.run import train_run

    # Only rank 0 asks and reports; its decisions reach the other ranks through the trainer.
    stop = _StopFlag(slot, token) if is_rank_zero() else None
    try:
        log = _Log(task.log(), stop) if stop is not None else task.log()

        def report(metrics: dict[str, float]) -> bool:
            return stop is None or bool(ray.get(slot.report.remote(token, metrics)))

        result = train_run(task.spec(), log, report, stop if stop is not None else _never)
    except KinesweepError as error:
        return RequestResult("failed", reason=f"{type(error).__name__}: {error}")
    finally:
        # The thread must not ask about this token while the next run is trained.
        if stop is not None:
            stop.end()
    return RequestResult("result", {**result.to_json(), "objectives": result.objectives})


def _is_its_own(error: Exception) -> bool:
    """Return whether the run would raise the same error again.

    With several ranks an error may only reflect the death of another rank.
    """
    import ray.train
    import torch

    alone = ray.train.get_context().get_world_size() == 1
    # Running out of GPU memory repeats in a retry, whichever rank it happens on.
    return alone or isinstance(error, torch.OutOfMemoryError)


def _never() -> bool:
    """Return False; ranks other than 0 follow rank 0's decision."""
    return False


class _StopFlag:
    """A flag for cancelled runs: a thread asks the slot, and reading it between steps is free."""

    def __init__(self, slot: ActorHandle, token: str) -> None:
        self.reason = ""
        self._ask: Callable[[], str] = lambda: ray.get(slot.stop_reason.remote(token))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="stop flag")
        self._thread.start()

    def __call__(self) -> bool:
        return bool(self.reason)

    def settle(self) -> str:
        """Return the current reason, asking the slot if none is known yet."""
        if not self.reason:
            self._update()
        return self.reason

    def end(self) -> None:
        """Stop prompt_settings."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        """Ask at intervals until there is a reason to stop or the run has ended."""
        while not self.reason and not self._ended.wait(_ASK_S):
            self._update()

    def _update(self) -> None:
        """Ask the slot once; a slot that is gone counts as the reason `lost`."""
        try:
            self.reason = self._ask()
        except RayError:
            # No slot means that no trial waits for this run any more.
            self.reason = "lost"


class _Log:
    """A run log that records a stopped run as pruned if its trial was pruned."""

    def __init__(self, log: RunLogger, stop: _StopFlag) -> None:
        self._log, self._stop = log, stop
        self.params, self.metrics = log.params, log.metrics
        self.artifact, self.dataset, self.num_pending = log.artifact, log.dataset, log.num_pending

    def finish(self, status: RunStatus) -> None:
        """Finish the log; `stopped` becomes `pruned` where that is the reason."""
        # The run may stop on a report before the thread has asked, hence `settle`.
        pruned = status == "stopped" and self._stop.settle() == "pruned"
        self._log.finish("pruned" if pruned else status)
