"""Pruning, without a cluster and without a clock."""

import math

import numpy as np
import pytest

from kinesweep.sweeps.search.pruners import (
    HyperbandPruner,
    MedianPruner,
    NoPruner,
    SuccessiveHalvingPruner,
    build_pruner,
)
from kinesweep.sweeps.space.space import PrunerConfig


def test_asha_keeps_the_best_third() -> None:
    asha = SuccessiveHalvingPruner(grace_samples=100, reduction_factor=3)
    assert asha.report_loss(0, 50, 9.0), "before the first rung nobody is judged"
    assert asha.report_loss(0, 100, 5.0), "the first to come passes"
    assert not asha.report_loss(1, 120, 6.0)
    assert asha.report_loss(2, 100, 4.0)
    assert asha.report_loss(2, 200, 99.0), "a rung judges once"
    assert asha.report_loss(2, 300, 3.0)
    assert not asha.report_loss(3, 300, 3.5)
    assert not asha.report_loss(4, 10, math.nan)


def test_asha_lets_one_in_so_many_pass() -> None:
    asha = SuccessiveHalvingPruner(grace_samples=100, reduction_factor=3)
    for trial in range(8):
        asha.report_loss(trial, 100, 1.0 + trial)
    assert asha.report_loss(8, 100, 2.5), "within the best third of nine"
    assert not asha.report_loss(9, 100, 4.5), "better than half, but not than two thirds"


def test_hyperband_spares_its_late_brackets() -> None:
    band = HyperbandPruner(grace_samples=100, reduction_factor=2, num_brackets=3)
    # Of each four trials two are judged at 100, one at 200 and one at 400.
    ends = {
        trial: [s for s in (100, 200, 400) if not band.report_loss(trial, s, trial)]
        for trial in range(12)
    }
    first = {trial: samples[0] for trial, samples in ends.items() if samples}
    assert [first[t] for t in (2, 4, 6, 8, 10)] == [100] * 5
    assert [first[t] for t in (5, 9)] == [200, 200]
    assert [first[t] for t in (7, 11)] == [400, 400]
    assert not {0, 1, 3} & set(first), "the first of each bracket passes"


def test_the_median_judges_by_the_others_means() -> None:
    median = MedianPruner(grace_samples=100)
    for trial, loss in enumerate((3.0, 4.0)):
        assert median.report_loss(trial, 100, loss)
    assert median.report_loss(2, 100, 99.0), "two others are too few"
    assert not median.report_loss(3, 100, 5.0)
    assert median.report_loss(4, 100, 3.5)
    assert median.report_loss(4, 200, 9.0), "nobody else has come so far"
    assert not median.report_loss(5, 100, math.inf)
    assert median.report_loss(6, 50, 99.0), "within the grace"


def test_the_median_does_not_look_ahead() -> None:
    median = MedianPruner(grace_samples=100)
    for trial in range(3):
        assert median.report_loss(trial, 100, 5.0) and median.report_loss(trial, 200, 1.0)
    assert median.report_loss(3, 100, 4.0), "the others had 5.0 then, and 1.0 only later"
    assert not median.report_loss(3, 200, 4.0)


@pytest.mark.parametrize("kind", ["none", "asha", "hyperband", "median"])
def test_every_kind_is_built_and_ends_what_is_no_number(kind: str) -> None:
    pruner = build_pruner(PrunerConfig.model_validate({"kind": kind}), 50.0)
    assert pruner.report_loss(0, 100, 1.0)
    assert not pruner.report_loss(0, 150, math.nan)
    assert isinstance(pruner, NoPruner) == (kind == "none")


def test_the_median_is_that_of_all_means_however_reports_come() -> None:
    """Also if trials repeat reports, as after a death, and report at places of their own."""
    rng = np.random.default_rng(0)
    median, seen = MedianPruner(grace_samples=3), dict[int, dict[float, float]]()
    for _ in range(3000):
        trial, samples = int(rng.integers(12)), float(rng.integers(1, 30)) / 2
        loss = float(rng.random())
        seen.setdefault(trial, {})[samples] = loss
        means = [
            np.mean([losses[each] for each in sorted(losses) if each <= samples])
            for other, losses in seen.items()
            if other != trial and min(losses) <= samples <= max(losses)
        ]
        is_best = len(means) < 3 or min(seen[trial].values()) <= np.median(means)
        assert median.report_loss(trial, samples, loss) == (samples < 3 or is_best)
