"""Warm slots: worker groups that train one run after another.

Starting a `TorchTrainer` costs 10 to 18 s, mostly process starts. A slot is an actor that starts
one trainer and keeps it; its workers ask the slot's request broker for runs until the pool is
closed. A new worker group starts only when the old one has ended.

Slots are owned by the sweep's driver and end with it. A slot that is killed alone is restarted by
Ray under the same name with an empty broker, and its trial is told that the request is lost.
"""

import random
import threading
import time
import uuid
from pathlib import Path

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError

from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.core.errors import ResourceError
from kinesweep.sweeps.workers.slot_actor import Slot, remove_groups
from kinesweep.sweeps.workers.start_barrier import Gate
from kinesweep.sweeps.workers.worker_slot import LEASE_S, RequestResult, first_line
from kinesweep.training.run_records.task import Task

_RETRY_S = 0.05
_THREADS = 32
"""Threads of a slot actor; every long poll and every report blocks one of them."""
_MARKS = 2**20
"""Range of marks. A mark is a number of bytes of memory that a slot's workers request, a harmless
amount by which their placement group can be recognized."""


class Pool:
    """The slots of a sweep. Must be closed after use.

    Args:
        resources: Resources of one run.
        size: Number of slots; each holds the workers of one run.
        scratch: Folder for files of Ray Train.
    """

    def __init__(self, resources: ResourcesConfig, size: int, scratch: Path) -> None:
        pool = uuid.uuid4().hex[:12]
        remote = ray.remote(num_cpus=0, max_concurrency=_THREADS, max_restarts=-1)(Slot)
        variables: dict[str, str] = {
            # Ray Train's helper actors query the state of the cluster. With several Ray clusters on
            # a machine they would query the latest one. The actors inherit this variable.
            "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
            # The watcher would start one more process per worker group to announce that a node will
            # be reclaimed. A lost worker fails its request at once and loses no checkpoint anyway.
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        }
        # Not the seeded generator of `random`: two sweeps with one seed must get different marks.
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
        """Return a new start barrier, which is closed."""
        return Gate(tuple(self._slots), uuid.uuid4().hex)

    def close(self, timeout_s: float = 20.0) -> None:
        """Let the workers leave, and kill the slots that have not closed in time."""
        # All slots close at the same time, so the timeout applies once and not to each of them.
        waiting = [slot.close.remote() for slot in self._slots]
        ray.wait(waiting, num_returns=len(waiting), timeout=timeout_s)
        for slot, mark in zip(self._slots, self._marks, strict=True):
            # Ray would restart a killed actor otherwise (`max_restarts=-1`).
            ray.kill(slot, no_restart=True)
            remove_groups(mark)


def pack_task(task: Task) -> bytes:
    """Serialize a run for the workers of a slot."""
    return bytes(ray.cloudpickle.dumps(task))


class Client:
    """A client that finds a free slot for a run; picklable, for trials in other processes."""

    def __init__(self, slots: tuple[ActorHandle, ...]) -> None:
        self._slots = slots

    def lease(self, task: bytes) -> "Lease":
        """Wait for a free slot and give it a run.

        Args:
            task: Run as returned by `pack_task`. Only workers unpack it, so trials and slots need
                not import PyTorch.

        Raises:
            ResourceError: If no slot can start its workers.
        """
        token = uuid.uuid4().hex
        while True:
            broken = []
            for slot in self._slots:
                try:
                    answer = ray.get(slot.lease.remote(token, task))
                except RayActorError:
                    continue  # Ray is restarting the slot
                if answer is True:
                    return Lease(slot, token)
                if answer:
                    broken.append(answer)
            # One working slot is enough; it serves all trials in turn.
            if len(broken) == len(self._slots):
                raise ResourceError(f"no workers can be started: {broken[0]}")
            time.sleep(_RETRY_S)


class Lease:
    """A trial's lease of a slot, renewed by a thread for as long as the trial's process lives."""

    def __init__(self, slot: ActorHandle, token: str) -> None:
        self._slot, self._token = slot, token
        self._over = threading.Event()
        threading.Thread(target=self._keep, daemon=True, name="lease").start()

    def next(self) -> dict[str, float] | RequestResult:
        """Wait for the next evaluation or the outcome; the loss of the slot is an outcome."""
        while True:
            try:
                said = ray.get(self._slot.poll.remote(self._token))
                # The slot is restarting or gone; either way its request is lost.
            except RayError as error:
                said = RequestResult("lost", reason=first_line(error))
            if isinstance(said, RequestResult):
                self._over.set()
            if said is not None:
                return said

    def cancel(self) -> None:
        """Give up the run; its workers stop at their next step."""
        if not self._over.is_set():
            self._over.set()
            self._slot.cancel.remote(self._token)

    def _keep(self) -> None:
        """Renew the lease until it ends."""
        # Five renewals per period: a few late ones do not let the lease expire.
        while not self._over.wait(LEASE_S / 5):
            self._slot.renew.remote(self._token)
