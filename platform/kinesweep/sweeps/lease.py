"""The book-keeping of a warm slot: one request at a time, from lease to outcome. No Ray in it.

Three parties call a `Desk`, each from threads of its own: a trial leases and polls, the ranks of a
worker group take, report and answer, and the slot says when the group is gone. Every request has a
token of its own; nothing that is said about another token is believed. A trial that stops renewing
its lease (its process was killed) loses the request, and the workers stop at their next step.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LEASE_S = 15.0
"""Without a word from its trial for so long a request is given up."""
_LONG_POLL_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a request ended.

    Attributes:
        kind: `result`: the run came to an end of its own; `failed`: it raised; `lost`: its workers
            died, or the desk knows nothing of it.
        value: the result in plain values.
        reason: what was raised, or why it is lost.
    """

    kind: Literal["result", "failed", "lost"]
    value: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def first_line(error: BaseException) -> str:
    """Return an error as one line, its type first."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


@dataclass
class Request:
    """One run that a trial wants trained.

    Attributes:
        token: names it, and no other, ever.
        task: The packed run that the workers are handed; opaque here.
    """

    token: str
    task: Any
    renewed: float
    reports: list[dict[str, float]] = field(default_factory=list)
    delivered: int = 0
    acknowledged: int = 0
    taken: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    said: Outcome | None = None
    outcome: Outcome | None = None
    cancelled: str = ""
    told: bool = False


CLOSE = "close"


class Desk:
    """Requests of one slot.

    Args:
        ranks: workers that must all take a request and all answer it.
        lease_s: see `LEASE_S`.
        clock: seconds; replaced in tests.
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
        """A new worker group begins; those before are told to close. Returns its name.

        No other desk gives this name, so workers of one that was killed are no one's here.
        """
        with self._changed:
            self._group = uuid.uuid4().hex
            self._present.clear()
            self._came = False
            self._changed.notify_all()
            return self._group

    def lease(self, token: str, task: Any) -> bool:
        """Takes the slot for a request, unless another one holds it or it has no workers.

        A slot whose workers cannot be placed (their node died) thus holds no trial up.
        """
        with self._changed:
            if self._closing or len(self._present) < self.ranks or not self._is_free():
                return False
            self._current = Request(token, task, self._clock())
            self._changed.notify_all()
            return True

    def poll(
        self, token: str, timeout_s: float = _LONG_POLL_S
    ) -> dict[str, float] | Outcome | None:
        """The trial's question: the next report, the outcome, or None for now.

        To ask again is to say that the run may go on after the last report.
        """
        give_up = time.monotonic() + timeout_s
        with self._changed:
            while True:
                request = self._mine(token)
                if request is None:
                    return Outcome("lost", reason="its slot was lost")
                request.renewed = self._clock()
                if request.acknowledged < request.delivered:
                    request.acknowledged = request.delivered
                    self._changed.notify_all()
                if request.delivered < len(request.reports):
                    request.delivered += 1
                    return request.reports[request.delivered - 1]
                if request.outcome is not None:
                    request.told = True
                    self._changed.notify_all()
                    return request.outcome
                if not self._wait(give_up):
                    return None

    def renew(self, token: str) -> None:
        """The trial is alive."""
        with self._changed:
            request = self._mine(token)
            if request is not None:
                request.renewed = self._clock()

    def cancel(self, token: str) -> None:
        """The trial wants no more of it."""
        with self._changed:
            request = self._mine(token)
            if request is not None and request.outcome is None:
                request.cancelled = "pruned"
                self._changed.notify_all()

    def take(
        self, group: str, rank: int, seen: str, timeout_s: float = _LONG_POLL_S
    ) -> tuple[str, Any] | str | None:
        """A rank's question: `(token, task)` of a new request, `CLOSE`, or None for now.

        A request that one rank has taken is handed to all, cancelled or not: the others would wait
        for each other for ever.
        """
        give_up = time.monotonic() + timeout_s
        with self._changed:
            while True:
                if group != self._group or self._closing:
                    return CLOSE
                self._present.add(rank)
                self._came |= len(self._present) == self.ranks
                request = self._current
                if request is not None and request.token != seen and self._may_take(request):
                    request.taken.add(rank)
                    return request.token, request.task
                if not self._wait(give_up):
                    return None

    def report(self, token: str, metrics: Mapping[str, float]) -> bool:
        """Rank 0's evaluation. Waits for the trial's answer: whether the run may go on."""
        with self._changed:
            request = self._mine(token)
            if request is None or self._stopped(request):
                return False
            request.reports.append(dict(metrics))
            place = len(request.reports)
            self._changed.notify_all()
            while not self._stopped(request):
                if request.acknowledged >= place:
                    return True
                self._wait(time.monotonic() + _LONG_POLL_S)
            return False

    def stop_reason(self, token: str) -> str:
        """Why the workers should stop: `pruned`, `expired`, or empty while they should not."""
        with self._changed:
            request = self._mine(token)
            return "expired" if request is None else self._stopped(request)

    def answer(self, token: str, rank: int, outcome: Outcome) -> None:
        """A rank is done; the request ends when all are. Rank 0's word counts."""
        with self._changed:
            request = self._mine(token)
            if request is None or request.outcome is not None:
                return
            request.answered.add(rank)
            if rank == 0:
                request.said = outcome
            if len(request.answered) == self.ranks:
                stopped = self._stopped(request)
                request.outcome = Outcome("lost", reason=stopped) if stopped else request.said
            self._changed.notify_all()

    def fail(self, token: str, reason: str) -> None:
        """A rank's run raised what it would raise again; its workers leave, and new ones come."""
        with self._changed:
            request = self._mine(token)
            if request is not None and request.outcome is None:
                self._present.clear()
                stopped = self._stopped(request)
                request.outcome = Outcome("lost" if stopped else "failed", reason=stopped or reason)
                self._changed.notify_all()

    def group_ended(self, group: str, reason: str) -> bool:
        """The worker group is gone; its request is lost. Returns whether it had come to work."""
        with self._changed:
            if group != self._group:
                return True
            self._present.clear()
            request = self._current
            if request is not None:
                request.outcome = request.outcome or Outcome("lost", reason=reason)
            self._changed.notify_all()
            return self._came

    def close(self) -> None:
        """No further requests; the workers stop and leave."""
        with self._changed:
            self._closing = True
            if self._current is not None and self._current.outcome is None:
                self._current.cancelled = self._current.cancelled or "closed"
            self._changed.notify_all()

    def _is_free(self) -> bool:
        request = self._current
        if request is None:
            return True
        if request.outcome is None:
            # Nobody has begun with it, and nobody waits for it any more.
            return not request.taken and bool(self._stopped(request))
        return request.told or bool(self._stopped(request))

    def _may_take(self, request: Request) -> bool:
        return request.outcome is None and (bool(request.taken) or not self._stopped(request))

    def _mine(self, token: str) -> Request | None:
        request = self._current
        return request if request is not None and request.token == token else None

    def _stopped(self, request: Request) -> str:
        if not request.cancelled and self._clock() - request.renewed > self._lease_s:
            request.cancelled = "expired"
        return request.cancelled

    def _wait(self, give_up: float) -> bool:
        """Waits for a change; False when the time is up. Wakes at times to see leases expire."""
        left = give_up - time.monotonic()
        if left <= 0:
            return False
        self._changed.wait(min(left, 0.2))
        return True
