"""When the gate for trial actors opens. That it keeps actors: `tests/cluster/test_pool.py`."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest
from kinesweep.sweeps.workers import start_barrier
from kinesweep.sweeps.workers.start_barrier import StartBarrier
from kinesweep.sweeps.workers.tune_components import TrialRegistry


class Agenda:
    """Takes every end."""

    def tell(self, key: str, end: RunEnd) -> None:
        """See `ask_tell.SweepPolicy`."""


def ends(opened: list[str], *trials: str) -> TrialRegistry:
    made = TrialRegistry(Agenda(), lambda: opened.append("opened"))  # type: ignore[arg-type]
    for trial in trials:
        made.register_trial(trial, RunRequest(trial, {}, 0, "search"))
    return made


def test_it_opens_once_when_the_last_actor_has_started() -> None:
    opened: list[str] = []
    made = ends(opened, "a", "b")
    made.mark_started("b")
    assert opened == []
    made.mark_started("a")
    assert opened == ["opened"]
    made.register_trial("c", RunRequest("c", {}, 0, "search"))
    made.mark_started("c")
    assert opened == ["opened"]


def test_nobody_waits_for_an_actor_that_could_not_start() -> None:
    opened: list[str] = []
    made = ends(opened, "a", "b")
    made.mark_started("a")
    made.end_trial("b", RunEnd("died", reason="its process was killed"))
    assert opened == ["opened"]


class Slot:
    """A slot that is called like an actor: `remote` answers, `ray.get` hands the answer on."""

    def __init__(self, alive: bool = True) -> None:
        self.opened: set[str] = set()
        self._alive = alive
        self.open_barrier = SimpleNamespace(remote=self.opened.add)
        self.is_barrier_open = SimpleNamespace(remote=self._is_open)

    def _is_open(self, name: str) -> bool:
        if not self._alive:
            raise ActorDiedError
        return name in self.opened


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits of a gate, which take no time; each look at the clock is a second."""
    pauses: list[float] = []
    now = iter(range(1000))
    monkeypatch.setattr(start_barrier.ray, "get", lambda answer: answer)
    clock = SimpleNamespace(monotonic=lambda: next(now), sleep=pauses.append)
    monkeypatch.setattr(start_barrier, "time", clock)
    return pauses


def gate_of(*slots: Any) -> StartBarrier:
    return StartBarrier(slots, "mine")


def test_it_is_open_in_every_slot(slept: list[float]) -> None:
    slots = [Slot(), Slot(), Slot()]
    made = gate_of(*slots)
    assert not any(made._is_open(slot) for slot in made.slots)
    made.open()
    assert [slot.opened for slot in slots] == [{"mine"}] * 3


def test_a_trial_passes_by_any_slot_that_lives(slept: list[float]) -> None:
    dead, living = Slot(alive=False), Slot()
    gate_of(living).open()
    made = gate_of(dead, living)
    made.wait()
    assert len(slept) == 1, "after the dead one the next was asked, and it was open"
    made.wait()
    assert len(slept) == 1, "who has passed asks no more"


def test_a_gate_that_nobody_opens_is_passed_in_the_end(slept: list[float]) -> None:
    gate_of(Slot()).wait()
    assert len(slept) > 100
