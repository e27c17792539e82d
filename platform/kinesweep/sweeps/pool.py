"""Warm slots: worker groups that train one run after another.

Starting a `TorchTrainer` costs 10 to 18 s, mostly process starts. A slot is an actor that starts
one and keeps it; its workers ask the slot's desk for runs until the pool is closed. A fresh group
comes only when the old one is gone, or when a run needs other workers. Ranks wait by asking again
and again, never inside of a collective, which would time out.

Slots belong to the sweep's driver and die with it. One that is killed alone is started again by Ray
under the same name, with an empty desk; its trial is told that the request is lost.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError
from ray.train.torch import TorchTrainer
from ray.util.placement_group import PlacementGroup, PlacementGroupID, remove_placement_group

from kinesweep.core.errors import KinesweepError, ResourceError
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.core.runlog import RunLog, RunStatus
from kinesweep.sweeps.lease import CLOSE, LEASE_S, Desk, Outcome
from kinesweep.training.distributed import Task, worker_group
from kinesweep.training.ranks import is_first
from kinesweep.training.reuse import reset_process
from kinesweep.training.run import train_run

_ASK_S = 0.5
"""How often a worker asks whether its run was given up."""
_RETRY_S = 0.05
_THREADS = 32
_MOST_FAILED_STARTS = 3
_MARKS = 2**20
"""Each slot's workers ask for a number of bytes of their own, by which their group is known."""


class Pool:
    """The slots of a sweep; to be closed.

    Args:
        resources: of one run.
        size: slots, each with the workers of one run.
        scratch: for Ray Train's own files.
    """

    def __init__(self, resources: ResourcesConfig, size: int, scratch: Path) -> None:
        pool = uuid.uuid4().hex[:12]
        remote = ray.remote(num_cpus=0, max_concurrency=_THREADS, max_restarts=-1)(_Slot)
        # Ray Train's helpers ask for the cluster's state, and of several Rays on a machine they
        # would ask the latest. Its actors inherit this.
        address = {"env_vars": {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}}
        first = 1 + random.SystemRandom().randrange(_MARKS)
        self._marks = range(first, first + size)
        self._slots = [
            remote.options(name=f"kinesweep-{pool}-{mark}", runtime_env=address).remote(
                resources.model_dump(), str(scratch), f"{pool}-{mark}", mark
            )
            for mark in self._marks
        ]
        self.size = size
        self.client = Client(tuple(self._slots))

    def close(self, timeout_s: float = 20.0) -> None:
        """Lets the workers leave, and ends who does not."""
        waiting = [slot.close.remote() for slot in self._slots]
        ray.wait(waiting, num_returns=len(waiting), timeout=timeout_s)
        for slot, mark in zip(self._slots, self._marks, strict=True):
            ray.kill(slot, no_restart=True)
            _remove_groups(mark)


class Client:
    """Finds a free slot for a run; picklable, for trials in other processes."""

    def __init__(self, slots: tuple[ActorHandle, ...]) -> None:
        self._slots = slots

    def lease(self, task: Task) -> "Lease":
        """Waits for a slot and hands it a run.

        Raises:
            ResourceError: no slot can start its workers.
        """
        token = uuid.uuid4().hex
        while True:
            broken = []
            for slot in self._slots:
                try:
                    answer = ray.get(slot.lease.remote(token, task))
                except RayActorError:
                    continue  # it is being started again
                if answer is True:
                    return Lease(slot, token)
                if answer:
                    broken.append(answer)
            if len(broken) == len(self._slots):
                raise ResourceError(f"no workers can be started: {broken[0]}")
            time.sleep(_RETRY_S)


class Lease:
    """A slot in the hands of one trial, renewed by a thread for as long as the trial lives."""

    def __init__(self, slot: ActorHandle, token: str) -> None:
        self._slot, self._token = slot, token
        self._over = threading.Event()
        threading.Thread(target=self._keep, daemon=True, name="lease").start()

    def next(self) -> dict[str, float] | Outcome:
        """The next evaluation, or the outcome; waits. A lost slot is an outcome too."""
        while True:
            try:
                said = ray.get(self._slot.poll.remote(self._token))
            except RayError as error:
                said = Outcome("lost", reason=_first_line(error))
            if isinstance(said, Outcome):
                self._over.set()
            if said is not None:
                return said

    def cancel(self) -> None:
        """Gives the run up; its workers stop at their next step."""
        if not self._over.is_set():
            self._over.set()
            self._slot.cancel.remote(self._token)

    def _keep(self) -> None:
        while not self._over.wait(LEASE_S / 5):
            self._slot.renew.remote(self._token)


