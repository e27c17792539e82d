"""Commands complete the study of a sweep from its journal, unless a driver does."""

import json
import threading
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpus import tiny_recipe
from kinesweep.cli import app
from kinesweep.config.loading import validate_config
from kinesweep.pipelines.sweeps import study, sweep_lock
from kinesweep.pipelines.sweeps.sweep_lock import lock_sweep
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.sweep_metadata import SweepMetadata, write_sweep_metadata
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.storage import STUDY_FILE

SPACE = {
    "question": "q?",
    "recipe": "tiny.yaml",
    "parameters": {"training.learning_rate": {"log": [1e-5, 1e-1]}},
}


def test_status_writes_a_deleted_study_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    folder = tmp_path / "sweeps" / "mine"
    journal = Journal(folder)
    journal.start_session("identity", "q?")
    values = {"training.learning_rate": 0.001}
    journal.append_event("trial_created", trial=0, values=values, config="a")
    journal.close()
    space = validate_config(SearchSpace, SPACE, "the space")
    write_sweep_metadata(
        folder, SweepMetadata(space, tiny_recipe(tmp_path, tmp_path), tmp_path, {"version": "1"})
    )
    command = f"optuna-dashboard {folder / STUDY_FILE}"
    with lock_sweep("mine"):
        assert ask_status() == command
        assert not (folder / STUDY_FILE).exists()
    assert ask_status() == command
    whole = (folder / STUDY_FILE).read_bytes()
    assert whole.count(b'"op_code":4') == 1  # a trial
    assert ask_status() == command
    assert (folder / STUDY_FILE).read_bytes().count(b'"op_code":4') == 1
    (folder / STUDY_FILE).unlink()
    assert ask_status() == command and (folder / STUDY_FILE).exists()


def ask_status() -> str:
    """What `kinesweep status` says of the study."""
    told = CliRunner().invoke(app, ["status", "mine", "--json"])
    assert told.exit_code == 0, told.output
    (row,) = json.loads(told.stdout.splitlines()[-1])["sweeps"]
    return str(row["study"])


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep with one trial; its folder."""
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    folder = tmp_path / "sweeps" / "mine"
    with closing(Journal(folder)) as journal:
        journal.start_session("identity", "q?")
        values = {"training.learning_rate": 0.001}
        journal.append_event("trial_created", trial=0, values=values, config="a")
    space = validate_config(SearchSpace, SPACE, "the space")
    recipe = tiny_recipe(tmp_path, tmp_path)
    write_sweep_metadata(folder, SweepMetadata(space, recipe, tmp_path, {"version": "1"}))
    return folder


def test_a_state_folder_that_cannot_be_written_is_shown_all_the_same(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as that of a colleague."""

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(sweep_lock, "hold_lock_file", refuse)
    assert ask_status() == f"optuna-dashboard {sweep / STUDY_FILE}"
    assert "is not up to date: PermissionError: read-only" in caplog.text


def test_a_storage_that_never_answers_does_not_hold_a_command(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = threading.Event()

    class HangingMirror:
        """A study whose storage does not answer."""

        def __init__(self, *_: object) -> None:
            answers.wait(60)

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(study, "_MAX_WAIT_S", 0.05)
    monkeypatch.setattr(study, "StudyMirror", HangingMirror)
    assert ask_status() == f"optuna-dashboard {sweep / STUDY_FILE}"
    assert "its storage did not answer" in caplog.text
    answers.set()
