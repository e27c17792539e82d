"""The Ray Tune trainable that trains in a warm slot, and the conversion of its last result."""

import math
from collections.abc import Mapping
from typing import Any

from ray import tune

from kinesweep.sweeps.search.ask_tell import RunEnd
from kinesweep.sweeps.workers.slot_request import RequestResult
from kinesweep.sweeps.workers.start_barrier import StartBarrier
from kinesweep.sweeps.workers.worker_pool import SlotClient, SlotLease

_SCORE_PREFIX = "score/"
"""Prefix of objectives in a trial's last result, which separates them from Tune's own numbers."""
_EVALUATED_LOSSES = ("token_loss", "masked_loss", "contrastive_loss")
"""Losses that evaluations report, each by some kind of runs."""


class WarmSlotTrainable(tune.Trainable):
    """A trainable that leases a warm slot at its first step; each step is one evaluation.

    Tune reuses the actor for the next trial, so no process starts between two trials; see
    `start_barrier`. The configuration is `{"task": bytes}`, the run as packed by the driver.
    """

    def setup(self, config: dict[str, Any], client: SlotClient, barrier: StartBarrier) -> None:
        """Store the client of the slots and the start barrier; see `tune.Trainable`."""
        self._client, self._barrier = client, barrier
        self._lease: SlotLease | None = None

    def step(self) -> dict[str, Any]:
        """Wait for the next evaluation of the run, or for its last report, and return it.

        The first step of a trial leases a slot. The first step of this actor also waits for the
        start barrier.

        Raises:
            ResourceError: If no slot can start its workers.
        """
        if self._lease is None:
            self._lease = self._client.lease_slot(self.config["task"])
        report = self._lease.wait_for_next_report()
        # Waits here and not earlier, so that trials train while other actors are still starting.
        self._barrier.wait()
        if not isinstance(report, RequestResult):
            return report
        # The next step belongs to another trial of this actor, which must lease again.
        self._lease = None
        return _build_end_report(report)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Switch to the next trial and return True; cancel a run in progress, which was pruned."""
        self.cleanup()
        self.config = new_config
        return True

    def cleanup(self) -> None:
        """Cancel a run that is still in progress; see `tune.Trainable`."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None


def _build_end_report(request_result: RequestResult) -> dict[str, Any]:
    """Build the last report of a trial, which `parse_run_end` reads, from its request's result."""
    report = {
        "ended": request_result.kind,
        "finished": False,
        "reason": request_result.reason,
        "done": True,
    }
    if request_result.kind != "result":
        return report
    run_result = request_result.value
    report |= {"finished": run_result["status"] == "finished", "reason": run_result["reason"]}
    return {
        **report,
        **{_SCORE_PREFIX + name: value for name, value in run_result["objectives"].items()},
    }


def parse_run_end(result: Mapping[str, Any] | None, error: bool, reason: str = "") -> RunEnd:
    """Convert the last Tune result of a trial to a `RunEnd`.

    A trial is finished only if its run says so: the score of a pruned trial must not count as a
    final one. A trial without a reported end was stopped or has died.

    Args:
        result: Last result that the trial reported to Tune; None or empty if there was none.
        error: Whether Tune reports an error of the trial.
        reason: Error message; empty if there is none.
    """
    # The order of these checks matters: a result may be left over from before an error.
    if error or not result:
        return RunEnd("died", {}, reason or "its process was killed")
    # `lost` says nothing about the run itself, so it may be retried like a death.
    if result.get("ended") == "lost":
        return RunEnd("died", {}, str(result["reason"]))
    if result.get("finished"):
        score_keys = {name for name in result if name.startswith(_SCORE_PREFIX)}
        return RunEnd(
            "finished", {n.removeprefix(_SCORE_PREFIX): float(result[n]) for n in score_keys}
        )
    if result.get("ended"):
        return RunEnd("failed", {}, str(result.get("reason") or "its run did not finish"))
    losses = [result[name] for name in _EVALUATED_LOSSES if name in result]
    if not losses or not all(map(math.isfinite, losses)):
        return RunEnd("failed", {}, "diverged: its loss is not a number")
    return RunEnd("pruned")
