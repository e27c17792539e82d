"""Drives an agenda in virtual time, as `runner.drive` does on a cluster.

The agenda, its samplers, pruners and budgets are the very classes of the real sweep; only runs and
clock are made up. 500 trials take about a second, most of it the sampler's.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kinesweep.sweeps.agenda import Agenda, End, Proposal


@dataclass(frozen=True)
class Course:
    """How a run would go if nobody ended it.

    Attributes:
        evaluations: seconds since its first batch → `{"step", "samples", "token_loss", …}`.
        end: its end; `seconds` is the whole run, its start not counted.
    """

    evaluations: Sequence[tuple[float, Mapping[str, float]]]
    end: End


@dataclass
class Clock:
    """Seconds of a simulation; hand it to the journal."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True)
class Simulated:
    """What a simulation took.

    Attributes:
        seconds: by the clock.
        run_seconds: of all runs, their starts included.
        runs: how many.
    """

    seconds: float
    run_seconds: float
    runs: int


@dataclass(order=True)
class _Event:
    at: float
    turn: int
    index: int = field(compare=False)
    proposal: Proposal = field(compare=False)
    course: Course = field(compare=False)
    began: float = field(compare=False)


def simulate(
    agenda: Agenda,
    course_of: Callable[[Proposal], Course],
    slots: int,
    clock: Clock,
    start_s: float = 0.0,
) -> Simulated:
    """Drives an agenda to its end.

    Args:
        agenda: what is to be run.
        course_of: how a proposed run would go.
        slots: runs at a time.
        clock: of the agenda's journal; moved on from where it stands.
        start_s: from a proposal to its first batch.
    """
    queue: list[_Event] = []
    opened, run_seconds, runs = clock.now, 0.0, 0
    while not agenda.over:
        while len(queue) < slots and (proposal := agenda.propose()) is not None:
            runs += 1
            first = _Event(clock.now, runs, -1, proposal, course_of(proposal), clock.now)
            heapq.heappush(queue, _next(first, start_s))
        if not queue:
            continue
        event = heapq.heappop(queue)
        clock.now = max(clock.now, event.at)
        seconds = clock.now - event.began
        evaluations, end = event.course.evaluations, event.course.end
        if event.index < len(evaluations):
            if agenda.report(event.proposal.key, evaluations[event.index][1]):
                heapq.heappush(queue, _next(event, start_s))
                continue
            end = End("pruned")
        run_seconds += seconds
        agenda.end(event.proposal.key, End(end.state, end.scores, end.reason, seconds))
    return Simulated(clock.now - opened, run_seconds, runs)


def _next(event: _Event, start_s: float) -> _Event:
    """The event after this one of the same run: its next evaluation, or its end."""
    index, course = event.index + 1, event.course
    done = index >= len(course.evaluations)
    after = course.end.seconds if done else course.evaluations[index][0]
    at = event.began + start_s + after
    return _Event(at, event.turn, index, event.proposal, course, event.began)
