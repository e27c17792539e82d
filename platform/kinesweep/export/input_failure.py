"""Inputs of `kinesweep translate` that cannot be translated, each with the reason."""

from dataclasses import dataclass

from kinesweep.core.errors import ClipError, InputError, KinesweepError, format_one_line
from kinesweep.training.run_records.run_failure import is_memory_error

FAILED_KEY = "failed"
"""Key of the failures beside the translations in `kinesweep translate --json`."""


@dataclass(frozen=True)
class InputFailure:
    """An input that cannot be translated.

    Attributes:
        name: Display name of the clip, path of a file, or location of a row (`new.tsv:12`).
        reason: Explanation of what is wrong with it.
        error: Error to raise if the first failure shall end the translation. The failures of one
            table share an error that names several of its rows.
    """

    name: str
    reason: str
    error: KinesweepError

    @classmethod
    def from_error(cls, name: str, error: KinesweepError) -> "InputFailure":
        """Make the failure of an input from the error that it raised."""
        return cls(name, str(error), error)

    def to_json(self) -> dict[str, str]:
        """Return the failure as plain values."""
        return {"file": self.name, "reason": self.reason}


def find_input_error(error: Exception) -> KinesweepError | None:
    """Find out whether an exception concerns a single input, and return it as an error of that.

    Args:
        error: Exception that reading or translating an input raised.

    Returns:
        The error; None for an exception that is a bug in Kinesweep.
    """
    if isinstance(error, KinesweepError):
        return error
    # Readers turn the usual problems into a `ClipError`; these are the others, such as a disk that
    # fails or a file that takes more memory than there is.
    if isinstance(error, OSError):
        return ClipError(f"the file cannot be read: {error}")
    if is_memory_error(error):
        return InputError(f"the clip does not fit into the memory: {format_one_line(error)}")
    return None
