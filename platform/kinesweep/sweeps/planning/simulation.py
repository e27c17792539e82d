"""Execution of an policy in virtual time, the counterpart of `tune_runner.drive` on a cluster.

Agenda, samplers, pruners and budgets are the classes of the real sweep; only runs and clock are
simulated. 500 trials take about a second, most of it spent in the sampler.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy


@dataclass(frozen=True)
class SimulatedRun:
    """The course of a run that nothing stops.

    Attributes:
        evaluations: Pairs of seconds since the first batch and metrics
            `{"step", "samples", "token_loss", …}`.
        end: End of the run; its `seconds` cover the whole run without its start.
    """

    evaluations: Sequence[tuple[float, Mapping[str, float]]]
    end: RunEnd


@dataclass
class Clock:
    """A virtual clock in seconds, also used by the journal."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the current time."""
        return self.now


@dataclass(frozen=True)
class Simulated:
    """The cost of a simulation.

    Attributes:
        seconds: Virtual wall-clock time.
        run_seconds: Duration of all runs together, including their starts.
        runs: Number of runs.
    """

    seconds: float
    run_seconds: float
    runs: int


@dataclass(order=True)
class _Event:
    """The next evaluation or the end of a run; sorted by time, then by order of start."""

    at: float
    turn: int
    index: int = field(compare=False)
    request: RunRequest = field(compare=False)
    course: SimulatedRun = field(compare=False)
    began: float = field(compare=False)


def simulate(
    policy: SweepPolicy,
    course_of: Callable[[RunRequest], SimulatedRun],
    slots: int,
    clock: Clock,
    start_s: float = 0.0,
) -> Simulated:
    """Execute an policy until it is over.

    Args:
        policy: Policy that decides what to run.
        course_of: Function that returns the course of a proposed run.
        slots: Number of runs at a time.
        clock: Clock of the policy's journal; advanced from its current time.
        start_s: Seconds from a request to the first batch.
    """
    queue: list[_Event] = []
    opened, run_seconds, runs = clock.now, 0.0, 0
    while not policy.is_finished:
        # Free slots are filled before time moves on, as the real runner does.
        while len(queue) < slots and (request := policy.propose()) is not None:
            runs += 1
            first = _Event(clock.now, runs, -1, request, course_of(request), clock.now)
            heapq.heappush(queue, _next(first, start_s))
        # Without runs in progress `propose` returned None because it closed the policy just now.
        if not queue:
            continue
        event = heapq.heappop(queue)
        clock.now = max(clock.now, event.at)
        seconds = clock.now - event.began
        evaluations, end = event.course.evaluations, event.course.end
        if event.index < len(evaluations):
            if policy.report(event.request.key, evaluations[event.index][1]):
                heapq.heappush(queue, _next(event, start_s))
                continue
            end = RunEnd("pruned")
        run_seconds += seconds
        policy.tell(event.request.key, RunEnd(end.state, end.scores, end.reason, seconds))
    return Simulated(clock.now - opened, run_seconds, runs)


def _next(event: _Event, start_s: float) -> _Event:
    """Return the event after this one of the same run: its next evaluation, or its end."""
    index, course = event.index + 1, event.course
    done = index >= len(course.evaluations)
    after = course.end.seconds if done else course.evaluations[index][0]
    at = event.began + start_s + after
    return _Event(at, event.turn, index, event.request, course, event.began)
