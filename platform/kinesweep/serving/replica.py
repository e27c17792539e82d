"""The deployment of a bundle on Ray Serve: replicas that translate dynamic batches of clips.

Ray Serve collects requests until a batch is full or the first of them has waited long enough. A
batch is translated in a thread, so that the replica keeps answering health checks; a replica whose
batch never ends fails them and is replaced.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

from ray import serve

from kinesweep.serving.clip_request import ClipRequest
from kinesweep.serving.errors import RequestError
from kinesweep.serving.replica_settings import ReplicaSettings

# A batch may take several times the limit of one request before its replica counts as stuck.
_STUCK_FACTOR = 2
# Half of Ray Serve's default, so that a stuck replica is replaced sooner; the timeout is its own.
_HEALTH_CHECK_PERIOD_S = 5
_HEALTH_CHECK_TIMEOUT_S = 30
_MAX_CONSTRUCTOR_RETRIES = 3


class Replica:
    """A replica, which holds the model.

    Args:
        settings: Bundle, resources and limits of the replica.
    """

    def __init__(self, settings: ReplicaSettings) -> None:
        # Imports PyTorch, which only replicas need.
        from kinesweep.serving.inference.bundle_loading import load_clip_translator

        limits = settings.limits
        self._translator = load_clip_translator(settings)
        self._stuck_after_s = _STUCK_FACTOR * limits.timeout_s
        self._busy_since: float | None = None
        # Here and not in the decorator, because they are options of the command.
        self._translate_batch.set_max_batch_size(limits.max_batch_size)
        self._translate_batch.set_batch_wait_timeout_s(limits.batch_wait_s)

    async def __call__(self, request: ClipRequest) -> dict[str, Any] | RequestError:
        """Translate a clip together with others that arrive at the same time."""
        return await self._translate_batch(request)

    async def get_pid(self) -> int:
        """Return the process id of the replica."""
        return os.getpid()

    def check_health(self) -> None:
        """Raise an error if a batch has been running for too long.

        Raises:
            RuntimeError: If the replica is stuck; Ray Serve then replaces it.
        """
        if self._busy_since is not None:
            seconds = time.monotonic() - self._busy_since
            if seconds > self._stuck_after_s:
                raise RuntimeError(f"a batch has been running for {seconds:.0f} s")

    @serve.batch
    async def _translate_batch(
        self, requests: list[ClipRequest]
    ) -> list[dict[str, Any] | RequestError]:
        """Translate a batch; errors are returned, because an exception would fail all requests."""
        self._busy_since = time.monotonic()
        try:
            results = await asyncio.to_thread(self._translator.translate, requests)
        finally:
            seconds, self._busy_since = time.monotonic() - self._busy_since, None
        return describe_batch(results, seconds)


def describe_batch(
    results: Sequence[dict[str, Any] | RequestError], seconds: float
) -> list[dict[str, Any] | RequestError]:
    """Add to each result the size of its batch, its place among the results, and the time.

    The result with the place 0 stands for the batch in the metrics.

    Args:
        results: Results of a batch and errors of its clips.
        seconds: Time of the batch.
    """
    batch = {"size": len(results), "seconds": round(seconds, 4), "replica": os.getpid()}
    described: list[dict[str, Any] | RequestError] = []
    num_texts = 0
    for result in results:
        if isinstance(result, RequestError):
            described.append(result)
        else:
            described.append({**result, "batch": {**batch, "index": num_texts}})
            num_texts += 1
    return described


def build_application(settings: ReplicaSettings, num_replicas: int) -> serve.Application:
    """Build the application of Ray Serve with the replicas of a bundle.

    Args:
        settings: Bundle, resources and limits of each replica.
        num_replicas: Number of replicas.
    """
    limits = settings.limits
    deployment = serve.deployment(
        name="Replica",
        num_replicas=num_replicas,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        # Twice a batch: while one is translated, the next one is collected.
        max_ongoing_requests=2 * limits.max_batch_size,
        max_constructor_retry_count=_MAX_CONSTRUCTOR_RETRIES,
        health_check_period_s=_HEALTH_CHECK_PERIOD_S,
        health_check_timeout_s=_HEALTH_CHECK_TIMEOUT_S,
        graceful_shutdown_timeout_s=5,
    )(Replica)
    return deployment.bind(settings)
