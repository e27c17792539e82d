"""Kendall's tau of nearest frames, against counting pairs."""

from itertools import combinations

import numpy as np
import pytest

from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.evaluation.kendall_tau import compute_tau, find_nearest_frames, select_clip_pairs
from kinesweep.store.format.index import ClipRecord

RNG = np.random.default_rng(0)


def test_nearest_is_the_nearest() -> None:
    a, b = RNG.normal(size=(7, 3)), RNG.normal(size=(9, 3))
    wanted = [min(range(9), key=lambda j, x=x: ((x - b[j]) ** 2).sum()) for x in a]
    assert list(find_nearest_frames(a, b)) == wanted


def test_tau_counts_pairs_in_and_out_of_order() -> None:
    b = np.arange(9.0)[:, None]
    a = np.array([[0.1], [4.2], [2.9], [5.0], [8.3]])  # nearest: 0, 4, 3, 5, 8
    near = [0, 4, 3, 5, 8]
    signs = [np.sign(near[j] - near[i]) for i, j in combinations(range(5), 2)]
    assert compute_tau(a, b) == pytest.approx(np.mean(signs))
    assert compute_tau(b, b) == pytest.approx(1)
    assert compute_tau(b[::-1], b) == pytest.approx(-1)


def test_one_nearest_for_all_has_no_order() -> None:
    assert compute_tau(np.zeros((4, 2)), RNG.normal(size=(5, 2))) == 0
    assert compute_tau(np.zeros((1, 2)), RNG.normal(size=(5, 2))) == 0


def test_pairs_are_of_a_kind_and_spread_evenly() -> None:
    glosses = ("jab", "cross", "jab", "jab", "hook", "cross")
    records = [
        ClipRecord(Clip(f"c{n}", "validation", "", gloss=gloss), {"pose": 4})
        for n, gloss in enumerate(glosses)
    ]
    jabs = [(0, 2), (0, 3), (2, 0), (2, 3), (3, 0), (3, 2)]
    assert select_clip_pairs(records, 99, "validation") == [*jabs, (1, 5), (5, 1)]
    assert select_clip_pairs(records, 4, "validation") == [(0, 2), (2, 0), (3, 0), (1, 5)]
    with pytest.raises(InputError, match="No two of the 1 clips of validation"):
        select_clip_pairs(records[:1], 4, "validation")
