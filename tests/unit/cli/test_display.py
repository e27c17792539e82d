"""The display of a running sweep, on a console that is recorded; its journal is written here."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from kinesweep.cli import console
from kinesweep.cli.display import SweepDisplay
from kinesweep.sweeps.journal.journal import Journal

NOW = 10_000.0


class Told(Journal):
    """A journal whose clock a test sets."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        super().__init__(folder, lambda: self.now)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path)
    yield made
    made.close()


def fill(journal: Told) -> None:
    """Writes a search with an end of every kind, and finals that are under way."""
    journal.start_session("id", "A question?")
    journal.append_event("search_started", trials=5)
    ends = ["finished", "pruned", "failed", "finished", ""]
    for number, state in enumerate(ends):
        journal.append_event("trial_created", trial=number, values={}, config=str(number))
        scores = {"bleu": 70.0 + number, "decode_ms": 3.84} if state == "finished" else {}
        journal.now += 10
        if state:
            journal.append_event(
                "trial_ended", trial=number, state=state, scores=scores, reason="", seconds=1.0
            )


def drawn(folder: Path, now: float, since: float = NOW, width: int = 100) -> str:
    """The display, once."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(SweepDisplay(folder, since, lambda: now))
    return console.export_text()


def test_trials_by_state_and_the_best(tmp_path: Path, journal: Told) -> None:
    fill(journal)
    first, second, *rest = drawn(tmp_path, NOW + 65).splitlines()
    assert first.startswith("search") and "4 of 5 trials" in first
    assert first.rstrip().endswith("1 running · 2 finished · 1 pruned · 1 failed")
    best = "best bleu 73.00 · 3.8 ms a clip (trial 3)"
    assert second.rstrip() == f"{best}   1:05 elapsed   about 0:00 left of the search"
    assert not rest


def test_finals_have_a_line_of_their_own(tmp_path: Path, journal: Told) -> None:
    fill(journal)
    journal.append_event("finals_started", runs=9, missing=8)
    for run in "ab":
        journal.append_event("run_started", run=run, finalist="x")
    journal.now += 30
    journal.append_event("run_finished", run="a", finalist="x", seconds=30.0, scores={"bleu": 1.0})
    _, finals, summary = drawn(tmp_path, journal.now).splitlines()
    assert finals.startswith("finals") and "2 of 9 runs" in finals
    assert finals.rstrip().endswith("1 running · 2 finished")
    assert summary.rstrip().endswith("1:20 elapsed   about 3:30 left of the finals")


def test_it_follows_the_journal(tmp_path: Path, journal: Told) -> None:
    shown, console = SweepDisplay(tmp_path, NOW, lambda: NOW), Console(file=io.StringIO())
    assert not list(console.render(shown))
    journal.start_session("id", "A question?")
    journal.append_event("search_started", trials=5)
    for number in range(3):
        journal.append_event("trial_created", trial=number, values={}, config=str(number))
        with console.capture() as said:
            console.print(shown)
        assert f"{number + 1} running" in said.get()


def test_nothing_before_the_driver_and_after_the_ranking(tmp_path: Path, journal: Told) -> None:
    assert drawn(tmp_path / "nowhere", NOW) == ""
    assert drawn(tmp_path, NOW) == ""
    fill(journal)
    assert drawn(tmp_path, NOW, since=NOW + 1) == "", "a session before this one"
    journal.append_event("ranked", winner="x")
    assert drawn(tmp_path, NOW) == ""


@pytest.mark.parametrize(
    "line", ["no journal", '{"event": "trial_eaten", "time": 10001, "trial": 0}']
)
def test_a_journal_that_cannot_be_read_does_not_end_the_sweep(
    tmp_path: Path, journal: Told, line: str
) -> None:
    fill(journal)
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(line + "\n")
    assert drawn(tmp_path, NOW) == ""


def test_a_narrow_terminal_gets_no_more_lines(tmp_path: Path, journal: Told) -> None:
    """A line that is wrapped at the foot of a terminal would be drawn again and again."""
    fill(journal)
    assert len(drawn(tmp_path, NOW, width=60).splitlines()) == 2


def on(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> io.StringIO:
    """The commands' console, on a file that is a terminal or none."""
    file = io.StringIO()
    made = Console(file=file, force_terminal=terminal, width=100, soft_wrap=True, highlight=False)
    monkeypatch.setattr(console, "console", made)
    return file


def test_lines_stand_above_it(
    tmp_path: Path, journal: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = on(monkeypatch, terminal=True)
    fill(journal)
    with console.TerminalDisplay().show_sweep(tmp_path, NOW):
        console.print_line("trial 4: learning_rate=0.01")
        print("from somewhere else")
    said = file.getvalue()
    assert "4 of 5 trials" in said
    for line in ("trial 4: learning_rate=0.01\n", "from somewhere else\n"):
        # What is drawn is erased first, and drawn again below the line.
        before, after = said.split(line)
        assert "\x1b[2K" in before.rsplit("\n", 1)[-1]
        assert "4 of 5 trials" in after
    assert said.rstrip().endswith("\x1b[2K"), "nothing of it stays"


def test_there_is_none_in_a_file(
    tmp_path: Path, journal: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = on(monkeypatch, terminal=False)
    fill(journal)
    with console.TerminalDisplay().show_sweep(tmp_path, NOW):
        console.print_line("trial 4: learning_rate=0.01")
    assert file.getvalue() == "trial 4: learning_rate=0.01\n"
