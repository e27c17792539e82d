"""The request broker of a warm slot: one request at a time, from lease to result, without Ray.

Three parties call a `RequestBroker`, each from its own threads: a trial leases the slot and polls
for reports; the ranks of a worker group take the request, report evaluations and submit their
results; the slot records the end of the group. Every request has a unique token, and calls with any
other token have no effect. If a trial stops renewing its lease, because its process was killed, the
request expires and the workers stop at their next step.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LEASE_S = 15.0
"""Seconds without a renewal or poll by its trial after which a request expires."""
_LONG_POLL_S = 1.0


@dataclass(frozen=True)
class RequestResult:
    """The result of a request.

    Attributes:
        kind: `result`: the run ended by itself; `failed`: the run raised an error; `lost`: the
            workers died, or the broker does not know the request.
        value: Result as plain values.
        reason: Error message, or the cause of the loss.
    """

    kind: Literal["result", "failed", "lost"]
    value: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def format_first_line(error: BaseException) -> str:
    """Return the error's type and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


@dataclass
class SlotRequest:
    """A request of a trial to train one run in the slot.

    Attributes:
        token: Unique name of the request; never reused.
        task: Packed run for the workers; not interpreted here.
        last_renewal: Time of the last renewal or poll by the trial.
        reports: Evaluations so far, in order.
        num_delivered: Number of reports delivered to the trial.
        num_acknowledged: Number of reports after which the trial lets the run continue.
        taken_ranks: Ranks that have received the task.
        finished_ranks: Ranks that are done.
        rank0_result: Result of rank 0, kept until all ranks are done.
        result: Final result; None until the request ends.
        stop_reason: Reason why the workers should stop; empty if they should continue.
        is_result_delivered: Whether the trial has received the final result.
    """

    token: str
    task: Any
    last_renewal: float
    reports: list[dict[str, float]] = field(default_factory=list)
    num_delivered: int = 0
    num_acknowledged: int = 0
    taken_ranks: set[int] = field(default_factory=set)
    finished_ranks: set[int] = field(default_factory=set)
    rank0_result: RequestResult | None = None
    result: RequestResult | None = None
    stop_reason: str = ""
    is_result_delivered: bool = False


CLOSE = "close"


