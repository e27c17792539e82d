"""Limits of a server: sizes, times and requests at once, and the gate that counts them.

A request is refused before it costs memory: the gate counts it before its body is read, and the
body is counted while it arrives.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kinesweep.serving.errors import RequestError

MEGABYTE = 2**20
# Bodies in memory at once, as a multiple of the largest body.
_MAX_BODIES = 8


@dataclass(frozen=True)
class ServeLimits:
    """Limits of a server.

    Attributes:
        max_body_bytes: Largest body of a request.
        body_timeout_s: Time within which a body must arrive, or the next message of a stream.
        timeout_s: Time within which a clip must be translated after its body has arrived.
        max_requests: Largest number of requests that are in progress at once.
        max_duration_s: Longest clip.
        max_batch_size: Largest number of clips that a replica translates together.
        batch_wait_s: Time that the first clip of a batch waits for others.
        max_retries: Number of times that a clip is sent again after its replica died.
    """

    max_body_bytes: int = 64 * MEGABYTE
    body_timeout_s: float = 60.0
    timeout_s: float = 120.0
    max_requests: int = 64
    max_duration_s: float = 120.0
    max_batch_size: int = 16
    batch_wait_s: float = 0.01
    max_retries: int = 3

    def check_duration(self, duration_s: float) -> None:
        """Check that a clip is not too long.

        Raises:
            RequestError: If it is longer than `max_duration_s`.
        """
        if duration_s > self.max_duration_s:
            raise RequestError(
                422,
                "clip_too_long",
                f"the clip lasts {duration_s:.1f} s; cut it into shorter clips",
                {"max_duration_s": self.max_duration_s},
            )


class RequestGate:
    """A counter of the requests in progress and of the bytes of their bodies.

    Args:
        limits: Limits of the server.

    Attributes:
        is_draining: Whether the server ends and accepts no further request.
        num_requests: Number of requests in progress.
    """

    def __init__(self, limits: ServeLimits) -> None:
        self._limits = limits
        self._max_bytes = _MAX_BODIES * limits.max_body_bytes
        # Numbers without a lock: only the event loop of the web server changes them.
        self._num_bytes = 0
        self.is_draining = False
        self.num_requests = 0

    @contextmanager
    def admit(self) -> Iterator["BodyCounter"]:
        """Count a request in the `with` block, and yield the counter of its body.

        Raises:
            RequestError: If the server ends, or if too many requests are in progress.
        """
        if self.is_draining:
            raise RequestError(
                503, "shutting_down", "the server is shutting down; send the request again later"
            )
        if self.num_requests >= self._limits.max_requests:
            raise RequestError(
                429,
                "too_many_requests",
                f"{self.num_requests} requests are in progress; send the request again later",
                {"max_requests": self._limits.max_requests},
            )
        self.num_requests += 1
        body = BodyCounter(self)
        try:
            yield body
        finally:
            self.num_requests -= 1
            body.release()

    def check_body_size(self, num_bytes: int) -> None:
        """Check the size of a body, or of the part of it that has arrived.

        Raises:
            RequestError: If it is larger than `max_body_bytes`.
        """
        limit = self._limits.max_body_bytes
        if num_bytes > limit:
            raise RequestError(
                413,
                "body_too_large",
                f"the body has more than {limit} bytes",
                {"max_body_bytes": limit},
            )

    def add_bytes(self, num_bytes: int) -> None:
        """Count bytes in memory.

        Raises:
            RequestError: If the bodies of all requests take too much memory.
        """
        if self._num_bytes + num_bytes > self._max_bytes:
            raise RequestError(
                503,
                "busy",
                "the memory for request bodies is used up by other requests; try again later",
            )
        self._num_bytes += num_bytes

    def remove_bytes(self, num_bytes: int) -> None:
        """Count bytes that are no longer in memory."""
        self._num_bytes -= num_bytes


class BodyCounter:
    """A counter of the bytes of one request's body.

    Args:
        gate: Gate that admitted the request.

    Attributes:
        num_bytes: Number of bytes that have arrived.
    """

    def __init__(self, gate: RequestGate) -> None:
        self._gate = gate
        self.num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Count further bytes of the body.

        Raises:
            RequestError: If the body, or the bodies of all requests, are too large.
        """
        self._gate.check_body_size(self.num_bytes + num_bytes)
        self._gate.add_bytes(num_bytes)
        self.num_bytes += num_bytes

    def release(self) -> None:
        """Return the bytes of the body to the gate, because it is not needed any more."""
        self._gate.remove_bytes(self.num_bytes)
        self.num_bytes = 0
