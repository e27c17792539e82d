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
from pathlib import Path

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError

from kinesweep.core.errors import ResourceError
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.sweeps.gate import Gate
from kinesweep.sweeps.lease import LEASE_S, Outcome, first_line
from kinesweep.sweeps.slot import Slot, remove_groups
from kinesweep.training.task import Task

_RETRY_S = 0.05
_THREADS = 32
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
        remote = ray.remote(num_cpus=0, max_concurrency=_THREADS, max_restarts=-1)(Slot)
        variables: dict[str, str] = {
            # Ray Train's helpers ask for the cluster's state, and of several Rays on a machine they
            # would ask the latest. Its actors inherit this.
            "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
            # It would start one more process for each worker group, for a notice that a node will
            # be reclaimed; a worker that is gone fails its request at once and loses no checkpoint.
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        }
        first = 1 + random.SystemRandom().randrange(_MARKS)
        self._marks = range(first, first + size)
        self._slots = [
            remote.options(
                name=f"kinesweep-{pool}-{mark}", runtime_env={"env_vars": variables}
            ).remote(resources.model_dump(), str(scratch), f"{pool}-{mark}", mark)
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
            remove_groups(mark)


def pack_task(task: Task) -> bytes:
    """Serialize a run for the workers of a slot."""
    return bytes(ray.cloudpickle.dumps(task))


class Client:
    """Finds a free slot for a run; picklable, for trials in other processes."""

    def __init__(self, slots: tuple[ActorHandle, ...]) -> None:
        self._slots = slots

    def lease(self, task: bytes) -> "Lease":
        """Wait for a slot and hand it a run.

        Args:
            task: The run as `pack_task` returns it. Only workers unpack it, so that trials and
                slots do not import what it is made of.

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
