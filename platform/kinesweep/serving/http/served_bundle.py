"""What the routes of a server use: inputs, limits, metrics, and the way to the replicas."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from kinesweep.serving.accepted_inputs import AcceptedInputs
from kinesweep.serving.clip_request import ClipRequest
from kinesweep.serving.http.metrics import ServeMetrics
from kinesweep.serving.limits import RequestGate, ServeLimits


class Translator(Protocol):
    """A sender of clips to replicas."""

    async def translate(self, request: ClipRequest) -> dict[str, Any]:
        """Translate a clip."""


@dataclass(frozen=True)
class ServedBundle:
    """What the routes of a server use.

    Attributes:
        inputs: Inputs that the bundle accepts.
        limits: Limits of the server.
        gate: Gate that counts the requests.
        metrics: Metrics of the server.
        translator: Sender of clips to replicas.
        is_ready: Function that tells whether a replica is running.
        identity: Facts on the bundle and the replicas for `/info`.
    """

    inputs: AcceptedInputs
    limits: ServeLimits
    gate: RequestGate
    metrics: ServeMetrics
    translator: Translator
    is_ready: Callable[[], Awaitable[bool]]
    identity: dict[str, Any]
