"""What is asked of a sweep before it begins."""

from pathlib import Path

import pytest

from kinesweep.core.errors import InputError
from kinesweep.pipelines.sweeps.sweep import SweepRequest, run_requested_sweep

SPACE = Path(__file__).resolve().parents[3] / "search_spaces" / "sample.yaml"


def test_only_a_sweep_that_began_is_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    (tmp_path / "sweeps" / "failed").mkdir(parents=True)
    with pytest.raises(InputError, match="there is no sweep `failed` to extend"):
        run_requested_sweep(
            SweepRequest(SPACE, (), "failed", tmp_path, num_extra_trials=3), resume=True
        )
