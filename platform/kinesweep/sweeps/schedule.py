"""Who may go on: pruning as a decision, with no Ray and no clock.

Trials are compared at samples seen beyond each one's own warm-up, by unsmoothed token loss unless
the space says otherwise: early BLEU is near zero and tells nothing, and Tune's own iteration
counter starts again whenever a run is resumed. Lower is better here; scores come negated.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from kinesweep.sweeps.space import Scheduler

_LEAST_OTHERS = 3
"""Trials that must have come as far before the median judges."""


class Pruner(Protocol):
    """Decides who goes on."""

    def goes_on(self, trial: int, samples: float, loss: float) -> bool:
        """Notes a trial's loss and says whether it may go on.

        Args:
            trial: its number.
            samples: seen beyond its warm-up.
            loss: lower is better; one that is not finite never passes.
        """


def build_pruner(scheduler: Scheduler, evaluation_samples: float) -> Pruner:
    """The pruner of one arm.

    Args:
        scheduler: as the space has it.
        evaluation_samples: samples from one evaluation to the next.
    """
    grace = scheduler.grace_evaluations * evaluation_samples
    if scheduler.kind == "asha":
        return Asha(grace, scheduler.reduction)
    if scheduler.kind == "hyperband":
        return Hyperband(grace, scheduler.reduction, scheduler.brackets)
    if scheduler.kind == "median":
        return Median(grace)
    return Never()


class Never:
    """Prunes nobody but those whose loss is not a number."""

    def goes_on(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`."""
        return bool(np.isfinite(loss))


@dataclass
class Asha:
    """Asynchronous successive halving.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".

    Attributes:
        grace: samples before the first rung.
        reduction: one trial in so many passes; each rung is so many times further.
        rungs: milestone → trial → loss there.
    """

    grace: float
    reduction: int
    rungs: dict[float, dict[int, float]] = field(default_factory=dict)

    def goes_on(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`. Judged once, at the furthest rung reached; the first there passes."""
        if not np.isfinite(loss):
            return False
        milestone = self._milestone(samples)
        if milestone is None or trial in self.rungs.get(milestone, {}):
            return True
        rung = self.rungs.setdefault(milestone, {})
        rung[trial] = loss
        return len(rung) == 1 or loss <= float(np.quantile([*rung.values()], 1 / self.reduction))

    def _milestone(self, samples: float) -> float | None:
        reached = None
        milestone = self.grace
        while milestone <= samples:
            reached = milestone
            milestone *= self.reduction
        return reached


@dataclass
class Hyperband:
    """ASHA in several brackets, each of which begins to judge `reduction` times later.

    What ASHA with a short grace would lose, the late brackets keep. A bracket's share of the trials
    falls as its first rung is further. Source: Li et al. 2018, "Hyperband".

    Attributes:
        grace: samples before the first rung of the first bracket.
        reduction: see `Asha`.
        brackets: how many.
    """

    grace: float
    reduction: int
    brackets: int
    _brackets: list[Asha] = field(init=False)
    _places: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._brackets = [
            Asha(self.grace * self.reduction**i, self.reduction) for i in range(self.brackets)
        ]

    def goes_on(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`."""
        place = self._places.setdefault(trial, self._place(len(self._places)))
        return self._brackets[place].goes_on(trial, samples, loss)

    def _place(self, turn: int) -> int:
        """Bracket of the n-th trial: of `reduction` trials all but one join the bracket."""
        place = 0
        while place < self.brackets - 1 and turn % self.reduction == self.reduction - 1:
            place, turn = place + 1, turn // self.reduction
        return place


@dataclass
class Median:
    """Ends who is worse at its best than the median of the others' means until the same samples.

    Source: Golovin et al. 2017, "Google Vizier".

    Attributes:
        grace: samples before anybody is judged.
        losses: trial → samples → loss.
    """

    grace: float
    losses: dict[int, dict[float, float]] = field(default_factory=dict)

    def goes_on(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`."""
        if not np.isfinite(loss):
            return False
        own = self.losses.setdefault(trial, {})
        own[samples] = loss
        if samples < self.grace:
            return True
        means = [
            float(np.mean([value for at, value in other.items() if at <= samples]))
            for number, other in self.losses.items()
            if number != trial and max(other) >= samples and min(other) <= samples
        ]
        return len(means) < _LEAST_OTHERS or min(own.values()) <= float(np.median(means))
