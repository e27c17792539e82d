"""Execution of a policy in virtual time, the counterpart of `TuneRunner.run_policy` on a cluster.

Policies, samplers, pruners and budgets are the classes of the real sweep; only runs and clock are
simulated. 500 trials take about a second, most of it spent in the sampler.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy


@dataclass(frozen=True)
class SimulatedRun:
    """A simulated run: its evaluations, and its end if it is not stopped early.

    Attributes:
        evaluations: Pairs of seconds since the start of the run and metrics
            `{"step", "samples", "token_loss", …}`.
        end: End of the run; its `seconds` cover the whole run without the wait for its start.
    """

    evaluations: Sequence[tuple[float, Mapping[str, float]]]
    end: RunEnd


@dataclass
class VirtualClock:
    """A virtual clock in seconds, which the journal uses as well."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the current virtual time in seconds."""
        return self.now


@dataclass(frozen=True)
class SimulationResult:
    """The durations of a simulated policy.

    Attributes:
        seconds: Virtual wall-clock time.
        run_seconds: Duration of all runs together, including the waits for their starts.
        num_runs: Number of runs.
    """

    seconds: float
    run_seconds: float
    num_runs: int


@dataclass(order=True)
class _SimulatedEvent:
    """The next evaluation or the end of a simulated run; sorted by time and order of start."""

    time_s: float
    # Breaks ties between equal times, so that a simulation is reproducible.
    start_index: int
    evaluation_index: int = field(compare=False)
    request: RunRequest = field(compare=False)
    run: SimulatedRun = field(compare=False)
    start_s: float = field(compare=False)


def simulate_policy(
    policy: SweepPolicy,
    simulate_run: Callable[[RunRequest], SimulatedRun],
    num_slots: int,
    clock: VirtualClock,
    start_s: float = 0.0,
) -> SimulationResult:
    """Execute a policy in virtual time until it is finished, and return the durations.

    Args:
        policy: Policy that decides what to run.
        simulate_run: Function that returns the simulated run of a request.
        num_slots: Number of runs at a time.
        clock: Clock of the policy's journal; advanced from its current time.
        start_s: Seconds from a request to the start of its run.
    """
    queue: list[_SimulatedEvent] = []
    start_time, run_seconds, num_runs = clock.now, 0.0, 0
    while not policy.is_finished:
        # Free slots are filled before time moves on, as the real runner does.
        while len(queue) < num_slots and (request := policy.propose()) is not None:
            num_runs += 1
            start_event = _SimulatedEvent(
                clock.now, num_runs, -1, request, simulate_run(request), clock.now
            )
            heapq.heappush(queue, _build_next_event(start_event, start_s))
        # Without runs in progress, `propose` returned None because the policy has just finished.
        if not queue:
            continue
        event = heapq.heappop(queue)
        clock.now = max(clock.now, event.time_s)
        seconds = clock.now - event.start_s
        evaluations, end = event.run.evaluations, event.run.end
        if event.evaluation_index < len(evaluations):
            if policy.report_evaluation(event.request.key, evaluations[event.evaluation_index][1]):
                heapq.heappush(queue, _build_next_event(event, start_s))
                continue
            end = RunEnd("pruned")
        run_seconds += seconds
        policy.tell(event.request.key, RunEnd(end.state, end.scores, end.reason, seconds))
    return SimulationResult(clock.now - start_time, run_seconds, num_runs)


def _build_next_event(event: _SimulatedEvent, start_s: float) -> _SimulatedEvent:
    """Build the event that follows in the same run: its next evaluation or its end."""
    index, run = event.evaluation_index + 1, event.run
    is_end = index >= len(run.evaluations)
    offset_s = run.end.seconds if is_end else run.evaluations[index][0]
    time_s = event.start_s + start_s + offset_s
    return _SimulatedEvent(time_s, event.start_index, index, event.request, run, event.start_s)
