"""Warm slots: worker groups that train one run after another.

Starting a `TorchTrainer` costs 10 to 18 s, mostly process starts. A slot is an actor that starts
one and keeps it; its workers ask the slot's desk for runs until the pool is closed. A fresh group
comes only when the old one is gone.

Slots belong to the sweep's driver and die with it. One that is killed alone is started again by Ray
under the same name, with an empty desk; its trial is told that the request is lost.
"""

import random
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError
from ray.train.torch import TorchTrainer
from ray.util.placement_group import PlacementGroup, PlacementGroupID, remove_placement_group

from kinesweep.core.errors import ResourceError
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.sweeps.gate import Gate
from kinesweep.sweeps.lease import LEASE_S, Desk, Outcome
from kinesweep.sweeps.serve import first_line, serve_runs
from kinesweep.training.distributed import Task, worker_group

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

    def gate(self) -> Gate:
        """A gate that is not open yet."""
        return Gate(tuple(self._slots), uuid.uuid4().hex)

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
                said = Outcome("lost", reason=first_line(error))
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
        self._open_gates: set[str] = set()
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

    def fail(self, token: str, reason: str) -> None:
        self._desk.fail(token, reason)

    def open_gate(self, name: str) -> None:
        self._open_gates.add(name)

    def is_gate_open(self, name: str) -> bool:
        return name in self._open_gates

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
            serve_runs,
            train_loop_config={"slot": self._me, "group": group},
            run_config=ray.train.RunConfig(
                name=f"{self._name}-{group}-{uuid.uuid4().hex[:8]}", storage_path=self._scratch
            ),
            **worker_group(self._resources, self._mark),
        )
        try:
            trainer.fit()
        except Exception as error:
            return first_line(error)
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
