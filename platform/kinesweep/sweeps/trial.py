"""A trial as Ray Tune knows it, in a warm slot; and what its last word means."""

import math
from collections.abc import Mapping
from typing import Any

from ray import tune

from kinesweep.sweeps.agenda import End
from kinesweep.sweeps.gate import Gate
from kinesweep.sweeps.lease import Outcome
from kinesweep.sweeps.pool import Client, Lease

_SCORE = "score/"
"""What is ours among the numbers that Tune adds to a report."""


class WarmTrial(tune.Trainable):
    """A trial that leases a warm slot at its first step; each step is an evaluation of its run.

    Tune keeps the actor for the next trial, so nothing is started between two of them; see `gate`.
    Its configuration is `{"task": bytes}`: the packed run, made by the driver.
    """

    def setup(self, config: dict[str, Any], client: Client, gate: Gate) -> None:
        """See `tune.Trainable`."""
        self._client, self._gate = client, gate
        self._lease: Lease | None = None

    def step(self) -> dict[str, Any]:
        """The run's next evaluation, or its end."""
        if self._lease is None:
            self._lease = self._client.lease(self.config["task"])
        said = self._lease.next()
        self._gate.wait()
        if not isinstance(said, Outcome):
            return said
        self._lease = None
        return _ended(said)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial takes over; a run that goes on still was pruned."""
        self.cleanup()
        self.config = new_config
        return True

    def cleanup(self) -> None:
        """See `tune.Trainable`."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None


def _ended(outcome: Outcome) -> dict[str, Any]:
    """The last report of a trial: it carries the end, whatever was reported before."""
    ended = {"ended": outcome.kind, "finished": False, "reason": outcome.reason, "done": True}
    if outcome.kind != "result":
        return ended
    result = outcome.value
    ended |= {"finished": result["status"] == "finished", "reason": result["reason"]}
    return {**ended, **{_SCORE + name: value for name, value in result["objectives"].items()}}


def judged(result: Mapping[str, Any] | None, error: bool, reason: str = "") -> End:
    """How a trial ended, from its last result.

    Finished is only what its run calls finished: a pruned trial's truncated score would be taken
    for a final one. A trial that ended with no word of its end was stopped, or died.
    """
    if error or not result:
        return End("died", {}, reason or "its process was killed")
    if result.get("ended") == "lost":
        return End("died", {}, str(result["reason"]))
    if result.get("finished"):
        scored = {name for name in result if name.startswith(_SCORE)}
        return End("finished", {n.removeprefix(_SCORE): float(result[n]) for n in scored})
    if result.get("ended"):
        return End("failed", {}, str(result.get("reason") or "its run did not finish"))
    if not math.isfinite(result.get("token_loss", math.nan)):
        return End("failed", {}, "its loss is not a number")
    return End("pruned")
