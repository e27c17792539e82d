"""The workers of a warm slot: they ask its desk for runs, train them, and stop when they are told.

Ranks wait by asking again and again, never inside of a collective, which would time out. Slots and
controllers import this module to hand its function on; what trains is imported in the workers.
"""

import threading
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

from kinesweep.core.errors import KinesweepError
from kinesweep.core.runlog import RunLog, RunStatus
from kinesweep.sweeps.lease import CLOSE, Outcome, first_line
from kinesweep.training.task import Task

_ASK_S = 0.5
"""How often a worker asks whether its run was given up."""


def serve_runs(config: dict[str, Any]) -> None:
    """Ask for runs and train them until told to close; body of each worker."""
    import ray.train

    import kinesweep.training.run  # noqa: F401  # all that trains, before it is exempted
    from kinesweep.training.reuse import exempt_imports, reset_process

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
            if _is_its_own(error):
                ray.get(slot.fail.remote(seen, first_line(error)))
            raise
        reset_process()
        if not trained:
            exempt_imports()  # classes of models are imported when a run first uses them
        trained = True
        ray.get(slot.answer.remote(seen, rank, outcome))


def _train(slot: ActorHandle, token: str, task: Task) -> Outcome:
    """Train one run. An error for people is an outcome; a defect ends the worker group."""
    from kinesweep.training.ranks import is_first
    from kinesweep.training.run import train_run

    stop = _StopFlag(slot, token) if is_first() else None
    try:
        log = _Log(task.log(), stop) if stop is not None else task.log()

        def report(metrics: dict[str, float]) -> bool:
            return stop is None or bool(ray.get(slot.report.remote(token, metrics)))

        result = train_run(task.spec(), log, report, stop if stop is not None else _never)
    except KinesweepError as error:
        return Outcome("failed", reason=f"{type(error).__name__}: {error}")
    finally:
        if stop is not None:
            stop.end()
    return Outcome("result", {**result.to_json(), "objectives": result.objectives})


def _is_its_own(error: Exception) -> bool:
    """Whether the run itself raised it and would again; of several ranks, one may have died."""
    import ray.train
    import torch

    alone = ray.train.get_context().get_world_size() == 1
    return alone or isinstance(error, torch.OutOfMemoryError)


def _never() -> bool:
    return False


class _StopFlag:
    """Whether a run was given up: asked of the slot by a thread, read between steps for nothing."""

    def __init__(self, slot: ActorHandle, token: str) -> None:
        self.reason = ""
        self._ask: Callable[[], str] = lambda: ray.get(slot.stop_reason.remote(token))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="stop flag")
        self._thread.start()

    def __call__(self) -> bool:
        return bool(self.reason)

    def settle(self) -> str:
        """The reason as it is now."""
        if not self.reason:
            self._update()
        return self.reason

    def end(self) -> None:
        """Asks no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self.reason and not self._ended.wait(_ASK_S):
            self._update()

    def _update(self) -> None:
        try:
            self.reason = self._ask()
        except RayError:
            self.reason = "lost"


class _Log:
    """A run's log that calls a run that was pruned by its name."""

    def __init__(self, log: RunLog, stop: _StopFlag) -> None:
        self._log, self._stop = log, stop
        self.params, self.metrics = log.params, log.metrics
        self.artifact, self.dataset, self.waiting = log.artifact, log.dataset, log.waiting

    def finish(self, status: RunStatus) -> None:
        """Ends the record."""
        pruned = status == "stopped" and self._stop.settle() == "pruned"
        self._log.finish("pruned" if pruned else status)
