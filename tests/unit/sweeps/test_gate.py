"""When the gate for trial actors opens. That it keeps actors: `tests/cluster/test_pool.py`."""

from kinesweep.sweeps.agenda import End, Proposal
from kinesweep.sweeps.runner import _Ends


class Agenda:
    """Takes every end."""

    def end(self, key: str, end: End) -> None:
        """See `agenda.Agenda`."""


def ends(opened: list[str], *trials: str) -> _Ends:
    made = _Ends(Agenda(), lambda: opened.append("opened"))  # type: ignore[arg-type]
    for trial in trials:
        made.start(trial, Proposal(trial, {}, 0, "search"))
    return made


def test_it_opens_once_when_the_last_actor_has_started() -> None:
    opened: list[str] = []
    made = ends(opened, "a", "b")
    made.started("b")
    assert opened == []
    made.started("a")
    assert opened == ["opened"]
    made.start("c", Proposal("c", {}, 0, "search"))
    made.started("c")
    assert opened == ["opened"]


def test_nobody_waits_for_an_actor_that_could_not_start() -> None:
    opened: list[str] = []
    made = ends(opened, "a", "b")
    made.started("a")
    made.end("b", End("died", reason="its process was killed"))
    assert opened == ["opened"]
