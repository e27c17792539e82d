"""What the columns of a pose table are called, in the three generations of names that are around.

MultimodalHugs renamed its columns twice; corpora of all ages are read, the newest names written.
Columns of our own are optional. A name that is not known is an error with its near miss: a misspelt
`decoder_prompt` would be a corpus without prompts.
"""

from collections.abc import Mapping, Sequence

from kinesweep.core.config import near_miss
from kinesweep.sources.table import Fault

NAMES: Mapping[str, tuple[str, ...]] = {
    "signal": ("signal", "source_signal", "input_pose"),
    "signal_start": ("signal_start", "source_start"),
    "signal_end": ("signal_end", "source_end"),
    "encoder_prompt": ("encoder_prompt", "source_prompt"),
    "decoder_prompt": ("decoder_prompt", "generation_prompt"),
    "output": ("output", "output_text"),
    "input_clip": ("input_clip",),  # January 2025: a file that was cut already, used whole
    "input_text": ("input_text",),  # January 2025: the transcription; the target is `output_text`
    "id": ("id",),
    "document": ("document",),
    "order": ("order",),
    "signer": ("signer",),
    "gloss": ("gloss",),
    "language": ("language",),
}
"""Meaning → the names that it has had, the newest first."""

NEWEST = {name: meaning for meaning, names in NAMES.items() for name in names}


def resolve(
    header: Sequence[str], ignored: Sequence[str], where: str, needs_text: bool = True
) -> tuple[dict[str, int], list[Fault]]:
    """Meaning → place of its column, and everything that is wrong with a header."""
    places: dict[str, int] = {}
    faults: list[Fault] = []
    for place, column in enumerate(header):
        if column in ignored:
            continue
        meaning = NEWEST.get(column)
        if meaning is None:
            faults.append((where, _unknown(column, header)))
        elif meaning in places:
            other = header[places[meaning]]
            faults.append((where, f"columns `{other}` and `{column}` mean the same; drop one"))
        else:
            places[meaning] = place
    if "signal" not in places and "input_clip" not in places:
        faults.append((where, "there is no column `signal` (the path of the `.pose` file)"))
    if needs_text and "output" not in places:
        faults.append((where, "there is no column `output` (the text)"))
    return places, faults


def _unknown(column: str, header: Sequence[str]) -> str:
    if len(header) == 1 and any(mark in column for mark in ",;|"):
        return f"`{column[:60]}` is one column; columns are separated by tabs"
    if not column:
        return "a column has no name"
    hint = near_miss(column, list(NEWEST))
    return f"column `{column}` is unknown{hint or ';'} to leave it out: `source.ignore_columns`"
