"""`optuna-dashboard`, started with the command that `kinesweep ui` prints, shows a real sweep."""

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest

from kinesweep.sweeps.journal.journal import build_trials, read_journal
from kinesweep.sweeps.results.outcome_file import read_sweep_outcome

if TYPE_CHECKING:
    from conftest import Look

pytestmark = pytest.mark.slow


@pytest.fixture
def dashboard(links: dict[str, str]) -> Iterator[str]:
    """Address of the dashboard of the sweep."""
    program, path = shlex.split(links["Optuna"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The server of the standard library; the other one keeps files in the home folder.
    options = ["--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref", "--quiet"]
    process = subprocess.Popen([str(Path(sys.executable).parent / program), path, *options])
    address = f"http://127.0.0.1:{port}/dashboard/"
    try:
        while True:
            assert process.poll() is None, "the dashboard has ended"
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def test_it_shows_the_study(
    home: Path, links: dict[str, str], dashboard: str, look: "Look"
) -> None:
    folder = home / "sweeps" / "space"
    trials = build_trials(read_journal(folder))
    best = max(trials, key=lambda trial: (trial.scores.get("bleu", -1.0), -trial.number))
    page = look.open(dashboard)
    page.get_by_text("0. space").click()
    page.get_by_text(f"Best Trial (number={best.number})").wait_for()
    page.get_by_text("Which rate is best for a tiny model?").wait_for()
    lines = page.inner_text("body").splitlines()
    shown = next(i for i, line in enumerate(lines) if line.startswith("Best Trial (number="))
    assert float(lines[shown + 1]) == best.scores["bleu"]
    # One point for each trial; trials that are not selected have traces of their own.
    history = "document.querySelector('#plot-history').data"
    page.wait_for_function(
        f"{history}.find(d => d.name === 'bleu of space').x.length === {len(trials)}"
    )
    assert read_sweep_outcome(folder).winner in page.inner_text("body")
    look.keep("optuna-dashboard")
    page = look.open(f"{dashboard}studies/0/trials")
    page.get_by_text(f"Trial {trials[-1].number}", exact=True).first.wait_for()
    listed = re.findall(r"^Trial (\d+)$", page.inner_text("body"), re.MULTILINE)
    assert [int(number) for number in listed] == [trial.number for trial in trials]
    look.keep("optuna-dashboard-trials")
    backend = optuna.storages.journal.JournalFileBackend(shlex.split(links["Optuna"])[1])
    study = optuna.load_study(study_name="space", storage=optuna.storages.JournalStorage(backend))
    assert (study.best_trial.number, study.best_value) == (best.number, best.scores["bleu"])
    assert study.best_trial.params == best.values
