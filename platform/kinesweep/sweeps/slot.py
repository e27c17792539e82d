"""The actor of a warm slot: a request broker, and a thread that keeps a worker group running.

A slot's own process trains nothing. Whatever it imports is paid once a slot, so the training code
is imported by its workers alone.
"""

import threading
import uuid
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, PlacementGroupID, remove_placement_group

from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.sweeps.lease import Desk, Outcome, first_line
from kinesweep.sweeps.serve import serve_runs

_MOST_FAILED_STARTS = 3


class Slot:
    """The actor of one slot.

    Args:
        resources: Resources of one run, as plain values.
        scratch: Folder for Ray Train's own files.
        name: Prefix of the names of its worker groups.
        mark: Bytes of memory that its workers ask for, by which their placement group is known.
    """

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

    def lease(self, token: str, task: bytes) -> bool | str:
        """Take a request, or say that the slot is taken (False) or why it is broken."""
        return self._broken or self._desk.lease(token, task)

    def poll(self, token: str) -> dict[str, float] | Outcome | None:
        """See `Desk.poll`."""
        return self._desk.poll(token)

    def renew(self, token: str) -> None:
        """See `Desk.renew`."""
        self._desk.renew(token)

    def cancel(self, token: str) -> None:
        """See `Desk.cancel`."""
        self._desk.cancel(token)

    def take(self, group: str, rank: int, seen: str) -> tuple[str, Any] | str | None:
        """See `Desk.take`."""
        return self._desk.take(group, rank, seen)

    def report(self, token: str, metrics: Mapping[str, float]) -> bool:
        """See `Desk.report`."""
        return self._desk.report(token, metrics)

    def stop_reason(self, token: str) -> str:
        """See `Desk.stop_reason`."""
        return self._desk.stop_reason(token)

    def answer(self, token: str, rank: int, outcome: Outcome) -> None:
        """See `Desk.answer`."""
        self._desk.answer(token, rank, outcome)

    def fail(self, token: str, reason: str) -> None:
        """See `Desk.fail`."""
        self._desk.fail(token, reason)

    def open_gate(self, name: str) -> None:
        """Open a gate; see `gate`."""
        self._open_gates.add(name)

    def is_gate_open(self, name: str) -> bool:
        """Return whether a gate was opened here."""
        return name in self._open_gates

    def close(self) -> None:
        """Let the workers leave, and wait until they have."""
        self._closing.set()
        self._desk.close()
        self._keeper.join()

    def _keep_group(self) -> None:
        """Start a worker group, and another one whenever it is gone."""
        failed_starts = 0
        while not self._closing.is_set():
            remove_groups(self._mark)
            group = self._desk.open_group()
            reason = self._serve(group)
            came = self._desk.group_ended(group, reason)
            failed_starts = 0 if came else failed_starts + 1
            if failed_starts >= _MOST_FAILED_STARTS:
                self._broken = reason
                return

    def _serve(self, group: str) -> str:
        """Run one worker group from start to end. Returns the reason why it ended."""
        import ray.train

        from kinesweep.training.distributed import SlotTrainer, worker_group

        trainer = SlotTrainer(
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


def remove_groups(mark: int) -> None:
    """Remove placement groups that a killed slot has left behind.

    Ray Train removes its placement group, or has it removed when its controller is killed, but only
    once all workers have started.
    """
    for name, group in ray.util.placement_group_table().items():
        marked = any(bundle.get("memory") == mark for bundle in group["bundles"].values())
        if marked and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
