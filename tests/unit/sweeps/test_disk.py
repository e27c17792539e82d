"""What models take on disk is counted while runs replace theirs."""

import os
from pathlib import Path

import pytest

from kinesweep.sweeps import run_storage


def test_the_largest_model_counts_and_a_run_that_went_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_storage.compute_model_bytes(tmp_path) == 0
    for run, size in {"a-s1": 30, "b-s1": 50}.items():
        (tmp_path / "runs" / run / "best").mkdir(parents=True)
        (tmp_path / "runs" / run / "best" / "model.safetensors").write_bytes(b"x" * size)
    (tmp_path / "runs" / "c-s1").mkdir()
    there = os.listdir(tmp_path / "runs")
    monkeypatch.setattr(run_storage.os, "listdir", lambda _: [*there, "gone-s1"])
    assert run_storage.compute_model_bytes(tmp_path) == 50
