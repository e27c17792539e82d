"""When a request may be sent, and the wait after one that failed; decisions without a clock."""

import threading

_MAX_DELAY_S = 60.0
"""Longest delay by doubling; a server may ask for more."""
_MAX_REQUESTED_DELAY_S = 600.0
RETRIED_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses of failures that pass: timeouts, rate limits and servers that are overloaded."""


class RequestPacer:
    """Spreads requests evenly over a minute.

    Args:
        requests_per_minute: Limit of the server; None for no limit.
    """

    def __init__(self, requests_per_minute: float | None) -> None:
        self._interval_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next_s = float("-inf")
        self._lock = threading.Lock()

    def reserve(self, now_s: float) -> float:
        """Reserve the next free time and return the seconds until then.

        Args:
            now_s: Time on any clock that does not go backwards.
        """
        with self._lock:
            start_s = max(now_s, self._next_s)
            # Reserved before the wait, so that threads queue up instead of sending together.
            self._next_s = start_s + self._interval_s
        return start_s - now_s


def compute_retry_delay(attempt: int, retry_after: str | None) -> float:
    """Return the seconds until a failed request is repeated.

    Args:
        attempt: Number of failures of the request before this one.
        retry_after: Header `Retry-After` in seconds; another form of it is ignored.
    """
    try:
        requested_s = float(retry_after) if retry_after else None
    except ValueError:
        requested_s = None
    # The comparison is false for a delay that is not a number.
    if requested_s is not None and requested_s >= 0:
        # A server in maintenance may ask for hours.
        return min(requested_s, _MAX_REQUESTED_DELAY_S)
    return float(min(2.0**attempt, _MAX_DELAY_S))
