"""The ask-and-tell interface between a sweep's policies and the code that executes runs.

A runner asks a policy for run requests and tells it every evaluation and the end of every run. The
search and the finals are policies. Both Ray Tune (`tune_runner`) and the simulation (`simulation`)
execute them, so a cost estimate is computed by the same policies that run the sweep.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kinesweep.sweeps.space.parameter import Values

MAX_DEATHS = 5
"""Number of deaths without progress in between after which a run counts as failed."""


@dataclass(frozen=True)
class RunRequest:
    """A request of a policy to train one run.

    Attributes:
        key: Unique name of the run within its policy.
        values: Dotted recipe key → value that overrides the recipe, fixed and swept ones.
        seed: Random seed of the run.
        phase: `search`, `finals` or `sanity`.
    """

    key: str
    values: Values
    seed: int
    phase: str


@dataclass(frozen=True)
class RunEnd:
    """The final state of a run, as told to a policy.

    Attributes:
        state: Final state. `died` means that its processes were killed; the run may be retried.
        scores: Metric → value; empty unless the run finished.
        reason: Explanation for a run that failed or died.
        seconds: Wall-clock time from start to end.
    """

    state: Literal["finished", "pruned", "failed", "died"]
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0


class SweepPolicy(Protocol):
    """A policy that decides which runs to start, continue and stop.

    The runner calls `tell` exactly once for each request. A policy that wants to retry a run
    proposes it again under the same key.
    """

    @property
    def is_finished(self) -> bool:
        """Return whether no run is in progress and none will be proposed."""

    def propose(self) -> RunRequest | None:
        """Return a request for the next run, or None if there is none at the moment."""

    def report_evaluation(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """Record an evaluation and return whether the run may continue.

        Args:
            key: Name of the run, as proposed.
            evaluation: Metrics `{"step", "samples", "token_loss", …}`; `samples` counts clips seen.
        """

    def tell(self, key: str, end: RunEnd) -> None:
        """Record the end of a run.

        Args:
            key: Name of the run, as proposed.
            end: Final state, scores and duration of the run.
        """
