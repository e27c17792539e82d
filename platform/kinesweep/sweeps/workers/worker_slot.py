"""The request broker of a warm slot: one request at a time, from lease to outcome, without Ray.

Three parties call a `RequestBroker`, each from its own threads: a trial leases the slot and polls
for reports; the ranks of a worker group take the request, report and answer; the slot announces the
end of the group. Every request has a unique token, and calls with any other token have no effect. A
trial that stops renewing its lease, because its process was killed, loses the request, and the
workers stop at their next step.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LEASE_S = 15.0
"""Seconds without a sign of life from its trial after which a request is given up."""
_LONG_POLL_S = 1.0


@dataclass(frozen=True)
class RequestResult:
    """How a request ended.

    Attributes:
        kind: `result`: the run ended by itself; `failed`: the run raised an error; `lost`: the
            workers died, or the broker does not know the request.
        value: Result as plain values.
        reason: Error message, or the cause of the loss.
    """

    kind: Literal["result", "failed", "lost"]
    value: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, preceded by the error's type."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


@dataclass
class Request:
    """A run that a trial wants to have trained.

    Attributes:
        token: Unique name of the request; never reused.
        task: Packed run for the workers; not interpreted here.
        renewed: Time of the last sign of life from the trial.
        reports: Evaluations so far, in order.
        delivered: Number of reports handed to the trial.
        acknowledged: Number of reports after which the trial lets the run continue.
        taken: Ranks that have received the task.
        answered: Ranks that are done.
        said: Outcome according to rank 0, until all ranks are done.
        outcome: Final outcome.
        cancelled: Reason why the workers should stop; empty while they should not.
        told: Whether the trial has received the outcome.
    """

    token: str
    task: Any
    renewed: float
    reports: list[dict[str, float]] = field(default_factory=list)
    delivered: int = 0
    acknowledged: int = 0
    taken: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    said: RequestResult | None = None
    outcome: RequestResult | None = None
    cancelled: str = ""
    told: bool = False


CLOSE = "close"


class RequestBroker:
    """The request broker of one slot. One condition variable guards all of its state.

    Args:
        ranks: Number of workers; each must take and answer every request.
        lease_s: Seconds until an unrenewed lease expires.
        clock: Function that returns the time in seconds; replaced in tests.
    """

    def __init__(
        self, ranks: int, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ranks = ranks
        self._lease_s, self._clock = lease_s, clock
        self._changed = threading.Condition()
        self._current: Request | None = None
        self._group = ""
        self._present: set[int] = set()
        self._came = False
        self._closing = False

    def open_group(self) -> str:
        """Register a new worker group, tell earlier ones to close, and return the group's name.

        The name is unique, so workers left over from a killed slot are not accepted here.
        """
        with self._changed:
            self._group = uuid.uuid4().hex
            self._present.clear()
            self._came = False
            self._changed.notify_all()
            return self._group

    def lease(self, token: str, task: Any) -> bool:
        """Assign the slot to a request; return False if it is taken or not all workers are present.

        A slot whose workers cannot be placed, because their node died, therefore blocks no trial.
        """
        with self._changed:
            if self._closing or len(self._present) < self.ranks or not self._is_free():
                return False
            self._current = Request(token, task, self._clock())
            self._changed.notify_all()
            return True

    def poll(
        self, token: str, timeout_s: float = _LONG_POLL_S
    ) -> dict[str, float] | RequestResult | None:
        """Return the next report or the outcome of a request, or None after the timeout.

        Polling again acknowledges the report before: the run may continue.
        """
        give_up = time.monotonic() + timeout_s
        with self._changed:
            while True:
                request = self._mine(token)
                if request is None:
                    return RequestResult("lost", reason="its slot was lost")
                # Polling is a sign of life, and it tells that the trial has seen all reports that
                # were delivered before.
                request.renewed = self._clock()
                if request.acknowledged < request.delivered:
                    request.acknowledged = request.delivered
                    self._changed.notify_all()
                if request.delivered < len(request.reports):
                    request.delivered += 1
                    return request.reports[request.delivered - 1]
                if request.outcome is not None:
                    # Only a delivered outcome frees the slot; see `_is_free`.
                    request.told = True
                    self._changed.notify_all()
                    return request.outcome
                if not self._wait(give_up):
                    return None

    def renew(self, token: str) -> None:
        """Extend the lease of a request."""
        with self._changed:
            request = self._mine(token)
            if request is not None:
                request.renewed = self._clock()

    def cancel(self, token: str) -> None:
        """Cancel a request whose trial was pruned."""
        with self._changed:
            request = self._mine(token)
            # A request that has ended keeps its outcome: a late cancellation must not hide it.
            if request is not None and request.outcome is None:
                request.cancelled = "pruned"
                self._changed.notify_all()

    def take(
        self, group: str, rank: int, seen: str, timeout_s: float = _LONG_POLL_S
    ) -> tuple[str, Any] | str | None:
        """Return `(token, task)` of a new request to a rank, `CLOSE`, or None after the timeout.

        A request that one rank has taken is given to all ranks, even if it was cancelled meanwhile:
        ranks that have it would wait forever for the others in their first collective.
        """
        give_up = time.monotonic() + timeout_s
        with self._changed:
            while True:
                if group != self._group or self._closing:
                    return CLOSE
                self._present.add(rank)
                # A group that was never complete counts as a failed start in `Slot._keep_group`.
                self._came |= len(self._present) == self.ranks
                request = self._current
                if request is not None and request.token != seen and self._may_take(request):
                    request.taken.add(rank)
                    return request.token, request.task
                if not self._wait(give_up):
                    return None

    def report(self, token: str, metrics: Mapping[str, float]) -> bool:
        """Record rank 0's evaluation and block until the trial decides if the run continues."""
        with self._changed:
            request = self._mine(token)
            if request is None or self._stopped(request):
                return False
            request.reports.append(dict(metrics))
            place = len(request.reports)
            self._changed.notify_all()
            # No timeout: the trial acknowledges, cancels, or dies, and then its lease expires.
            while not self._stopped(request):
                if request.acknowledged >= place:
                    return True
                self._wait(time.monotonic() + _LONG_POLL_S)
            return False

    def stop_reason(self, token: str) -> str:
        """Return why workers should stop (`pruned`, `expired`, `closed`), or an empty string."""
        with self._changed:
            request = self._mine(token)
            return "expired" if request is None else self._stopped(request)

    def answer(self, token: str, rank: int, outcome: RequestResult) -> None:
        """Record that a rank is done; when all are, rank 0's outcome becomes the request's."""
        with self._changed:
            request = self._mine(token)
            if request is None or request.outcome is not None:
                return
            request.answered.add(rank)
            if rank == 0:
                request.said = outcome
            if len(request.answered) == self.ranks:
                # A stopped run may still return a result, but of a truncated training.
                stopped = self._stopped(request)
                request.outcome = RequestResult("lost", reason=stopped) if stopped else request.said
            self._changed.notify_all()

    def fail(self, token: str, reason: str) -> None:
        """End a request whose run raised an error that a retry would raise again."""
        with self._changed:
            request = self._mine(token)
            if request is not None and request.outcome is None:
                # The workers leave after this, so nothing may be leased until new ones are present.
                self._present.clear()
                stopped = self._stopped(request)
                request.outcome = RequestResult(
                    "lost" if stopped else "failed", reason=stopped or reason
                )
                self._changed.notify_all()

    def group_ended(self, group: str, reason: str) -> bool:
        """Record the end of a worker group; return whether all of its ranks had been present."""
        with self._changed:
            if group != self._group:  # an earlier group; the current request is not its own
                return True
            self._present.clear()
            request = self._current
            if request is not None:
                request.outcome = request.outcome or RequestResult("lost", reason=reason)
            self._changed.notify_all()
            return self._came

    def close(self) -> None:
        """Accept no further requests and tell the workers to stop and leave."""
        with self._changed:
            self._closing = True
            if self._current is not None and self._current.outcome is None:
                self._current.cancelled = self._current.cancelled or "closed"
            self._changed.notify_all()

    def _is_free(self) -> bool:
        """Return whether another request may be leased."""
        request = self._current
        if request is None:
            return True
        if request.outcome is None:
            # An expired request that no worker has started; nobody waits for its outcome.
            return not request.taken and bool(self._stopped(request))
        return request.told or bool(self._stopped(request))

    def _may_take(self, request: Request) -> bool:
        """Return whether ranks may take a request: it is open, and not stopped before it began."""
        return request.outcome is None and (bool(request.taken) or not self._stopped(request))

    def _mine(self, token: str) -> Request | None:
        """Return the current request if it has this token."""
        request = self._current
        return request if request is not None and request.token == token else None

    def _stopped(self, request: Request) -> str:
        """Return why a request should stop, or an empty string; cancel it if its lease expired."""
        if not request.cancelled and self._clock() - request.renewed > self._lease_s:
            request.cancelled = "expired"
        return request.cancelled

    def _wait(self, give_up: float) -> bool:
        """Wait up to 0.2 s for a change, to notice expired leases; return False if time is up."""
        left = give_up - time.monotonic()
        if left <= 0:
            return False
        self._changed.wait(min(left, 0.2))
        return True
