"""Metrics of a server in the text format of Prometheus."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

_LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST


class ServeMetrics:
    """The metrics of a server, which are not shared with other servers of the process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "kinesweep_serve_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=registry,
        )
        self._errors = Counter(
            "kinesweep_serve_errors",
            "Refused requests by kind of error.",
            ["error"],
            registry=registry,
        )
        self._latency_s = Histogram(
            "kinesweep_serve_latency_seconds",
            "Time from the first byte to the response.",
            ["route"],
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._batch_size = Histogram(
            "kinesweep_serve_batch_size",
            "Clips of a batch.",
            buckets=_SIZE_BUCKETS,
            registry=registry,
        )
        self._retries = Counter(
            "kinesweep_serve_retries",
            "Clips sent again after the death of a replica.",
            registry=registry,
        )
        self._in_progress = Gauge(
            "kinesweep_serve_in_progress", "Requests in progress.", registry=registry
        )

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a finished request."""
        self._requests.labels(route, str(status)).inc()
        self._latency_s.labels(route).observe(seconds)

    def count_error(self, error: str) -> None:
        """Count a refused request by the key of its error."""
        self._errors.labels(error).inc()

    def count_retry(self) -> None:
        """Count a clip that is sent again."""
        self._retries.inc()

    def count_batch(self, batch: dict[str, int]) -> None:
        """Count the batch of a result; only the first clip of a batch counts it."""
        if batch["index"] == 0:
            self._batch_size.observe(batch["size"])

    def set_in_progress(self, num_requests: int) -> None:
        """Set the number of requests in progress."""
        self._in_progress.set(num_requests)

    def render(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)
