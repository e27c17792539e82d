"""Column names of pose tables, in the three generations that are in use.

MultimodalHugs renamed its columns twice. Tables with any of the names can be read; only the newest
names are written. The columns that Kinesweep adds are optional. An unknown column is an error that
suggests the closest known name: a misspelled `decoder_prompt` would otherwise give a corpus without
prompts. Further references of a clip stand in the columns `output_2`, `output_3`, ….
"""

import re
from collections.abc import Mapping, Sequence

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.sources.tsv.tsv_reader import TableError, find_other_delimiter

COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "signal": ("signal", "source_signal", "input_pose"),
    "signal_start": ("signal_start", "source_start"),
    "signal_end": ("signal_end", "source_end"),
    "encoder_prompt": ("encoder_prompt", "source_prompt"),
    "decoder_prompt": ("decoder_prompt", "generation_prompt"),
    "output": ("output", "output_text"),
    # Only in the format of January 2025: a file that is already cut to the clip and is used whole.
    "input_clip": ("input_clip",),
    # Only in the format of January 2025: the transcription. The target text is `output_text`.
    "input_text": ("input_text",),
    "id": ("id",),
    "document": ("document",),
    "order": ("order",),
    "signer": ("signer",),
    "gloss": ("gloss",),
    "language": ("language",),
}
"""Meaning of a column → its names, the newest first."""

_REFERENCE_COLUMN = re.compile(r"output_([2-9]|[1-9]\d+)", re.ASCII)
"""Name of a column with a further reference text: `output_2`, `output_3`, …"""

WRITTEN_COLUMNS = (
    *("id", "signal", "signal_start", "signal_end", "encoder_prompt", "decoder_prompt", "output"),
    *("document", "order", "signer", "gloss", "language"),
)
"""Columns of the tables that Kinesweep writes, in their order."""

MEANING_BY_NAME = {name: meaning for meaning, names in COLUMN_NAMES.items() for name in names}


def resolve_columns(
    header: Sequence[str], ignored_columns: Sequence[str], location: str, needs_text: bool = True
) -> tuple[dict[str, int], list[TableError]]:
    """Find the index of each column of a table by its meaning, and the errors in the header.

    Args:
        header: Column names in the order of the table.
        ignored_columns: Columns to skip without an error.
        location: Location of the header in error messages, for example `train.tsv:1`.
        needs_text: Whether the table must have a column of target texts.

    Returns:
        Column index by meaning, and all errors in the header.
    """
    index_by_meaning: dict[str, int] = {}
    errors: list[TableError] = []
    for index, column in enumerate(header):
        if column in ignored_columns:
            continue
        meaning = column if parse_reference_number(column) else MEANING_BY_NAME.get(column)
        if meaning is None:
            text = format_unknown_column_error(column, header, list(MEANING_BY_NAME))
            errors.append((location, text))
        elif meaning in index_by_meaning:
            earlier = header[index_by_meaning[meaning]]
            text = f"columns `{earlier}` and `{column}` mean the same; remove one"
            errors.append((location, text))
        else:
            index_by_meaning[meaning] = index
    if "signal" not in index_by_meaning and "input_clip" not in index_by_meaning:
        errors.append((location, "there is no column `signal` (a media file, or a text)"))
    if needs_text and "output" not in index_by_meaning:
        errors.append((location, "there is no column `output` (the text)"))
    return index_by_meaning, errors


def parse_reference_number(column: str) -> int | None:
    """Parse the number of a column with a further reference text; None for any other column.

    Args:
        column: Name of the column; `output_2` gives 2.
    """
    match = _REFERENCE_COLUMN.fullmatch(column)
    return int(match[1]) if match else None


def format_unknown_column_error(
    column: str, header: Sequence[str], known_names: Sequence[str], other_remedy: str = ""
) -> str:
    """Format the error text for an unknown column, with its likely cause or a remedy.

    Args:
        column: Name of the unknown column.
        header: Names of all columns of the table.
        known_names: Names that the column could be a misspelling of.
        other_remedy: Remedy besides ignoring the column, appended to the text.
    """
    # A single column with commas, semicolons or bars is a table with another delimiter.
    if other_delimiter := find_other_delimiter(header):
        text = f"`{column[:60]}` is one column, in which names are separated by {other_delimiter}"
        return f"{text}; columns are separated by tabs"
    if not column:
        return "a column has no name"
    hint = suggest_closest_word(column, known_names)
    return (
        f"column `{column}` is unknown{hint or ';'} to ignore it, add it to `source.ignore_columns`"
        f"{other_remedy}"
    )
