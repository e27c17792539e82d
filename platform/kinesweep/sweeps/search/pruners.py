"""Pruners: early stopping of trials as a pure decision, independent of Ray and of the clock.

Trials are compared by unsmoothed token loss unless the space names another metric, because early
BLEU is near zero and uninformative. They are compared at equal numbers of samples beyond their own
warm-up, because Tune's iteration counter restarts whenever a run resumes. Lower values are better;
callers negate scores.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from kinesweep.sweeps.space.space import PrunerConfig

_MIN_OTHER_TRIALS = 3
"""Minimum number of other trials that have seen as many samples before the median rule applies."""


class Pruner(Protocol):
    """A pruner that decides which trials continue."""

    def report_loss(self, trial_number: int, samples: float, loss: float) -> bool:
        """Record a trial's loss and return whether the trial may continue.

        Args:
            trial_number: Number of the trial.
            samples: Samples seen beyond its warm-up.
            loss: Value to compare; lower is better, and a non-finite one ends the trial.
        """


def build_pruner(config: PrunerConfig, samples_per_eval: float) -> Pruner:
    """Build the pruner of one arm.

    Args:
        config: Pruner settings of the search space.
        samples_per_eval: Number of clips that a run sees between two evaluations.
    """
    grace_samples = config.grace_period * samples_per_eval
    if config.kind == "asha":
        return SuccessiveHalvingPruner(grace_samples, config.reduction_factor)
    if config.kind == "hyperband":
        return HyperbandPruner(grace_samples, config.reduction_factor, config.brackets)
    if config.kind == "median":
        return MedianPruner(grace_samples)
    return NoPruner()


class NoPruner:
    """A pruner that only stops trials with a non-finite loss."""

    def report_loss(self, trial_number: int, samples: float, loss: float) -> bool:
        """Return whether the loss is finite, and record nothing; see `Pruner`."""
        return bool(np.isfinite(loss))


@dataclass
class SuccessiveHalvingPruner:
    """The asynchronous successive halving pruner (ASHA).

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".

    Attributes:
        grace_samples: Samples before the first rung.
        reduction_factor: The share 1 / `reduction_factor` of the trials passes each rung, and each
            rung is this many times further than the one before.
        rungs: Samples of a rung → trial → loss there.
    """

    grace_samples: float
    reduction_factor: int
    rungs: dict[float, dict[int, float]] = field(default_factory=dict)

    def report_loss(self, trial_number: int, samples: float, loss: float) -> bool:
        """Record the loss at the furthest rung and return whether it is among the best there.

        A trial is recorded and compared once per rung, and the first one at a rung passes. A trial
        with a non-finite loss is stopped.
        """
        if not np.isfinite(loss):
            return False
        # Only the furthest rung counts: a long evaluation interval may skip earlier ones.
        milestone = self._find_milestone(samples)
        if milestone is None or trial_number in self.rungs.get(milestone, {}):
            return True
        rung = self.rungs.setdefault(milestone, {})
        rung[trial_number] = loss
        # Asynchronous: compared with the trials that have come this far, without waiting for more.
        return len(rung) == 1 or loss <= float(
            np.quantile([*rung.values()], 1 / self.reduction_factor)
        )

    def _find_milestone(self, samples: float) -> float | None:
        """Return the samples of the furthest rung that is reached; None before the first rung."""
        reached_milestone = None
        milestone = self.grace_samples
        while milestone <= samples:
            reached_milestone = milestone
            milestone *= self.reduction_factor
        return reached_milestone


@dataclass
class HyperbandPruner:
    """The Hyperband pruner: several ASHA brackets, each starting `reduction_factor` times later.

    Late brackets keep trials that ASHA with a short grace period would lose. The later a bracket
    starts, the fewer trials it gets. Source: Li et al. 2018, "Hyperband".

    Attributes:
        grace_samples: Samples before the first rung of the first bracket.
        reduction_factor: Factor between rungs and between the starts of two brackets; see also
            `SuccessiveHalvingPruner`.
        num_brackets: Number of brackets.
    """

    grace_samples: float
    reduction_factor: int
    num_brackets: int
    _brackets: list[SuccessiveHalvingPruner] = field(init=False)
    _bracket_indices: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Brackets share nothing: a trial is only compared with trials of its own bracket.
        self._brackets = [
            SuccessiveHalvingPruner(
                self.grace_samples * self.reduction_factor**i, self.reduction_factor
            )
            for i in range(self.num_brackets)
        ]

    def report_loss(self, trial_number: int, samples: float, loss: float) -> bool:
        """Report the loss to the trial's bracket and return whether the trial may continue there.

        A new trial is assigned to a bracket.
        """
        # A trial joins a bracket at its first report and stays there. After a resume the trials
        # are replayed by number, so their brackets can differ from those before.
        bracket = self._bracket_indices.setdefault(
            trial_number, self._assign_bracket(len(self._bracket_indices))
        )
        return self._brackets[bracket].report_loss(trial_number, samples, loss)

    def _assign_bracket(self, trial_index: int) -> int:
        """Return the index of the bracket for the trial with a given index, counted from 0.

        Of every `reduction_factor` trials, the last one moves on to the next bracket, and so on.
        """
        bracket = 0
        while (
            bracket < self.num_brackets - 1
            and trial_index % self.reduction_factor == self.reduction_factor - 1
        ):
            bracket, trial_index = bracket + 1, trial_index // self.reduction_factor
        return bracket


@dataclass
class _LossHistory:
    """The mean losses of a trial up to each of its reports, computed once.

    A driver with a thousand trials would otherwise compute a thousand means at each report.

    Attributes:
        samples: Samples of each report, ascending.
        means: Mean loss up to each of them.
    """

    samples: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)

    def add_report(self, losses: Mapping[float, float], samples: float) -> None:
        """Add a report, or replace the one of a retried trial that reports again.

        Args:
            losses: Samples → loss, of all reports of the trial with this one.
            samples: Samples of this report.
        """
        first = bisect_left(self.samples, samples)
        # Usually the last one; a repeated report changes the means after it, too.
        self.samples = sorted(losses)
        del self.means[first:]
        for end in range(first + 1, len(self.samples) + 1):
            self.means.append(float(np.mean([losses[each] for each in self.samples[:end]])))

    def covers(self, samples: float) -> bool:
        """Return whether the trial has reports at and before, and at or after, a number."""
        return self.samples[0] <= samples <= self.samples[-1]

    def get_mean(self, samples: float) -> float:
        """Return the mean loss up to a number of samples."""
        return self.means[bisect_right(self.samples, samples) - 1]


@dataclass
class MedianPruner:
    """The median pruner (median stopping rule).

    A trial is stopped if its best loss is worse than the median of the other trials' mean losses up
    to the same number of samples. Source: Golovin et al. 2017, "Google Vizier".

    Attributes:
        grace_samples: Samples before the first decision.
        losses: Trial → samples → loss.
    """

    grace_samples: float
    losses: dict[int, dict[float, float]] = field(default_factory=dict)
    _histories: dict[int, "_LossHistory"] = field(default_factory=dict)

    def report_loss(self, trial_number: int, samples: float, loss: float) -> bool:
        """Record the loss and return whether the trial's best one is not worse than the median.

        The median is that of the other trials' mean losses. With too few other trials, or within
        the grace period, the trial continues. A trial with a non-finite loss is stopped.
        """
        if not np.isfinite(loss):
            return False
        trial_losses = self.losses.setdefault(trial_number, {})
        trial_losses[samples] = loss
        self._histories.setdefault(trial_number, _LossHistory()).add_report(trial_losses, samples)
        if samples < self.grace_samples:
            return True
        # Only trials that have seen as many samples take part, each with its losses up to here.
        means = [
            history.get_mean(samples)
            for other_number, history in self._histories.items()
            if other_number != trial_number and history.covers(samples)
        ]
        # A trial is compared by its best loss, so one noisy evaluation does not end it.
        return len(means) < _MIN_OTHER_TRIALS or min(trial_losses.values()) <= float(
            np.median(means)
        )
