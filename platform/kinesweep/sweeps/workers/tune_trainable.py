"""The Ray Tune trainable of a trial in a warm slot, and the interpretation of its last result."""

import math
from collections.abc import Mapping
from typing import Any

from ray import tune

from kinesweep.sweeps.search.ask_tell import RunEnd
from kinesweep.sweeps.workers.start_barrier import Gate
from kinesweep.sweeps.workers.worker_pool import Client, Lease
from kinesweep.sweeps.workers.worker_slot import RequestResult

_SCORE = "score/"
"""Prefix of objectives in a trial's last result, which separates them from Tune's own numbers."""


class WarmTrial(tune.Trainable):
    """A trial that leases a warm slot at its first step; each step is one evaluation of its run.

    Tune reuses the actor for the next trial, so no process starts between two trials; see `gate`.
    The configuration is `{"task": bytes}`, the run as packed by the driver.
    """

    def setup(self, config: dict[str, Any], client: Client, gate: Gate) -> None:
        """See `tune.Trainable`."""
        self._client, self._gate = client, gate
        self._lease: Lease | None = None

    def step(self) -> dict[str, Any]:
        """Return the next evaluation of the run, or its end."""
        if self._lease is None:
            self._lease = self._client.lease(self.config["task"])
        said = self._lease.next()
        # After the wait for the run, so that trials train while other actors are still starting.
        self._gate.wait()
        if not isinstance(said, RequestResult):
            return said
        # The next step belongs to another trial of this actor, which must lease again.
        self._lease = None
        return _ended(said)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Switch to the next trial; a run that is still in progress was pruned and is cancelled."""
        self.cleanup()
        self.config = new_config
        return True

    def cleanup(self) -> None:
        """See `tune.Trainable`."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None


def _ended(outcome: RequestResult) -> dict[str, Any]:
    """Build the last report of a trial, which carries its end whatever was reported before."""
    ended = {"ended": outcome.kind, "finished": False, "reason": outcome.reason, "done": True}
    if outcome.kind != "result":
        return ended
    result = outcome.value
    ended |= {"finished": result["status"] == "finished", "reason": result["reason"]}
    return {**ended, **{_SCORE + name: value for name, value in result["objectives"].items()}}


def run_end_of(result: Mapping[str, Any] | None, error: bool, reason: str = "") -> RunEnd:
    """Interpret the last result of a trial as an end.

    A trial is finished only if its run says so: the score of a pruned trial must not count as a
    final one. A trial without a reported end was stopped or has died.

    Args:
        result: Last result; None or empty if there was none.
        error: Whether Tune reports an error.
        reason: Error message.
    """
    # The order of these checks matters: a result may be left over from before an error.
    if error or not result:
        return RunEnd("died", {}, reason or "its process was killed")
    # `lost` says nothing about the run itself, so it may be retried like a death.
    if result.get("ended") == "lost":
        return RunEnd("died", {}, str(result["reason"]))
    if result.get("finished"):
        scored = {name for name in result if name.startswith(_SCORE)}
        return RunEnd("finished", {n.removeprefix(_SCORE): float(result[n]) for n in scored})
    if result.get("ended"):
        return RunEnd("failed", {}, str(result.get("reason") or "its run did not finish"))
    if not math.isfinite(result.get("token_loss", math.nan)):
        return RunEnd("failed", {}, "its loss is not a number")
    return RunEnd("pruned")
