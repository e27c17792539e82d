"""Asynchronous successive halving, as a decision: no Ray, no clock.

Rungs are counted in samples seen beyond a trial's own warm-up, and compared by unsmoothed token
loss: early BLEU is near zero and tells nothing, and Tune's own iteration counter starts again
whenever a run is resumed. Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning".
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Asha:
    """Decides who goes on.

    Attributes:
        grace: samples before the first rung.
        reduction: one trial in so many passes; each rung is so many times further.
        rungs: milestone → trial → loss there.
    """

    grace: float
    reduction: int
    rungs: dict[float, dict[str, float]] = field(default_factory=dict)

    def goes_on(self, trial: str, samples: float, loss: float) -> bool:
        """Notes a trial's loss and says whether it may go on.

        A trial is judged once at the furthest rung it has reached. The first there always passes.

        Args:
            trial: its name.
            samples: seen beyond its warm-up.
            loss: lower is better; one that is not finite never passes.
        """
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
