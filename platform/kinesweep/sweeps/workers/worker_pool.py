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

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.errors import ResourceError
from kinesweep.sweeps.workers.request_broker import LEASE_S
from kinesweep.sweeps.workers.slot_actor import SlotActor, remove_leftover_groups
from kinesweep.sweeps.workers.slot_request import RequestResult, format_error_summary
from kinesweep.sweeps.workers.start_barrier import StartBarrier
from kinesweep.training.run_records.task import TrainingTask

_LEASE_RETRY_S = 0.05
"""Seconds between two attempts to lease a slot."""
_NUM_ACTOR_THREADS = 32
"""Number of threads of a slot actor; every long poll and every report blocks one of them."""
_MAX_MEMORY_TAG_BYTES = 2**20
"""Range of memory tags. A tag is the number of bytes of memory that a slot's workers request, a
negligible amount that identifies their placement group."""


class WorkerPool:
    """The warm worker slots of a sweep, which start on creation. Must be closed after use.

    Args:
        resources: Resources of one run.
        size: Number of slots; each holds the workers of one run.
        scratch_dir: Folder for files of Ray Train.

    Attributes:
        size: Number of slots.
        client: Client that leases the slots.
    """

    def __init__(self, resources: ResourcesConfig, size: int, scratch_dir: Path) -> None:
        pool_id = uuid.uuid4().hex[:12]
        actor_class = ray.remote(num_cpus=0, max_concurrency=_NUM_ACTOR_THREADS, max_restarts=-1)(
            SlotActor
        )
        env_vars: dict[str, str] = {
            # Ray Train's helper actors query the state of the cluster. With several Ray clusters on
            # a machine they would query the latest one. The actors inherit this variable.
            "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
            # The watcher would start one more process per worker group to announce that a node will
            # be reclaimed. A lost worker fails its request at once and loses no checkpoint anyway.
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        }
        # Not the seeded generator of `random`: two sweeps with one seed must get different tags.
        first_tag = 1 + random.SystemRandom().randrange(_MAX_MEMORY_TAG_BYTES)
        self._memory_tags = range(first_tag, first_tag + size)
        self._slots = [
            actor_class.options(
                name=f"kinesweep-{pool_id}-{memory_tag}", runtime_env={"env_vars": env_vars}
            ).remote(
                resources.model_dump(), str(scratch_dir), f"{pool_id}-{memory_tag}", memory_tag
            )
            for memory_tag in self._memory_tags
        ]
        self.size = size
        self.client = SlotClient(tuple(self._slots))

    def create_barrier(self) -> StartBarrier:
        """Create a start barrier for the trials of one policy; it is closed at first."""
        return StartBarrier(tuple(self._slots), uuid.uuid4().hex)

    def close(self, timeout_s: float = 20.0) -> None:
        """Close all slots; those that have not closed after `timeout_s` seconds are killed."""
        # All slots close at the same time, so the timeout applies once and not to each of them.
        close_refs = [slot.close.remote() for slot in self._slots]
        ray.wait(close_refs, num_returns=len(close_refs), timeout=timeout_s)
        for slot, memory_tag in zip(self._slots, self._memory_tags, strict=True):
            # Ray would restart a killed actor otherwise (`max_restarts=-1`).
            ray.kill(slot, no_restart=True)
            remove_leftover_groups(memory_tag)


def pack_task(task: TrainingTask) -> bytes:
    """Serialize a run so that only the workers of a slot need to unpack it."""
    return bytes(ray.cloudpickle.dumps(task))


class SlotClient:
    """A client that leases a free slot for a run; picklable, because trials run in processes."""

    def __init__(self, slots: tuple[ActorHandle, ...]) -> None:
        self._slots = slots

    def lease_slot(self, task: bytes) -> "SlotLease":
        """Wait for a free slot, lease it for a run, and return the lease.

        Args:
            task: Run as returned by `pack_task`. Only workers unpack it, so trials and slots need
                not import PyTorch.

        Raises:
            ResourceError: If no slot can start its workers.
        """
        token = uuid.uuid4().hex
        while True:
            broken_reasons = []
            for slot in self._slots:
                try:
                    response = ray.get(slot.lease.remote(token, task))
                except RayActorError:
                    continue  # Ray is restarting the slot
                if response is True:
                    return SlotLease(slot, token)
                if response:
                    broken_reasons.append(response)
            # One working slot is enough; it serves all trials in turn.
            if len(broken_reasons) == len(self._slots):
                raise ResourceError(f"no workers can be started: {broken_reasons[0]}")
            time.sleep(_LEASE_RETRY_S)


class SlotLease:
    """A trial's lease of a slot, renewed by a thread until the run ends or the process dies."""

    def __init__(self, slot: ActorHandle, token: str) -> None:
        self._slot, self._token = slot, token
        self._ended = threading.Event()
        threading.Thread(target=self._renew_periodically, daemon=True, name="lease").start()

    def wait_for_next_report(self) -> dict[str, float] | RequestResult:
        """Wait for the next evaluation or the final result of the run and return it.

        If the slot is lost, the result has the kind `lost`; no exception is raised.
        """
        while True:
            try:
                result = ray.get(self._slot.poll_next_report.remote(self._token))
            except RayError as error:
                # The slot is restarting or gone; either way its request is lost.
                result = RequestResult("lost", reason=format_error_summary(error))
            if isinstance(result, RequestResult):
                self._ended.set()
            if result is not None:
                return result

    def cancel(self) -> None:
        """Cancel the run unless it has ended; its workers stop at their next step."""
        if not self._ended.is_set():
            self._ended.set()
            self._slot.cancel_request.remote(self._token)

    def _renew_periodically(self) -> None:
        """Renew the lease five times per lease period until it ends."""
        # Five renewals per period: a few late ones do not let the lease expire.
        while not self._ended.wait(LEASE_S / 5):
            self._slot.renew_lease.remote(self._token)
