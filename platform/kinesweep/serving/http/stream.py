"""Frames over a WebSocket: points come in one by one, texts go out.

The client sends a JSON object `{"type": "start", …}` with rate, points and options, then frames:
binary messages with float32 values (little-endian), or `{"type": "frames", "values": [[…], …]}`.
With `every_s` in the first message a text of all frames so far comes back after each such time
(`partial`), and after `{"type": "end"}` the text of the whole clip (`result`). Another clip may
follow. docs/serving.md describes all messages.
"""

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.serving.accepted_inputs import AcceptedInputs
from kinesweep.serving.clip_request import ClipRequest, StreamedPoints, parse_options
from kinesweep.serving.errors import RequestError, format_invalid_values
from kinesweep.serving.http.served_bundle import ServedBundle
from kinesweep.serving.limits import BodyCounter, ServeLimits

# Seven times the points of the largest estimator (586); it bounds the memory of a frame.
_MAX_POINTS = 4096
_BYTES_PER_VALUE = 4
_Pixels = Annotated[int, Field(ge=1, le=65535)]
_CLOSE_NORMAL, _CLOSE_REFUSED, _CLOSE_TOO_BIG, _CLOSE_BUSY = 1000, 1008, 1009, 1013
_CLOSE_CODES = {413: _CLOSE_TOO_BIG, 429: _CLOSE_BUSY, 503: _CLOSE_BUSY}


