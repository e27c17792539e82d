"""A clip that a client wants translated: its files or points, and its options, as plain values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kinesweep.config.recipe.generation import MIN_TEMPERATURE
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.serving.errors import RequestError, format_invalid_values

_MAX_PROMPT_CHARS = 4000
# Beams and texts multiply the memory and the time of a clip.
MAX_BEAMS = 16
MAX_ALTERNATIVES = 16
# Well below the 255 bytes that file systems allow; the length of a character varies.
_MAX_NAME_BYTES = 120
_NAME_PATTERN = re.compile(r"[^\w.\- ]")


class RequestOptions(BaseModel):
    """The options of a request; what is None is as in the bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str | None = Field(
        None,
        max_length=_MAX_PROMPT_CHARS,
        description="Prompt in front of the frames, such as a language tag.",
    )
    question: str | None = Field(
        None, max_length=_MAX_PROMPT_CHARS, description="Question in front of the frames."
    )
    system: str | None = Field(
        None, max_length=_MAX_PROMPT_CHARS, description="Text at the start, or system turn."
    )
    num_beams: int | None = Field(None, ge=1, le=MAX_BEAMS, description="Number of beams.")
    alternatives: int = Field(
        1,
        ge=1,
        le=MAX_ALTERNATIVES,
        description="Number of texts with scores; at most the number of beams.",
    )
    attention: bool = Field(False, description="Whether to return the attention to frames.")
    skeleton: bool = Field(False, description="Whether to return the points for drawing.")
    accept_rate: bool = Field(
        False, description="Whether to accept another frame rate than the training data."
    )
    sample: bool = Field(False, description="Whether to draw the text instead of searching for it.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Random seed of the draws.")
    temperature: float | None = Field(
        None, ge=MIN_TEMPERATURE, description="Divisor of the logits before a draw."
    )

    @property
    def decoding(self) -> tuple[Any, ...]:
        """Return the options that clips translated together must have in common."""
        # Whatever changes the tokens of a batch belongs here; a missing option would be ignored.
        return (
            *(self.prompt, self.question, self.system, self.num_beams),
            *(self.sample, self.seed, self.temperature),
        )

    @property
    def is_single(self) -> bool:
        """Return whether the clip is decoded alone, because more than its text is returned."""
        return self.attention or self.alternatives > 1


def parse_options(values: Mapping[str, Any]) -> RequestOptions:
    """Parse the options of a request.

    Args:
        values: Name → value, as text or as plain value.

    Raises:
        RequestError: If an option is unknown or has an invalid value; all of them are named.
    """
    try:
        return RequestOptions.model_validate(dict(values))
    except ValidationError as error:
        raise RequestError(
            422,
            "invalid_option",
            format_invalid_values(error),
            {"options": {k: v.description for k, v in RequestOptions.model_fields.items()}},
        ) from None


@dataclass(frozen=True)
class UploadedFile:
    """A file of a request.

    Attributes:
        field: Name of the form field: `file`, a stream, `reference` or `poses`.
        name: File name without folders.
        content: Bytes of the file.
    """

    field: str
    name: str
    content: bytes


@dataclass(frozen=True)
class StreamedPoints:
    """Frames that were sent over a WebSocket.

    Attributes:
        rate_hz: Frames per second.
        layout: Names of the points; None for features or motions without names.
        coordinates: Coordinates of each point.
        has_confidence: Whether each point has its confidence as a further value.
        values: float32 values of all frames, little-endian.
        num_frames: Number of frames.
        frame_size: Width and height of the video in the unit of the points; None if unknown.
    """

    rate_hz: float
    layout: PointLayout | None
    coordinates: int
    has_confidence: bool
    values: bytes
    num_frames: int
    frame_size: tuple[int, int] | None = None

    def to_array(self) -> NDArray[np.float32]:
        """Return the values as an array, (T, values per frame)."""
        return np.frombuffer(self.values, "<f4").reshape(self.num_frames, -1)


@dataclass(frozen=True)
class ClipRequest:
    """A clip to translate.

    Attributes:
        options: Options of the request.
        files: Files of the clip; empty for points.
        points: Points that were sent over a WebSocket; None for files.
    """

    options: RequestOptions
    files: tuple[UploadedFile, ...] = ()
    points: StreamedPoints | None = None


def clean_file_name(name: str) -> str:
    """Return a file name without folders and without characters that have a meaning in paths."""
    base = name.replace("\\", "/").rpartition("/")[2]
    # The end is kept, because the suffix tells what kind of file it is.
    encoded = _NAME_PATTERN.sub("_", base).encode("utf-8", "replace")[-_MAX_NAME_BYTES:]
    # The cut may go through a character, whose rest is dropped.
    return encoded.decode("utf-8", "ignore").lstrip(".") or "clip"
