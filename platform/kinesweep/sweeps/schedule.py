"""Asynchronous successive halving, as a decision and as a scheduler of Ray Tune.

Rungs are counted in samples seen beyond a trial's own warm-up, and compared by unsmoothed token
loss: early BLEU is near zero and tells nothing, and Tune's own iteration counter starts again
whenever a run is resumed. Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning".
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray.tune.schedulers import FIFOScheduler, TrialScheduler


@dataclass
class Asha:
    """The decision: goes on, or not.

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

        A trial is judged at the furthest rung it has reached, once. The first there always passes.

        Args:
            trial: its name.
            samples: seen beyond its warm-up.
            loss: lower is better; not a number never passes.
        """
        milestone = self._milestone(samples)
        if milestone is None or trial in self.rungs.get(milestone, {}):
            return bool(np.isfinite(loss))
        rung = self.rungs.setdefault(milestone, {})
        others = list(rung.values())
        rung[trial] = loss if np.isfinite(loss) else float("inf")
        if not np.isfinite(loss):
            return False
        return not others or loss <= float(np.quantile([*others, loss], 1 / self.reduction))

    def _milestone(self, samples: float) -> float | None:
        reached = None
        milestone = self.grace
        while milestone <= samples:
            reached = milestone
            milestone *= self.reduction
        return reached


class AshaScheduler(FIFOScheduler):
    """Tells Tune what `Asha` decides.

    Args:
        policy: the decision.
    """

    def __init__(self, policy: Asha) -> None:
        super().__init__()
        self.policy = policy

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stops a trial that is behind; the last report of a finished one is not judged."""
        if result.get("finished") or "token_loss" not in result:
            return str(TrialScheduler.CONTINUE)
        beyond = result["samples"] - result["warmup_samples"]
        goes_on = self.policy.goes_on(trial.trial_id, beyond, result["token_loss"])
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)