class StreamStart(BaseModel):
    """The first message of a clip.

    Attributes:
        type: `start`.
        rate_hz: Frames per second.
        points: Names of the points by component; None: those of the bundle.
        coordinates: Coordinates of each point.
        confidence: Whether each point has its confidence as a further value.
        frame_size: Width and height of the video in the unit of the points; None if unknown.
        every_s: Seconds of frames after which a text comes back; None: only at the end.
        options: Options of the request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    type: str
    rate_hz: float = Field(gt=0, le=1000)
    points: list[tuple[str, list[str]]] | None = None
    coordinates: int = Field(3, ge=1, le=4)
    confidence: bool = False
    frame_size: tuple[_Pixels, _Pixels] | None = None
    every_s: float | None = Field(None, ge=0.2, le=3600)
    options: dict[str, Any] = Field(default_factory=dict)


class FrameBuffer:
    """The frames of a clip so far.

    Args:
        start: First message of the clip.
        inputs: Inputs that the bundle accepts.
        limits: Limits of the server.
        counter: Counter of the bytes.

    Attributes:
        num_frames: Number of frames so far.
        values_per_frame: Number of float32 values of a frame.

    Raises:
        RequestError: If the bundle takes no frames, or an option or the points are unsuitable.
    """

    def __init__(
        self, start: StreamStart, inputs: AcceptedInputs, limits: ServeLimits, counter: BodyCounter
    ) -> None:
        if inputs.streamed_kind is None:
            raise RequestError(
                422, "no_stream", "this bundle takes files only", {"files": inputs.files}
            )
        self._start, self._limits, self._counter = start, limits, counter
        self._options = parse_options(start.options)
        ((_, schema),) = inputs.streams.items()
        self._layout = schema.layout
        if start.points is not None:
            self._layout = PointLayout.from_json(start.points)
        if inputs.streamed_kind == "feature_tsv":
            self._layout, self.values_per_frame = None, schema.width
        elif self._layout is None:
            raise RequestError(422, "no_layout", "give the names of the `points`")
        else:
            if not 0 < self._layout.num_points <= _MAX_POINTS:
                raise RequestError(
                    422, "invalid_points", f"`points` must name 1 to {_MAX_POINTS} points"
                )
            values = start.coordinates + start.confidence
            self.values_per_frame = self._layout.num_points * values
        self._chunks: list[bytes] = []
        self.num_frames = 0

    def add(self, values: bytes) -> None:
        """Add whole frames.

        Raises:
            RequestError: If there is a part of a frame, or too many frames.
        """
        size = self.values_per_frame * _BYTES_PER_VALUE
        if not values or len(values) % size:
            raise RequestError(
                400,
                "invalid_frames",
                f"a message has {len(values)} bytes, but must have a multiple of {size}",
                {"values_per_frame": self.values_per_frame},
            )
        num_frames = self.num_frames + len(values) // size
        self._limits.check_duration(num_frames / self._start.rate_hz)
        self._counter.add(len(values))
        self._chunks.append(values)
        self.num_frames = num_frames

    def add_json(self, frames: Any) -> None:
        """Add frames given as lists of numbers.

        Raises:
            RequestError: If they are no lists of numbers of equal length.
        """
        try:
            # Without a type first: NumPy would convert texts and truth values to numbers.
            numbers = np.asarray(frames)
            # JavaScript writes NaN as null.
            is_numeric = numbers.dtype.kind in "iuf" or (
                numbers.dtype.kind == "O"
                and all(value is None or type(value) in (int, float) for value in numbers.flat)
            )
            with np.errstate(over="ignore"):  # infinities are refused with their clip
                array = numbers.astype("<f4") if is_numeric else np.zeros(0, "<f4")
        except (TypeError, ValueError, OverflowError):
            # Refused below, like frames of another width.
            array = np.zeros(0, "<f4")
        if array.ndim != 2 or array.shape[1] != self.values_per_frame:
            raise RequestError(
                400,
                "invalid_frames",
                f"`values` must be a list of frames with {self.values_per_frame} numbers each",
                {"values_per_frame": self.values_per_frame},
            )
        self.add(array.tobytes())

    def make_request(self) -> ClipRequest:
        """Make the request for the text of all frames so far.

        Raises:
            RequestError: If there is none.
        """
        if not self.num_frames:
            raise RequestError(400, "no_frames", "no frame was sent")
        # Kept joined, so that a later text of the clip copies these frames as one piece.
        self._chunks = [b"".join(self._chunks)]
        points = StreamedPoints(
            self._start.rate_hz,
            self._layout,
            self._start.coordinates,
            self._start.confidence,
            self._chunks[0],
            self.num_frames,
            self._start.frame_size,
        )
        return ClipRequest(self._options, points=points)

    def is_partial_due(self, num_translated: int) -> bool:
        """Return whether a text of the frames so far is due.

        Args:
            num_translated: Number of frames of the last text.
        """
        every_s = self._start.every_s
        if every_s is None:
            return False
        return self.num_frames - num_translated >= every_s * self._start.rate_hz


async def serve_stream(socket: WebSocket, served: ServedBundle) -> int:
    """Serve a WebSocket to its end, and return the HTTP status that describes how it ended."""
    # Accepted before it is admitted: only an open WebSocket can be told why it is refused.
    await socket.accept()
    try:
        with served.gate.admit() as counter:
            while await _serve_clip(socket, served, counter):
                pass
    except WebSocketDisconnect:
        return 200
    except RequestError as error:
        served.metrics.count_error(error.error)
        # A client that has gone in the meantime cannot be told; that is no error of the server.
        with suppress(WebSocketDisconnect):
            await socket.send_json({"type": "error", **error.to_json()})
            await socket.close(_CLOSE_CODES.get(error.status, _CLOSE_REFUSED), error.error)
        return error.status
    await socket.close(_CLOSE_NORMAL)
    return 200


async def _serve_clip(socket: WebSocket, served: ServedBundle, counter: BodyCounter) -> bool:
    """Serve one clip of a WebSocket; return whether another one may follow.

    Raises:
        RequestError: If a message or the clip is refused.
        WebSocketDisconnect: If the client has gone.
    """
    message = await _receive(socket, served.limits)
    if isinstance(message, bytes) or message.get("type") != "start":
        if not isinstance(message, bytes) and message.get("type") == "close":
            return False
        raise RequestError(400, "invalid_message", 'the first message must be {"type": "start", …}')
    buffer = FrameBuffer(_parse_start(message), served.inputs, served.limits, counter)
    await socket.send_json({"type": "ready", "values_per_frame": buffer.values_per_frame})
    num_translated = 0
    while True:
        message = await _receive(socket, served.limits)
        if isinstance(message, bytes):
            buffer.add(message)
        elif message.get("type") == "frames":
            buffer.add_json(message.get("values"))
        elif message.get("type") == "end":
            break
        else:
            raise RequestError(
                400, "invalid_message", "the type must be `frames` or `end`, or the message binary"
            )
        if buffer.is_partial_due(num_translated):
            num_translated = buffer.num_frames
            await _send_text(socket, served, buffer, "partial")
    await _send_text(socket, served, buffer, "result")
    # The limit of size is for one clip; the connection may send many.
    counter.release()
    return True


async def _send_text(
    socket: WebSocket, served: ServedBundle, buffer: FrameBuffer, kind: str
) -> None:
    """Translate the frames so far and send the result."""
    result = await served.translator.translate(buffer.make_request())
    served.metrics.count_batch(result["batch"])
    await socket.send_json({"type": kind, "frames": buffer.num_frames, **result})


async def _receive(socket: WebSocket, limits: ServeLimits) -> dict[str, Any] | bytes:
    """Receive a message: bytes, or a JSON object.

    Raises:
        RequestError: If none comes in time, or a text is no JSON object.
        WebSocketDisconnect: If the client has gone.
    """
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            message = await socket.receive()
    except TimeoutError:
        raise RequestError(
            408, "body_timeout", f"no message came within {limits.body_timeout_s:g} s"
        ) from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", _CLOSE_NORMAL))
    if (content := message.get("bytes")) is not None:
        return bytes(content)
    try:
        value = json.loads(message["text"])
    # Thousands of nested brackets exceed the depth of the parser.
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not _is_encodable(message["text"], value):
        raise RequestError(400, "invalid_message", "a text message must be a JSON object")
    return value


def _is_encodable(text: str, value: dict[str, Any]) -> bool:
    """Return whether all strings of a JSON object are Unicode: no half of a surrogate pair."""
    if "\\u" not in text:  # only escapes can make one
        return True
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_start(message: dict[str, Any]) -> StreamStart:
    """Parse the first message of a clip.

    Raises:
        RequestError: If a key is unknown, missing or invalid; all of them are named.
    """
    try:
        return StreamStart.model_validate(message)
    except ValidationError as error:
        keys = {"keys": sorted(StreamStart.model_fields)}
        raise RequestError(422, "invalid_start", format_invalid_values(error), keys) from None
