"""The short form of `make fuzz`: 200 mutated inputs over all readers, in this process."""

import time
from pathlib import Path

import pytest

from fuzz.runner import Outcome, run_once, run_target
from fuzz.targets import TARGETS, Target
from kinesweep.core.errors import InputError

QUICK = [target for target in TARGETS if not target.is_slow]
NUM_INPUTS = 200
SHARE = -(-NUM_INPUTS // len(QUICK))


@pytest.mark.parametrize("target", QUICK, ids=[target.name for target in QUICK])
def test_mutated_inputs_are_read_or_refused(target: Target) -> None:
    outcome = run_target(target, range(SHARE), seed=0)
    assert outcome.failures == []
    assert outcome.counts.total() == SHARE


def attempt(folder: Path, read: object) -> Outcome:
    outcome = Outcome()
    run_once(Target("x", print, (), read), folder, outcome, "x 0")  # type: ignore[arg-type]
    return outcome


def turn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def refuse(folder: Path) -> None:
    raise InputError("no")


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda folder: {}["key"], "KeyError at test_fuzz.py"),
        (lambda folder: turn(5), "HangError"),
        (lambda folder: bytearray(1_500_000_000), "MemoryError"),
        (lambda folder: (folder.parent / "secret").read_text(), "outside of its folder"),
        (lambda folder: (folder.parent / "new").mkdir(), "outside of its folder"),
    ],
)
def test_what_is_forbidden_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: object, words: str
) -> None:
    monkeypatch.setattr("fuzz.runner.LIMIT_S", 0.3)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "corpus").mkdir()
    outcome = attempt(tmp_path / "corpus", read)
    assert outcome.counts == {"failed": 1} and words in outcome.failures[0]


def test_refusals_are_no_failures(tmp_path: Path) -> None:
    assert attempt(tmp_path, refuse).counts == {"refused": 1}


def test_equal_seeds_give_equal_inputs() -> None:
    target = next(target for target in QUICK if target.name == "captions vtt")
    assert run_target(target, range(9), 1).counts == run_target(target, range(9), 1).counts
