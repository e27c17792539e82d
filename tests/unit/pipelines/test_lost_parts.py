"""Sweeps whose parts are gone: their progress is shown, and what needs the parts says so."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from corpus import tiny_recipe
from kinesweep.cli import app
from kinesweep.config.loading import validate_config
from kinesweep.pipelines.sweeps import tracking_links
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.sweep_metadata import METADATA, SweepMetadata, write_sweep_metadata
from kinesweep.sweeps.space.space import SearchSpace

PARAMETERS = {"training.learning_rate": {"log": [1e-5, 1e-1]}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the sweep `mine`, whose search has begun."""
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    # No server is started for a sweep that has no links.
    monkeypatch.setattr(tracking_links, "find_server_uri", lambda _: "http://127.0.0.1:9")
    folder = tmp_path / "sweeps" / "mine"
    journal = Journal(folder)
    journal.start_session("identity", "q?")
    values = {"training.learning_rate": 0.001}
    journal.append_event("trial_created", trial=0, values=values, config="a")
    journal.close()
    plain = {"question": "q?", "recipe": "tiny.yaml", "parameters": PARAMETERS}
    space = validate_config(SearchSpace, plain, "the space")
    recipe = tiny_recipe(tmp_path, tmp_path)
    write_sweep_metadata(folder, SweepMetadata(space, recipe, tmp_path, {"version": "1"}))
    return folder


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("space", {"search": {"kind": "lab_sampler", "trials": 3}}, "kinesweep.samplers"),
        ("recipe", {"source": {"kind": "lab_source", "train": "a"}}, "kinesweep.sources"),
        ("space", {"recipe": None}, "recipe"),
    ],
)
def test_the_progress_is_shown_without_them(
    folder: Path, section: str, changes: dict[str, Any], said: str
) -> None:
    """A package was removed after the sweep: the progress needs no part, a report does."""
    metadata = json.loads((folder / METADATA).read_text())
    metadata[section] |= changes
    (folder / METADATA).write_text(json.dumps(metadata))
    told = CliRunner().invoke(app, ["status", "mine", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout.splitlines()[-1])["sweeps"][0]["study"] == ""
    for command in (["report", "mine"], ["status", "mine", "--table", "tsv"], ["ui", "mine"]):
        told = CliRunner().invoke(app, command)
        text = " ".join(told.output.split())
        assert told.exit_code == 2 and "CheckpointError: this installation cannot read" in text
        assert said in text and "Traceback" not in text
    told = CliRunner().invoke(app, ["ui", "--json"])
    assert told.exit_code == 0 and json.loads(told.stdout.splitlines()[-1])["sweeps"] == {}
