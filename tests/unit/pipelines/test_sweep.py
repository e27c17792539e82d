"""What is asked of a sweep before it begins."""

from pathlib import Path

import pytest

from kinesweep.core.errors import InputError
from kinesweep.pipelines.sweeps import sweep_lock
from kinesweep.pipelines.sweeps.sweep import (
    SweepRequest,
    _identify_sweep,
    run_requested_sweep,
)
from spaces import load

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


def test_a_sweep_that_runs_is_neither_removed_nor_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    monkeypatch.setattr(sweep_lock, "_MAX_LOCK_WAIT_S", 0.0)
    journal = tmp_path / "sweeps/mine/journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("{}")
    request = SweepRequest(SPACE, (), "mine", tmp_path)
    with sweep_lock.lock_sweep("mine"):
        for options in ({"overwrite": True}, {"resume": True}):
            with pytest.raises(InputError, match="another process runs the sweep `mine`"):
                run_requested_sweep(request, **options)
    assert journal.read_text() == "{}"


def test_a_sweep_names_its_parameters_and_objectives(tmp_path: Path) -> None:
    parameters = {
        "training.learning_rate": {"log": [1e-6, 1.0]},
        "model.encoder.activation": {"choices": ["relu", "none"]},
        "model.encoder.velocity": {"choices": [True, False]},
    }
    space, _ = load(tmp_path, parameters=parameters)
    named = _identify_sweep(tmp_path / "mine", space)
    assert named.objectives == tuple(objective.name for objective in space.objectives)
    assert dict(named.swept_params) == {
        "training.learning_rate": "number",
        "model.encoder.activation": "text",
        "model.encoder.velocity": "flag",
    }
