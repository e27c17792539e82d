"""Pruners: early stopping of trials as a pure decision, independent of Ray and of the clock.

Trials are compared by unsmoothed token loss unless the space names another metric, because early
BLEU is near zero and uninformative. They are compared at equal numbers of samples beyond their own
warm-up, because Tune's iteration counter restarts whenever a run resumes. Lower is better here;
callers negate scores.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from kinesweep.sweeps.space.space import PrunerConfig

_LEAST_OTHERS = 3
"""Number of other trials that must have come as far before the median rule decides."""


class Pruner(Protocol):
    """A pruner that decides which trials continue."""

    def should_continue(self, trial: int, samples: float, loss: float) -> bool:
        """Record a trial's loss and return whether the trial may continue.

        Args:
            trial: Number of the trial.
            samples: Samples seen beyond its warm-up.
            loss: Value to compare; lower is better, and a non-finite one ends the trial.
        """


def build_pruner(config: PrunerConfig, evaluation_samples: float) -> Pruner:
    """Build the pruner of one arm.

    Args:
        config: Pruner settings of the search space.
        evaluation_samples: Number of samples between two evaluations.
    """
    grace = config.grace_period * evaluation_samples
    if config.kind == "asha":
        return SuccessiveHalvingPruner(grace, config.reduction_factor)
    if config.kind == "hyperband":
        return Hyperband(grace, config.reduction_factor, config.brackets)
    if config.kind == "median":
        return MedianPruner(grace)
    return NoPruner()


class NoPruner:
    """A pruner that only stops trials with a non-finite loss."""

    def should_continue(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`."""
        return bool(np.isfinite(loss))


@dataclass
class SuccessiveHalvingPruner:
    """The asynchronous successive halving pruner (ASHA).

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".

    Attributes:
        grace: Samples before the first rung.
        reduction: Reduction factor: the share 1 / `reduction` passes each rung, and each rung is
            this many times further than the one before.
        rungs: Samples of a rung → trial → loss there.
    """

    grace: float
    reduction: int
    rungs: dict[float, dict[int, float]] = field(default_factory=dict)

    def should_continue(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`. A trial is judged once per rung, and the first one at a rung passes."""
        if not np.isfinite(loss):
            return False
        # Only the furthest rung counts: a long evaluation interval may skip earlier ones.
        milestone = self._milestone(samples)
        if milestone is None or trial in self.rungs.get(milestone, {}):
            return True
        rung = self.rungs.setdefault(milestone, {})
        rung[trial] = loss
        # Asynchronous: compared with the trials that have come this far, without waiting for more.
        return len(rung) == 1 or loss <= float(np.quantile([*rung.values()], 1 / self.reduction))

    def _milestone(self, samples: float) -> float | None:
        """Return the furthest rung within a number of samples; None before the first one."""
        reached = None
        milestone = self.grace
        while milestone <= samples:
            reached = milestone
            milestone *= self.reduction
        return reached


@dataclass
class Hyperband:
    """ASHA in several brackets, each of which starts pruning `reduction` times later.

    Late brackets keep trials that ASHA with a short grace period would lose. The later a bracket
    starts, the fewer trials it gets. Source: Li et al. 2018, "Hyperband".

    Attributes:
        grace: Samples before the first rung of the first bracket.
        reduction: Reduction factor; see `SuccessiveHalvingPruner`.
        brackets: Number of brackets.
    """

    grace: float
    reduction: int
    brackets: int
    _brackets: list[SuccessiveHalvingPruner] = field(init=False)
    _places: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Brackets share nothing: a trial is only compared with trials of its own bracket.
        self._brackets = [
            SuccessiveHalvingPruner(self.grace * self.reduction**i, self.reduction)
            for i in range(self.brackets)
        ]

    def should_continue(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`."""
        # A trial joins a bracket at its first report and stays there. After a resume the trials
        # are replayed by number, so their brackets can differ from those before.
        place = self._places.setdefault(trial, self._place(len(self._places)))
        return self._brackets[place].should_continue(trial, samples, loss)

    def _place(self, turn: int) -> int:
        """Return the bracket of the n-th trial.

        Of each `reduction` trials in turn, the last one moves on to the next bracket, and so on.
        """
        place = 0
        while place < self.brackets - 1 and turn % self.reduction == self.reduction - 1:
            place, turn = place + 1, turn // self.reduction
        return place


@dataclass
class MedianPruner:
    """The median stopping rule.

    A trial is stopped if its best loss is worse than the median of the other trials' mean losses up
    to the same number of samples. Source: Golovin et al. 2017, "Google Vizier".

    Attributes:
        grace: Samples before the first decision.
        losses: Trial → samples → loss.
    """

    grace: float
    losses: dict[int, dict[float, float]] = field(default_factory=dict)

    def should_continue(self, trial: int, samples: float, loss: float) -> bool:
        """See `Pruner`."""
        if not np.isfinite(loss):
            return False
        own = self.losses.setdefault(trial, {})
        own[samples] = loss
        if samples < self.grace:
            return True
        # Only trials that have come as far take part, each with its losses up to this point.
        means = [
            float(np.mean([value for at, value in other.items() if at <= samples]))
            for number, other in self.losses.items()
            if number != trial and max(other) >= samples and min(other) <= samples
        ]
        # A trial is compared by its best loss, so one noisy evaluation does not end it.
        return len(means) < _LEAST_OTHERS or min(own.values()) <= float(np.median(means))
