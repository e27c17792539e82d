"""What is shown of runs; what Ray and Prometheus make of it is shown in `tests/cluster`."""

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from kinesweep.core.run_logger import NullRunLogger
from kinesweep.training.run_records import prometheus
from kinesweep.training.run_records.prometheus import (
    GAUGES,
    GaugeValue,
    PrometheusRunLogger,
    export_gauges,
)


class Slow(NullRunLogger):
    """A log whose server is behind."""

    def count_pending_records(self) -> int:
        return 7


class Drawn:
    """In place of Ray's gauges."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def __call__(self, name: str) -> "Drawn":
        self.name = name
        return self

    def set(self, value: float, labels: dict[str, str]) -> None:
        assert tuple(labels) == GAUGES[self.name][1]
        self.seen[self.name] = value


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    found = Drawn()
    monkeypatch.setattr(prometheus, "_get_gauge", found)
    monkeypatch.setattr(prometheus, "_UPDATE_INTERVAL_S", 0.01)
    monkeypatch.setattr(prometheus.ray, "is_initialized", lambda: True)
    return found


def until(true: object) -> None:
    give_up = time.monotonic() + 5
    while not true():  # type: ignore[operator]
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_run_shows_its_latest_measurements_until_it_ends(drawn: Drawn) -> None:
    log = PrometheusRunLogger(Slow(), Path("runs/abc-s1"), "mine")
    log.log_metrics({"loss": 3.0, "step_s": 0.5, "samples": 8}, 1)
    log.log_metrics({"loss": 2.0}, 2)
    until(lambda: drawn.seen.get("loss") == 2.0)
    assert drawn.seen == {"loss": 2.0, "step_s": 0.5, "tracking_backlog": 7.0}
    log.finish("finished")
    drawn.seen.clear()
    time.sleep(0.05)
    assert not drawn.seen


def test_labels_name_the_run() -> None:
    log = PrometheusRunLogger(NullRunLogger(), Path("runs/abc-s1"), "mine")
    assert log.get_gauge_values() == [
        GaugeValue("tracking_backlog", 0.0, {"sweep": "mine", "run": "abc-s1"})
    ]
    log.finish("finished")


def test_what_cannot_be_read_ends_no_run(drawn: Drawn, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterable[GaugeValue]:
        raise OSError("no such file")

    with export_gauges(broken):
        until(lambda: "stopped exporting Prometheus gauges" in caplog.text)
    assert "no such file" in caplog.text


def test_without_ray_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "_UPDATE_INTERVAL_S", 0.01)
    # Other tests of this process may have left one running.
    monkeypatch.setattr(prometheus.ray, "is_initialized", lambda: False)
    asked: list[int] = []
    with export_gauges(lambda: asked.append(1) or []):  # type: ignore[func-returns-value]
        time.sleep(0.05)
    assert not asked
