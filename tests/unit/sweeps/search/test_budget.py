"""What is set aside for the finals."""

import pytest

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.sweeps.search.budget import Budget, ResourceUsage
from kinesweep.sweeps.space.space import BudgetConfig

SLOWER = 1.2
"""A final run against a run of the search, which decodes fewer clips with fewer beams."""


@pytest.mark.parametrize(("runs", "rounds"), [(0, 0), (1, 1), (4, 2), (5, 3)])
def test_the_last_round_of_finals_need_not_be_full(runs: int, rounds: int) -> None:
    budget = Budget(BudgetConfig(hours=10), ResourcesConfig(), num_slots=2, num_final_runs=runs)
    assert budget.estimate_finals_hours(1.0) == pytest.approx(rounds * SLOWER)
    left = 10 - rounds * SLOWER
    assert not budget.should_stop_trials(ResourceUsage(left - 0.01, 0, 0, 0), 1.0)
    assert budget.should_stop_trials(ResourceUsage(left + 0.01, 0, 0, 0), 1.0)
