"""Which checkpoints a policy keeps, and which are averaged; folders alone, nothing is trained."""

from pathlib import Path

import pytest

from kinesweep.checkpoints.checkpoints import (
    find_last_checkpoints,
    get_checkpoint_folder,
    prune_checkpoints,
)


def made(root: Path, *steps: int) -> Path:
    for step in steps:
        get_checkpoint_folder(root, step).mkdir(parents=True)
    return root


def kept(root: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in root.iterdir())


@pytest.mark.parametrize(
    ("keep", "count", "left"),
    [
        ("all", 1, [2, 4, 6, 8, 10]),
        ("best+last", 1, [4, 10]),
        ("best+last", 2, [2, 4, 8, 10]),
        ("best", 1, [4]),
        ("last", 1, [10]),
        ("last", 3, [6, 8, 10]),
    ],
)
def test_a_policy_keeps_ends_and_those_before_them(
    tmp_path: Path, keep: str, count: int, left: list[int]
) -> None:
    root = made(tmp_path, 2, 4, 6, 8, 10)
    prune_checkpoints(root, keep, last_step=10, best_step=4, num_averaged=count)
    assert kept(root) == left


def test_a_mean_is_of_the_checkpoints_that_lead_to_a_step(tmp_path: Path) -> None:
    root = made(tmp_path, 2, 4, 6, 8, 10)
    assert find_last_checkpoints(root, 8, 3) == [
        get_checkpoint_folder(root, step) for step in (4, 6, 8)
    ]
    assert find_last_checkpoints(root, 4, 3) == [
        get_checkpoint_folder(root, step) for step in (2, 4)
    ]
