"""Errors of requests, each with the status and the JSON object that a client receives.

Errors of a replica reach the client through Ray processes, so they must pickle.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from kinesweep.core.errors import ClipError, KinesweepError
from kinesweep.export.input_failure import find_input_error


class ServingError(KinesweepError):
    """A server that cannot be started: address in use, no replica, a library that is missing."""


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        error: Short, stable key, such as `body_too_large`.
        reason: Explanation for people.
        allowed: Inputs or values that the server accepts instead.

    Attributes:
        retry_after_s: Seconds after which the same request may succeed; None: never.
    """

    def __init__(
        self, status: int, error: str, reason: str, allowed: Mapping[str, Any] | None = None
    ) -> None:
        # All arguments go to the base class: unpickling calls the class with `args`.
        super().__init__(status, error, reason, allowed)
        # Half of a surrogate pair, from an escape in JSON, could not be encoded in the response.
        self.status, self.error = status, error
        self.reason = reason.encode("utf-8", "replace").decode()
        self.allowed = dict(allowed or {})
        self.retry_after_s = 1 if status in (429, 503) else None

    def __str__(self) -> str:
        return f"{self.status} {self.error}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain values."""
        return {"error": self.error, "reason": self.reason, "allowed": self.allowed}

    @classmethod
    def from_input_error(cls, error: Exception, folder: str) -> "RequestError | None":
        """Convert the error of a clip; return None for a bug in Kinesweep.

        Args:
            error: Exception that reading or translating the clip raised.
            folder: Temporary folder with the files of the request, which messages must not name.
        """
        input_error = find_input_error(error)
        if input_error is None:
            return None
        # The file of each field lies in a folder of its own.
        reason = (
            re.sub(rf"{re.escape(folder)}/(\w+/)?", "", str(input_error))
            if folder
            else str(input_error)
        )
        if isinstance(input_error, ClipError):
            return cls(400, "unusable_file", reason, {"cause": input_error.reason})
        return cls(422, "unusable_request", reason)


def format_invalid_values(error: ValidationError) -> str:
    """Format all problems of values that a client sent, without the values themselves."""
    return "; ".join(
        f"`{'.'.join(map(str, problem['loc']))}`: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False)
    )
