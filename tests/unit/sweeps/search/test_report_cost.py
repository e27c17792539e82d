"""A report costs the driver the same whether ten runs have ended or a thousand."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import driver_reports
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.worked_time import compute_worked_hours
from kinesweep.sweeps.planning.simulation import VirtualClock
from kinesweep.sweeps.search.search import SearchPolicy
from spaces import SAMPLES


@contextmanager
def count_lines(calls: list[int]) -> Iterator[None]:
    """Counts the lines of Python that run inside; a count is the same on a busy machine."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        calls.append(lines)


def drive(policy: SearchPolicy, folder: Path, trials: int) -> list[int]:
    """Lines of a second report of each trial, while all trials before have ended."""
    lines: list[int] = []
    for number in range(trials):
        request = policy.propose()
        assert request is not None
        for step in (1, 2):
            evaluation = {"step": step, "samples": step * SAMPLES, "token_loss": 9.0 - step}
            with count_lines(lines if step == 2 else []):
                assert policy.report_evaluation(request.key, evaluation)
        trial = policy.journal.get_trial(number)
        driver_reports.write_run_folder(folder / "runs" / f"{trial.config_hash}-s0")
        end = driver_reports.RunEnd("finished", {"bleu": 1.0, "token_loss": 1.0}, seconds=60.0)
        policy.tell(request.key, end)
    return lines


def test_the_work_of_a_report_does_not_grow(tmp_path: Path) -> None:
    policy = driver_reports.build_policy(tmp_path, 60, 4, "none")
    disk = Counter[str]()

    def measure(name: str) -> int:
        disk[name] += 1
        return 0

    policy.context = replace(
        policy.context,
        compute_disk_bytes=lambda: measure("folders"),
        compute_model_bytes=lambda: measure("models"),
    )
    lines = drive(policy, tmp_path, 60)
    assert disk == {}, "no limit needs the folders"
    assert max(lines[50:]) <= min(lines[:10]) + 5


def test_a_limit_on_disk_is_measured_for_new_trials_alone(tmp_path: Path) -> None:
    policy = driver_reports.build_policy(tmp_path, 3, 4, "none")
    disk = Counter[str]()
    config = policy.context.budget.config.model_copy(update={"disk": "1 GB"})

    def measure() -> int:
        disk["folders"] += 1
        return 0

    policy.context = replace(
        policy.context,
        budget=replace(policy.context.budget, config=config),
        compute_disk_bytes=measure,
    )
    drive(policy, tmp_path, 3)
    assert disk["folders"] == 3


def test_sums_are_those_over_all_events(tmp_path: Path) -> None:
    clock = VirtualClock()
    journal = Journal(tmp_path, clock)
    for session in range(3):
        journal.start_session("one", "?")
        for run in range(4):
            clock.now += 7.25
            journal.append_event("run_finished", run=f"{session}-{run}", seconds=0.1 * run)
        journal.append_event("run_died", run="x", reason="?", seconds=2.0)
        clock.now += 100
        journal.close()
        journal = Journal(tmp_path, clock)
    assert journal.get_worked_hours() == compute_worked_hours(journal.events, clock())
    assert journal.sum_run_seconds() == pytest.approx(3 * (0.6 + 2.0))
    journal.close()


@pytest.mark.proof
@pytest.mark.parametrize("pruner", ["none", "asha", "median"])
def test_fifty_thousand_reports_of_512_slots(tmp_path: Path, pruner: str) -> None:
    policy = driver_reports.build_policy(tmp_path, 1000, 512, pruner)
    seconds = driver_reports.simulate(policy, tmp_path, 512, 50)["reports"]
    summary = driver_reports.summarize(seconds)
    print(pruner, summary)
    assert summary["p99_ms"] <= 10
    if pruner == "none":  # others end many trials early, so that fewer are left at the end
        assert len(seconds) == 50_000
        assert 0.8 <= summary["drift"] <= 1.2
