"""A dry run begins in an empty folder, apart from everything real."""

from pathlib import Path

import pytest

from kinesweep.pipelines.dry_run import build_dry_run_overrides, create_dry_run_dir


def test_leftovers_of_an_earlier_dry_run_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    folder = create_dry_run_dir("tiny-train")
    assert folder.is_relative_to(tmp_path / "dry-runs")
    (folder / "stores/leftover").mkdir(parents=True)
    beside = create_dry_run_dir("tiny-extract")
    assert create_dry_run_dir("tiny-train") == folder
    assert list(folder.iterdir()) == [] and beside.is_dir()
    assert f"store.root={folder / 'stores'}" in build_dry_run_overrides(folder)
