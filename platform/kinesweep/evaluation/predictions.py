"""Prediction files: tables of clips with hypotheses and references.

The columns `id` and `hypothesis` are sufficient, so the output of other systems can be read too.
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.io import write_text


@dataclass(frozen=True)
class Prediction:
    """The hypothesis for one clip, with its references."""

    clip_id: str
    hypothesis: str
    references: tuple[str, ...]


def write_predictions(
    path: Path, predictions: Sequence[Prediction], chrf: Mapping[str, float] | None = None
) -> None:
    """Write a TSV file with the columns id, hypothesis, reference, reference_2, …, chrf.

    Fields are quoted where needed.

    Args:
        path: Output file.
        predictions: Predictions, one for each line.
        chrf: Clip id → chrF of the sentence; None omits the column.
    """
    max_references = max((len(p.references) for p in predictions), default=1)
    reference_columns = ["reference", *(f"reference_{n}" for n in range(2, max_references + 1))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(["id", "hypothesis", *reference_columns, *(["chrf"] if chrf else [])])
    for item in predictions:
        # Fill up the row: clips may have different numbers of references.
        padding = [""] * (max_references - len(item.references))
        chrf_column = [f"{chrf[item.clip_id]:.2f}"] if chrf else []
        writer.writerow([item.clip_id, item.hypothesis, *item.references, *padding, *chrf_column])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, buffer.getvalue())


def read_predictions(path: Path) -> list[Prediction]:
    """Read a predictions file of this platform or of another system.

    Other systems only need the columns `id` and `hypothesis`.

    Raises:
        InputError: If a column is missing, an id is repeated or the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            rows, columns = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"`{path}` cannot be read as a table of predictions: {error}") from None
    missing = [f"`{name}`" for name in ("id", "hypothesis") if name not in columns]
    if missing:
        raise InputError(
            f"`{path}` has no column {' and '.join(missing)}; a predictions file is tab-separated"
            " and has the columns `id` and `hypothesis`"
        )
    repeated = [clip_id for clip_id, count in Counter(r["id"] for r in rows).items() if count > 1]
    if repeated:
        raise InputError(f"`{path}` contains the id `{repeated[0]}` more than once")
    # Covers `reference` and `reference_2`, ….
    reference_columns = [name for name in columns if name.startswith("reference")]
    return [
        Prediction(r["id"], r["hypothesis"] or "", tuple(r[n] for n in reference_columns if r[n]))
        for r in rows
    ]