class RequestBroker:
    """The request broker of one slot. One condition variable guards all of its state.

    Args:
        num_ranks: Number of workers; each must take every request and submit a result.
        lease_s: Seconds until an unrenewed lease expires.
        clock: Function that returns the time in seconds; replaced in tests.
    """

    def __init__(
        self, num_ranks: int, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.num_ranks = num_ranks
        self._lease_s, self._clock = lease_s, clock
        self._condition = threading.Condition()
        self._current: SlotRequest | None = None
        self._group = ""
        self._present_ranks: set[int] = set()
        self._was_complete = False
        self._closing = False

    def register_group(self) -> str:
        """Register a new worker group and return its name; workers of earlier groups must close.

        The name is unique, so workers left over from a killed slot are not accepted here.
        """
        with self._condition:
            self._group = uuid.uuid4().hex
            self._present_ranks.clear()
            self._was_complete = False
            self._condition.notify_all()
            return self._group

    def lease(self, token: str, task: Any) -> bool:
        """Lease the slot for a request and return whether the lease was granted.

        It is refused if the slot is taken or not all workers are present, so that no trial waits
        for a slot whose workers cannot be placed.
        """
        with self._condition:
            if self._closing or len(self._present_ranks) < self.num_ranks or not self._is_free():
                return False
            self._current = SlotRequest(token, task, self._clock())
            self._condition.notify_all()
            return True

    def poll_next_report(
        self, token: str, timeout_s: float = _LONG_POLL_S
    ) -> dict[str, float] | RequestResult | None:
        """Return the next report or the result of a request, or None after the timeout.

        Polling again acknowledges the previous report, so that the run continues.
        """
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while True:
                request = self._find_request(token)
                if request is None:
                    return RequestResult("lost", reason="its slot was lost")
                # Polling renews the lease and acknowledges all reports that were delivered before.
                request.last_renewal = self._clock()
                if request.num_acknowledged < request.num_delivered:
                    request.num_acknowledged = request.num_delivered
                    self._condition.notify_all()
                if request.num_delivered < len(request.reports):
                    request.num_delivered += 1
                    return request.reports[request.num_delivered - 1]
                if request.result is not None:
                    # Only a delivered result frees the slot; see `_is_free`.
                    request.is_result_delivered = True
                    self._condition.notify_all()
                    return request.result
                if not self._wait_for_change(deadline):
                    return None

    def renew_lease(self, token: str) -> None:
        """Extend the lease of a request."""
        with self._condition:
            request = self._find_request(token)
            if request is not None:
                request.last_renewal = self._clock()

    def cancel_request(self, token: str) -> None:
        """Cancel a request whose trial was pruned."""
        with self._condition:
            request = self._find_request(token)
            # A request that has ended keeps its result: a late cancellation must not hide it.
            if request is not None and request.result is None:
                request.stop_reason = "pruned"
                self._condition.notify_all()

    def take_request(
        self, group: str, rank: int, last_token: str, timeout_s: float = _LONG_POLL_S
    ) -> tuple[str, Any] | str | None:
        """Return `(token, task)` of a new request to a rank, `CLOSE`, or None after the timeout.

        A request that one rank has taken is given to all ranks, even if it was canceled meanwhile:
        otherwise the ranks that have it would wait forever in their first collective.
        """
        deadline = time.monotonic() + timeout_s
        with self._condition:
            while True:
                if group != self._group or self._closing:
                    return CLOSE
                self._present_ranks.add(rank)
                # `SlotActor._run_worker_groups` counts groups that were never complete.
                self._was_complete |= len(self._present_ranks) == self.num_ranks
                request = self._current
                if request is not None and request.token != last_token and self._can_take(request):
                    request.taken_ranks.add(rank)
                    return request.token, request.task
                if not self._wait_for_change(deadline):
                    return None

    def report_evaluation(self, token: str, metrics: Mapping[str, float]) -> bool:
        """Record an evaluation, wait for the trial, and return whether the run may continue."""
        with self._condition:
            request = self._find_request(token)
            if request is None or self._update_stop_reason(request):
                return False
            request.reports.append(dict(metrics))
            num_reports = len(request.reports)
            self._condition.notify_all()
            # No timeout: the trial acknowledges, cancels, or dies, and then its lease expires.
            while not self._update_stop_reason(request):
                if request.num_acknowledged >= num_reports:
                    return True
                self._wait_for_change(time.monotonic() + _LONG_POLL_S)
            return False

    def get_stop_reason(self, token: str) -> str:
        """Return why workers should stop (`pruned`, `expired`, `closed`), or an empty string."""
        with self._condition:
            request = self._find_request(token)
            return "expired" if request is None else self._update_stop_reason(request)

    def submit_result(self, token: str, rank: int, result: RequestResult) -> None:
        """Record that a rank is done; once all are, rank 0's result becomes that of the request."""
        with self._condition:
            request = self._find_request(token)
            if request is None or request.result is not None:
                return
            request.finished_ranks.add(rank)
            if rank == 0:
                request.rank0_result = result
            if len(request.finished_ranks) == self.num_ranks:
                # A stopped run may still return a result, but its training is incomplete.
                reason = self._update_stop_reason(request)
                request.result = (
                    RequestResult("lost", reason=reason) if reason else request.rank0_result
                )
            self._condition.notify_all()

    def fail_request(self, token: str, reason: str) -> None:
        """End a request whose run raised an error that a retry would raise again."""
        with self._condition:
            request = self._find_request(token)
            if request is not None and request.result is None:
                # The workers exit after this, so nothing may be leased until new ones are present.
                self._present_ranks.clear()
                stop_reason = self._update_stop_reason(request)
                request.result = RequestResult(
                    "lost" if stop_reason else "failed", reason=stop_reason or reason
                )
                self._condition.notify_all()

    def end_group(self, group: str, reason: str) -> bool:
        """Record the end of a worker group; return whether all of its ranks had been present."""
        with self._condition:
            if group != self._group:  # an earlier group, which has no part in the current request
                return True
            self._present_ranks.clear()
            request = self._current
            if request is not None:
                request.result = request.result or RequestResult("lost", reason=reason)
            self._condition.notify_all()
            return self._was_complete

    def close(self) -> None:
        """Reject further requests and tell the workers to stop and exit."""
        with self._condition:
            self._closing = True
            if self._current is not None and self._current.result is None:
                self._current.stop_reason = self._current.stop_reason or "closed"
            self._condition.notify_all()

    def _is_free(self) -> bool:
        """Return whether another request may be leased."""
        request = self._current
        if request is None:
            return True
        if request.result is None:
            # An expired request that no worker has started; no trial waits for its result.
            return not request.taken_ranks and bool(self._update_stop_reason(request))
        return request.is_result_delivered or bool(self._update_stop_reason(request))

    def _can_take(self, request: SlotRequest) -> bool:
        """Return whether ranks may take a request: it has no result and was not stopped before."""
        return request.result is None and (
            bool(request.taken_ranks) or not self._update_stop_reason(request)
        )

    def _find_request(self, token: str) -> SlotRequest | None:
        """Return the current request if it has this token."""
        request = self._current
        return request if request is not None and request.token == token else None

    def _update_stop_reason(self, request: SlotRequest) -> str:
        """Mark a request as expired if its lease ran out, and return its stop reason or ''."""
        if not request.stop_reason and self._clock() - request.last_renewal > self._lease_s:
            request.stop_reason = "expired"
        return request.stop_reason

    def _wait_for_change(self, deadline: float) -> bool:
        """Wait up to 0.2 s for a state change; return False if the deadline has passed."""
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return False
        self._condition.wait(min(remaining_s, 0.2))
        return True
