"""The request broker of a warm slot: one request at a time, from lease to result, without Ray.

A trial leases the slot and polls for reports; the ranks of a worker group take the request, report
evaluations and submit results; the slot records the end of the group. Calls with another token than
that of the request have no effect. If a trial stops renewing its lease, because its process was
killed, the request expires and the workers stop at their next step.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from kinesweep.sweeps.workers.slot_request import CLOSE, RequestResult, SlotRequest

LEASE_S = 15.0
"""Seconds without a renewal or poll by its trial after which a request expires."""
_LONG_POLL_S = 1.0
"""Seconds after which a call that waits for the other side returns without a response."""


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
        """Register a new worker group and return its unique name; earlier groups must exit."""
        with self._condition:
            self._group = uuid.uuid4().hex
            self._present_ranks.clear()
            self._was_complete = False
            self._condition.notify_all()
            return self._group

    def lease(self, token: str, task: Any) -> bool:
        """Lease the slot for a request and return whether the lease was granted.

        It is refused if the slot is leased or closing, or if not all workers are present, so that
        no trial waits for a slot whose workers cannot be placed.

        Args:
            token: Unique name of the request.
            task: Packed run for the workers.
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

        Polling again acknowledges the previous report, so that the run continues. The result of a
        request that the broker does not know is `lost`.
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
        """Extend the lease of the current request; do nothing if it has another token."""
        with self._condition:
            request = self._find_request(token)
            if request is not None:
                request.last_renewal = self._clock()

    def cancel_request(self, token: str) -> None:
        """Mark the request of a pruned trial, so that its workers stop, unless it has ended."""
        with self._condition:
            request = self._find_request(token)
            # A request that has ended keeps its result: a late cancellation must not hide it.
            if request is not None and request.result is None:
                request.stop_reason = "pruned"
                self._condition.notify_all()

    def take_request(
        self, group: str, rank: int, last_token: str, timeout_s: float = _LONG_POLL_S
    ) -> tuple[str, Any] | str | None:
        """Wait for a request that a rank has not taken yet, and return its token and task.

        A request that one rank has taken is given to all ranks, even if it was canceled meanwhile:
        otherwise the ranks that have it would wait forever in their first collective.

        Args:
            group: Name of the rank's worker group.
            rank: Rank within the worker group.
            last_token: Token of the last request that the rank has taken; empty for none.
            timeout_s: Maximum waiting time in seconds.

        Returns:
            Token and task; or `CLOSE` if the slot is closing or the worker group is not the current
            one; or None after the timeout.
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
                if request is not None and request.token != last_token:
                    # An expired request stays expired, even if its trial renews the lease later.
                    self._update_stop_reason(request)
                    if self._is_takeable(request):
                        request.taken_ranks.add(rank)
                        return request.token, request.task
                if not self._wait_for_change(deadline):
                    return None

    def report_evaluation(self, token: str, metrics: Mapping[str, float]) -> bool:
        """Record an evaluation of the run, wait for the decision of its trial, and return it.

        Returns:
            True if the run may continue; False if its request was canceled, expired or closed.
        """
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
        """Return why workers should stop (`pruned`, `expired` or `closed`), or an empty string.

        A request whose lease has run out is marked as expired, for good. A request that the broker
        does not know counts as expired.
        """
        with self._condition:
            request = self._find_request(token)
            return "expired" if request is None else self._update_stop_reason(request)

    def submit_result(self, token: str, rank: int, result: RequestResult) -> None:
        """Record that a rank is done; once all are, rank 0's result becomes that of the request.

        The result of a request that was stopped is `lost`.
        """
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
        """End a request as failed, because its run raised an error that a retry would raise again.

        The result of a request that was stopped is `lost`.
        """
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
        """Record the end of a worker group; the current request is lost if it has no result yet.

        Args:
            group: Name of the worker group.
            reason: Reason for which the group ended.

        Returns:
            Whether all ranks of the group had been present at the same time; True for a group that
            is not the current one.
        """
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
        """Return whether the slot has no request that a worker or a trial still needs.

        The request is not changed; an expired one is replaced by the next lease.
        """
        request = self._current
        if request is None:
            return True
        if request.result is None:
            # A stopped request that no worker has started; no trial waits for its result.
            return not request.taken_ranks and self._is_stopped(request)
        return request.is_result_delivered or self._is_stopped(request)

    def _is_takeable(self, request: SlotRequest) -> bool:
        """Return whether a rank may take a request.

        It may if the request has no result, and another rank already has the request or it has not
        been stopped.
        """
        return request.result is None and (
            bool(request.taken_ranks) or not self._is_stopped(request)
        )

    def _is_stopped(self, request: SlotRequest) -> bool:
        """Return whether a request has a stop reason or its lease has run out."""
        return bool(request.stop_reason) or self._is_overdue(request)

    def _is_overdue(self, request: SlotRequest) -> bool:
        """Return whether the lease of a request has run out."""
        return self._clock() - request.last_renewal > self._lease_s

    def _find_request(self, token: str) -> SlotRequest | None:
        """Return the current request if it has this token, otherwise None."""
        request = self._current
        return request if request is not None and request.token == token else None

    def _update_stop_reason(self, request: SlotRequest) -> str:
        """Mark a request as expired if its lease ran out, and return its stop reason, if any."""
        if not request.stop_reason and self._is_overdue(request):
            request.stop_reason = "expired"
        return request.stop_reason

    def _wait_for_change(self, deadline: float) -> bool:
        """Wait up to 0.2 s for a state change; return False at once if the deadline has passed.

        Args:
            deadline: Time on the monotonic clock in seconds.
        """
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return False
        self._condition.wait(min(remaining_s, 0.2))
        return True
