"""The arms of a search, each with a sampler, a pruner and the same number of trials.

An arm is one combination of scientific levels; see `space.arms` for the reason to search them
separately. Without scientific parameters there is one arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kinesweep.sweeps.journal.journal import Trial
from kinesweep.sweeps.search.pruners import Pruner, build_pruner
from kinesweep.sweeps.search.samplers import Sampler, build_sampler
from kinesweep.sweeps.space.arms import find_arm_index, find_arms
from kinesweep.sweeps.space.parameter import Values
from kinesweep.sweeps.space.space import SearchSpace


@dataclass
class SearchArm:
    """One combination of scientific levels with its own sampler and pruner.

    Attributes:
        levels: Scientific parameter → level.
        sampler: Sampler of the arm's configurations.
        pruner: Pruner that compares the arm's trials with each other.
        num_trials: Number of trials so far, without duplicates.
        is_exhausted: Whether the sampler has no further configurations.
    """

    levels: Values
    sampler: Sampler
    pruner: Pruner
    num_trials: int
    is_exhausted: bool = False


@dataclass(frozen=True)
class SearchArms:
    """The arms of a search, and the rule that selects the arm of the next trial.

    Attributes:
        arms: All arms of the search.
        quota: Number of trials of each arm; None for a full grid, which ends by itself.
    """

    arms: Sequence[SearchArm]
    quota: int | None

    def find_arm(self, trial: Trial) -> SearchArm:
        """Return the arm whose scientific levels a trial has.

        Raises:
            InputError: If no arm has these levels.
        """
        return self.arms[find_arm_index(trial.values, [arm.levels for arm in self.arms])]

    def select_open_arm(self) -> SearchArm | None:
        """Return the arm with the fewest trials of those that need more; None if none does."""
        open_arms = [arm for arm in self.arms if not arm.is_exhausted and not self.is_complete(arm)]
        # Choosing the arm with the fewest trials keeps the arms balanced while the search runs.
        return min(open_arms, key=lambda arm: arm.num_trials, default=None)

    def is_complete(self, arm: SearchArm) -> bool:
        """Return whether an arm has all of its trials; always False for a full grid."""
        return self.quota is not None and arm.num_trials >= self.quota


def build_search_arms(
    space: SearchSpace, base_values: Values, trials: Sequence[Trial], samples_per_eval: float
) -> SearchArms:
    """Build the arms of a search and replay the journal to their samplers and pruners.

    Args:
        space: The search space.
        base_values: Flattened recipe values with fixed values, on which conditions may depend.
        trials: Trials of the journal.
        samples_per_eval: Number of clips that a run sees between two evaluations.
    """
    arm_levels = find_arms(space, base_values)
    num_trials = space.search.trials
    # Rounded up, so that all arms have equally many trials.
    quota = None if num_trials is None else -(-num_trials // len(arm_levels))
    trials_by_arm: list[list[Trial]] = [[] for _ in arm_levels]
    # The values of a trial determine its arm, so the journal need not store it.
    for trial in trials:
        trials_by_arm[find_arm_index(trial.values, arm_levels)].append(trial)
    arms = []
    for levels, arm_trials in zip(arm_levels, trials_by_arm, strict=True):
        sampler = build_sampler(space, levels, base_values, arm_trials, quota or 0)
        pruner = build_pruner(space.pruner, samples_per_eval)
        _replay_losses(pruner, arm_trials)
        num_originals = sum(trial.duplicate_of is None for trial in arm_trials)
        arms.append(SearchArm(levels, sampler, pruner, num_originals))
    return SearchArms(arms, quota)


def _replay_losses(pruner: Pruner, trials: Sequence[Trial]) -> None:
    """Report the losses of trials in the journal to a pruner, which then compares with them."""
    for trial in trials:
        # Only the pruner's state matters here; its decisions were executed at the time.
        for samples, loss in sorted(trial.losses.items()):
            pruner.report_loss(trial.number, samples, loss)
