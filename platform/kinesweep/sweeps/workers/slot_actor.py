"""The actor of a warm slot: a request broker, and a thread that keeps a worker group alive.

A slot's own process trains nothing. Its imports cost time once per slot, so only its workers import
the training code.
"""

import threading
import uuid
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, PlacementGroupID, remove_placement_group

from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.sweeps.workers.worker_loop import serve_runs
from kinesweep.sweeps.workers.worker_slot import RequestBroker, RequestResult, first_line

_MOST_FAILED_STARTS = 3
"""Number of consecutive worker groups that never became complete, after which a slot is broken."""


class Slot:
    """The actor of one slot.

    Args:
        resources: Resources of one run, as plain values.
        scratch: Folder for Ray Train's files.
        name: Prefix of the names of its worker groups.
        mark: Bytes of memory that its workers request, by which their placement group is known.
    """

    def __init__(self, resources: dict[str, Any], scratch: str, name: str, mark: int) -> None:
        self._resources = ResourcesConfig.model_validate(resources)
        self._scratch, self._name, self._mark = scratch, name, mark
        self._desk = RequestBroker(self._resources.workers)
        # Workers get a handle of this actor, through which they request runs.
        self._me = ray.get_runtime_context().current_actor
        self._broken = ""
        self._open_gates: set[str] = set()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_group, daemon=True)
        self._keeper.start()

    def lease(self, token: str, task: bytes) -> bool | str:
        """Lease the slot; return False if it is taken, or the reason why it is broken."""
        return self._broken or self._desk.lease(token, task)

    def poll(self, token: str) -> dict[str, float] | RequestResult | None:
        """See `RequestBroker.poll`."""
        return self._desk.poll(token)

    def renew(self, token: str) -> None:
        """See `RequestBroker.renew`."""
        self._desk.renew(token)

    def cancel(self, token: str) -> None:
        """See `RequestBroker.cancel`."""
        self._desk.cancel(token)

    def take(self, group: str, rank: int, seen: str) -> tuple[str, Any] | str | None:
        """See `RequestBroker.take`."""
        return self._desk.take(group, rank, seen)

    def report(self, token: str, metrics: Mapping[str, float]) -> bool:
        """See `RequestBroker.report`."""
        return self._desk.report(token, metrics)

    def stop_reason(self, token: str) -> str:
        """See `RequestBroker.stop_reason`."""
        return self._desk.stop_reason(token)

    def answer(self, token: str, rank: int, outcome: RequestResult) -> None:
        """See `RequestBroker.answer`."""
        self._desk.answer(token, rank, outcome)

    def fail(self, token: str, reason: str) -> None:
        """See `RequestBroker.fail`."""
        self._desk.fail(token, reason)

    def open_gate(self, name: str) -> None:
        """Open a start barrier; see `gate`."""
        self._open_gates.add(name)

    def is_gate_open(self, name: str) -> bool:
        """Return whether a start barrier was opened here."""
        return name in self._open_gates

    def close(self) -> None:
        """Let the workers leave, and wait until they have."""
        # The flag first: the keeper must not start another group once the workers leave.
        self._closing.set()
        self._desk.close()
        self._keeper.join()

    def _keep_group(self) -> None:
        """Start worker groups one after the other until the slot closes."""
        failed_starts = 0
        while not self._closing.is_set():
            # A killed slot restarts here, while the group of its predecessor may still hold the
            # resources that the new workers need.
            remove_groups(self._mark)
            group = self._desk.open_group()
            reason = self._serve(group)
            came = self._desk.group_ended(group, reason)
            # Only consecutive failures count: a group that was complete once proves that its
            # workers can be placed.
            failed_starts = 0 if came else failed_starts + 1
            if failed_starts >= _MOST_FAILED_STARTS:
                self._broken = reason
                return

    def _serve(self, group: str) -> str:
        """Run one worker group from start to end, and return the reason why it ended."""
        import ray.train

        from kinesweep.training.distributed.ray_train import SlotTrainer, worker_group

        trainer = SlotTrainer(
            serve_runs,
            train_loop_config={"slot": self._me, "group": group},
            # Names must be unique: Ray Train would otherwise restore the state of an earlier group.
            run_config=ray.train.RunConfig(
                name=f"{self._name}-{group}-{uuid.uuid4().hex[:8]}", storage_path=self._scratch
            ),
            **worker_group(self._resources, self._mark),
        )
        try:
            trainer.fit()
        except Exception as error:
            # Whatever ended the group, a new one is tried; `_keep_group` limits the attempts.
            return first_line(error)
        return "its workers left"


def remove_groups(mark: int) -> None:
    """Remove placement groups that a killed slot has left behind.

    Ray Train removes its placement group itself, also when its controller is killed, but only after
    all workers have started.
    """
    for name, group in ray.util.placement_group_table().items():
        marked = any(bundle.get("memory") == mark for bundle in group["bundles"].values())
        if marked and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
