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

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.sweeps.workers.request_broker import RequestBroker
from kinesweep.sweeps.workers.slot_request import RequestResult, format_error_summary
from kinesweep.sweeps.workers.worker_loop import serve_runs

_MAX_FAILED_STARTS = 3
"""Number of consecutive incomplete worker groups after which a slot counts as broken."""


class SlotActor:
    """The Ray actor of one warm worker slot; its methods forward to the request broker.

    Args:
        resources: Fields of the `ResourcesConfig` of one run, as plain values.
        scratch_dir: Folder for Ray Train's files.
        name: Prefix of the names of its worker groups.
        memory_tag_bytes: Bytes of memory that its workers request; identifies their placement
            group.
    """

    def __init__(
        self, resources: dict[str, Any], scratch_dir: str, name: str, memory_tag_bytes: int
    ) -> None:
        self._resources = ResourcesConfig.model_validate(resources)
        self._scratch_dir, self._name, self._memory_tag_bytes = scratch_dir, name, memory_tag_bytes
        self._broker = RequestBroker(self._resources.workers)
        # Workers get a handle of this actor, through which they request runs.
        self._self_handle = ray.get_runtime_context().current_actor
        self._broken = ""
        self._open_barriers: set[str] = set()
        self._closing = threading.Event()
        self._group_thread = threading.Thread(target=self._run_worker_groups, daemon=True)
        self._group_thread.start()

    def lease(self, token: str, task: bytes) -> bool | str:
        """Lease the slot for a request; see `RequestBroker.lease`.

        Returns:
            True if the slot was leased, False if it is not free, or the reason why it is broken.
        """
        return self._broken or self._broker.lease(token, task)

    def poll_next_report(self, token: str) -> dict[str, float] | RequestResult | None:
        """Return the next report or the result; see `RequestBroker.poll_next_report`."""
        return self._broker.poll_next_report(token)

    def renew_lease(self, token: str) -> None:
        """Extend the lease of a request; see `RequestBroker.renew_lease`."""
        self._broker.renew_lease(token)

    def cancel_request(self, token: str) -> None:
        """Cancel a request whose trial was pruned; see `RequestBroker.cancel_request`."""
        self._broker.cancel_request(token)

    def take_request(self, group: str, rank: int, last_token: str) -> tuple[str, Any] | str | None:
        """Return a request that a rank has not taken yet; see `RequestBroker.take_request`."""
        return self._broker.take_request(group, rank, last_token)

    def report_evaluation(self, token: str, metrics: Mapping[str, float]) -> bool:
        """Record an evaluation and return whether the run may continue; see `RequestBroker`."""
        return self._broker.report_evaluation(token, metrics)

    def get_stop_reason(self, token: str) -> str:
        """Return why the workers should stop; see `RequestBroker.get_stop_reason`."""
        return self._broker.get_stop_reason(token)

    def submit_result(self, token: str, rank: int, result: RequestResult) -> None:
        """Record that a rank is done; see `RequestBroker.submit_result`."""
        self._broker.submit_result(token, rank, result)

    def fail_request(self, token: str, reason: str) -> None:
        """End a request whose run raised an error; see `RequestBroker.fail_request`."""
        self._broker.fail_request(token, reason)

    def open_barrier(self, name: str) -> None:
        """Record that the start barrier with this name is open; see `start_barrier`."""
        self._open_barriers.add(name)

    def is_barrier_open(self, name: str) -> bool:
        """Return whether the start barrier with this name was opened at this slot."""
        return name in self._open_barriers

    def close(self) -> None:
        """Close the slot and wait until its workers have exited."""
        # The flag comes first: no other group may start once the workers exit.
        self._closing.set()
        self._broker.close()
        self._group_thread.join()

    def _run_worker_groups(self) -> None:
        """Run worker groups one after the other until the slot closes or is broken."""
        num_failed_starts = 0
        while not self._closing.is_set():
            # A restarted slot begins here, while the worker group of the killed one may still hold
            # the resources that the new workers need.
            remove_leftover_groups(self._memory_tag_bytes)
            group = self._broker.register_group()
            reason = self._run_worker_group(group)
            was_complete = self._broker.end_group(group, reason)
            # Only consecutive failures count: a group that was complete once proves that its
            # workers can be placed.
            num_failed_starts = 0 if was_complete else num_failed_starts + 1
            if num_failed_starts >= _MAX_FAILED_STARTS:
                self._broken = reason
                return

    def _run_worker_group(self, group: str) -> str:
        """Run one worker group until it ends, and return the reason for which it ended."""
        import ray.train

        from kinesweep.training.distributed.ray_train import (
            WorkerSlotTrainer,
            build_worker_group_arguments,
        )

        trainer = WorkerSlotTrainer(
            serve_runs,
            train_loop_config={"slot": self._self_handle, "group": group},
            # Names must be unique: Ray Train would otherwise restore the state of an earlier group.
            run_config=ray.train.RunConfig(
                name=f"{self._name}-{group}-{uuid.uuid4().hex[:8]}", storage_path=self._scratch_dir
            ),
            **build_worker_group_arguments(self._resources, self._memory_tag_bytes),
        )
        try:
            trainer.fit()
        except Exception as error:
            # Whatever the error is, a new group is tried; `_run_worker_groups` limits the
            # attempts.
            return format_error_summary(error)
        return "its workers left"


def remove_leftover_groups(memory_tag_bytes: int) -> None:
    """Remove placement groups that a killed slot has left behind, recognized by their memory tag.

    Ray Train removes its placement group itself, also when its controller is killed, but only after
    all workers have started.
    """
    for name, group in ray.util.placement_group_table().items():
        is_tagged = any(
            bundle.get("memory") == memory_tag_bytes for bundle in group["bundles"].values()
        )
        if is_tagged and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
