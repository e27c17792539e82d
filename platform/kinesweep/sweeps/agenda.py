"""What a sweep has to do next, as the runner sees it: proposals out, reports and ends in.

Search and finals are agendas; Ray Tune and the simulation in `plan` both drive them, so a plan is
made by the very policies that will run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from kinesweep.sweeps.parameter import Values

MAX_DEATHS = 5
"""Times that a run's processes may die without it getting further before it counts as failed."""


@dataclass(frozen=True)
class Proposal:
    """One run to be trained.

    Attributes:
        key: names it in this agenda.
        values: swept parameters, laid over the recipe.
        seed: of the run.
        phase: `search`, `finals` or `sanity`.
    """

    key: str
    values: Values
    seed: int
    phase: str


@dataclass(frozen=True)
class End:
    """How a run ended.

    Attributes:
        state: `died`: its processes were killed, and it may be tried again.
        scores: metric → value, when finished.
        reason: why it failed or died.
        seconds: from its start to its end, by the clock.
    """

    state: Literal["finished", "pruned", "failed", "died"]
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0


class Agenda(Protocol):
    """What is to be run."""

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing more will be proposed."""

    def propose(self) -> Proposal | None:
        """The next run, or None for now."""

    def report(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """Notes an evaluation `{"step", "samples", "token_loss", …}`; False ends the run."""

    def end(self, key: str, end: End) -> None:
        """Notes an end."""
