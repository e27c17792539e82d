"""Sending of clips to replicas: retries after the death of a replica, and the limit of time.

A translation has no side effects, so a clip whose replica died is sent again. Ray Serve's router
then chooses another replica, or waits for the one that replaces it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from ray.exceptions import ObjectLostError, RayActorError, RayError, WorkerCrashedError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)

from kinesweep.serving.clip_request import ClipRequest
from kinesweep.serving.errors import RequestError
from kinesweep.serving.limits import ServeLimits

logger = logging.getLogger(__name__)

_DEATHS = (RayActorError, WorkerCrashedError, ObjectLostError, ReplicaUnavailableError)
# Time for the router to learn of a death; without it the retries could all meet the dead replica.
_RETRY_WAIT_S = 0.2


class ReplicaHandle(Protocol):
    """The handle of a deployment on Ray Serve."""

    def remote(self, request: ClipRequest) -> Any:
        """Send a request and return its response, which can be awaited and cancelled."""


class Dispatcher:
    """A sender of clips to replicas.

    Args:
        handle: Handle of the deployment.
        limits: Limits of the server.
        count_retry: Function that is called before each retry.
    """

    def __init__(
        self, handle: ReplicaHandle, limits: ServeLimits, count_retry: Callable[[], None]
    ) -> None:
        self._handle, self._limits, self._count_retry = handle, limits, count_retry
        self._retry_lock = asyncio.Lock()

    async def translate(self, request: ClipRequest) -> dict[str, Any]:
        """Translate a clip on a replica.

        Raises:
            RequestError: If the clip is refused, takes too long, or its replicas died.
        """
        limit_s, num_deaths = self._limits.timeout_s, 0
        try:
            # One limit for all attempts: each dead replica would otherwise start the time anew.
            async with asyncio.timeout(limit_s):
                while num_deaths <= self._limits.max_retries:
                    try:
                        result = await (self._send_alone if num_deaths else self._send)(request)
                    except _DEATHS as error:
                        num_deaths += 1
                        logger.warning(f"a replica with a clip died ({type(error).__name__})")
                        continue
                    if isinstance(result, RequestError):
                        raise result
                    return result
        except TimeoutError:
            reason = f"the clip took more than {limit_s:g} s"
            if num_deaths:
                reason += f", in which {num_deaths} of its replicas died"
            raise RequestError(504, "timeout", reason, {"timeout_s": limit_s}) from None
        raise RequestError(
            503,
            "replica_lost",
            f"{num_deaths} replicas died while they translated the clip; it may need more memory"
            " than there is",
        )

    async def _send_alone(self, request: ClipRequest) -> dict[str, Any] | RequestError:
        """Send a clip of a dead replica again, while no other such clip is sent.

        One of the clips of a dead replica may be the cause of its death. Sent together again, they
        would all die with each replica; one after the other, the harmless ones are translated.
        """
        # The lock is fair, so a clip that kills again waits behind the others.
        async with self._retry_lock:
            self._count_retry()
            await asyncio.sleep(_RETRY_WAIT_S)
            return await self._send(request)

    async def _send(self, request: ClipRequest) -> dict[str, Any] | RequestError:
        """Send a clip once and return its result.

        Raises:
            RequestError: If it cannot be sent.
            RayError: If the replica died.
        """
        response = self._handle.remote(request)
        try:
            return await response
        except asyncio.CancelledError:
            # After the limit of time, or because the server ends without waiting.
            response.cancel()
            raise
        except BackPressureError as error:
            raise RequestError(429, "too_many_requests", str(error)) from None
        except DeploymentUnavailableError as error:
            raise RequestError(503, "no_replica", str(error)) from None
        # Before `RayError`, their base class: `translate` alone decides about retries.
        except _DEATHS:
            raise
        except (RayError, RayServeException) as error:
            # A bug: the client gets no traceback, the log does.
            logger.exception("a replica raised an unexpected error")
            kind = type(getattr(error, "cause", None) or error).__name__
            raise RequestError(
                500, "internal", f"unexpected {kind}; see the server's log"
            ) from None
