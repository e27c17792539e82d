"""A dry sweep whose runs ended before they were measured has no times to extrapolate from."""

import json
from pathlib import Path

from kinesweep.pipelines.dry_run import _read_sweep_timings


def write_log(path: Path, *records: dict[str, float]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_only_runs_that_were_evaluated_count(tmp_path: Path) -> None:
    clock_dir = tmp_path / "clock"
    assert list(_read_sweep_timings(clock_dir)) == []
    loss = {"time": 2.0, "step": 1, "samples_per_s": 4.0}
    evaluation = {"time": 5.0, "step": 2, "samples": 16, "evaluation_s": 1.0}
    write_log(clock_dir / "a.jsonl", {"time": 0.0})
    write_log(clock_dir / "b.jsonl", {"time": 0.0}, loss)
    write_log(clock_dir / "c.jsonl", {"time": 0.0}, evaluation)
    assert list(_read_sweep_timings(clock_dir)) == []
    write_log(clock_dir / "d.jsonl", {"time": 0.0}, loss, evaluation, {"time": 6.0})
    assert [timing.step_s for timing in _read_sweep_timings(clock_dir)] == [2.0]