class _Slot:
    """The actor: a desk, and a thread that keeps a worker group going."""

    def __init__(self, resources: dict[str, Any], scratch: str, name: str, mark: int) -> None:
        self._resources = ResourcesConfig.model_validate(resources)
        self._scratch, self._name, self._mark = scratch, name, mark
        self._desk = Desk(self._resources.workers)
        self._me = ray.get_runtime_context().current_actor
        self._broken = ""
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_group, daemon=True)
        self._keeper.start()

    def lease(self, token: str, task: Task) -> bool | str:
        return self._broken or self._desk.lease(token, task)

    def poll(self, token: str) -> dict[str, float] | Outcome | None:
        return self._desk.poll(token)

    def renew(self, token: str) -> None:
        self._desk.renew(token)

    def cancel(self, token: str) -> None:
        self._desk.cancel(token)

    def take(self, group: str, rank: int, seen: str) -> tuple[str, Any] | str | None:
        return self._desk.take(group, rank, seen)

    def report(self, token: str, metrics: Mapping[str, float]) -> bool:
        return self._desk.report(token, metrics)

    def stop_reason(self, token: str) -> str:
        return self._desk.stop_reason(token)

    def answer(self, token: str, rank: int, outcome: Outcome) -> None:
        self._desk.answer(token, rank, outcome)

    def close(self) -> None:
        self._closing.set()
        self._desk.close()
        self._keeper.join()

    def _keep_group(self) -> None:
        """Starts a worker group, and another one whenever it is gone."""
        failed_starts = 0
        while not self._closing.is_set():
            _remove_groups(self._mark)
            group = self._desk.open_group()
            reason = self._serve(group)
            came = self._desk.group_ended(group, reason)
            failed_starts = 0 if came else failed_starts + 1
            if failed_starts >= _MOST_FAILED_STARTS:
                self._broken = reason
                return

    def _serve(self, group: str) -> str:
        """One worker group from start to end. Returns why it ended."""
        trainer = TorchTrainer(
            _serve_runs,
            train_loop_config={"slot": self._me, "group": group},
            run_config=ray.train.RunConfig(
                name=f"{self._name}-{group}-{uuid.uuid4().hex[:8]}", storage_path=self._scratch
            ),
            **worker_group(self._resources, self._mark),
        )
        try:
            trainer.fit()
        except Exception as error:
            return _first_line(error)
        return "its workers left"


def _remove_groups(mark: int) -> None:
    """Removes placement groups that a slot before this one has left.

    Ray Train removes its placement group, or has it removed when its controller is killed, but only
    once all workers have started.
    """
    for name, group in ray.util.placement_group_table().items():
        marked = any(bundle.get("memory") == mark for bundle in group["bundles"].values())
        if marked and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))


def _serve_runs(config: dict[str, Any]) -> None:
    """Body of each worker: asks for runs until it is told to close."""
    slot, group, seen = config["slot"], config["group"], ""
    rank = ray.train.get_context().get_world_rank()
    while True:
        asked = ray.get(slot.take.remote(group, rank, seen))
        if asked == CLOSE:
            return
        if asked is None:
            continue
        seen, task = asked
        outcome = _train(slot, seen, task)
        reset_process()
        ray.get(slot.answer.remote(seen, rank, outcome))


def _train(slot: ActorHandle, token: str, task: Task) -> Outcome:
    """One run. What people can mend is an outcome; a defect ends the worker group."""
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
        self.artifact, self.dataset = log.artifact, log.dataset

    def finish(self, status: RunStatus) -> None:
        """Ends the record."""
        pruned = status == "stopped" and self._stop.settle() == "pruned"
        self._log.finish("pruned" if pruned else status)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
