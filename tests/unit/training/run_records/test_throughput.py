"""How fast a run goes between two moments."""

import pytest

from kinesweep.training.run_records.throughput import ThroughputSnapshot, compute_throughput


def test_rates_of_an_interval() -> None:
    before = ThroughputSnapshot(time_s=10.0, step=4, samples=32, frames=900, padded_frames=1000)
    now = ThroughputSnapshot(time_s=14.0, step=12, samples=96, frames=1890, padded_frames=2100)
    assert compute_throughput(before, now) == pytest.approx(
        {"samples_per_s": 16.0, "step_s": 0.5, "padding_share": 0.1}
    )


def test_an_interval_without_steps_has_no_step_time() -> None:
    mark = ThroughputSnapshot(1.0, 4, 32, 900, 1000)
    assert compute_throughput(mark, ThroughputSnapshot(2.0, 4, 32, 900, 1000)) == {
        "samples_per_s": 0.0
    }
