"""Inputs of `kinesweep translate` that cannot be translated, each with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass

from kinesweep.core.clip import InvalidRow
from kinesweep.core.errors import (
    ClipError,
    InputError,
    KinesweepError,
    SourceError,
    format_one_line,
)
from kinesweep.sources.tsv.tsv_reader import TableError, raise_table_errors
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


def list_table_failures(
    errors: Sequence[TableError], invalid_rows: Sequence[InvalidRow]
) -> list[InputFailure]:
    """List the rows of a table that cannot be used.

    Args:
        errors: Errors of the table, each with its location.
        invalid_rows: Rows that are well formed but cannot be used.
    """
    failures = []
    try:
        raise_table_errors(list(errors))
    except SourceError as error:
        failures += [InputFailure(location, text, error) for location, text in errors]
    if invalid_rows:
        # Without a list of failures the message shows the first three rows.
        rows_error = InputError("; ".join(f"{row.row}: {row.message}" for row in invalid_rows[:3]))
        failures += [InputFailure(row.row, row.message, rows_error) for row in invalid_rows]
    return failures
