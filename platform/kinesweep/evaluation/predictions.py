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
    most = max((len(p.references) for p in predictions), default=1)
    heading = ["reference", *(f"reference_{n}" for n in range(2, most + 1))]
    written = io.StringIO()
    table = csv.writer(written, delimiter="\t", lineterminator="\n")
    table.writerow(["id", "hypothesis", *heading, *(["chrf"] if chrf else [])])
    for item in predictions:
        # Fill up the row: clips may have different numbers of references.
        empty = [""] * (most - len(item.references))
        own = [f"{chrf[item.clip_id]:.2f}"] if chrf else []
        table.writerow([item.clip_id, item.hypothesis, *item.references, *empty, *own])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, written.getvalue())


def read_predictions(path: Path) -> list[Prediction]:
    """Read a predictions file of this platform or of another system.

    Other systems only need the columns `id` and `hypothesis`.

    Raises:
        InputError: If a column is missing, an id is repeated or the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file, delimiter="\t")
            rows, heading = list(table), list(table.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"`{path}` cannot be read as a table of predictions: {error}") from None
    missing = [f"`{name}`" for name in ("id", "hypothesis") if name not in heading]
    if missing:
        raise InputError(
            f"`{path}` has no column {' and '.join(missing)}; a predictions file is tab-separated"
            " and has the columns `id` and `hypothesis`"
        )
    repeated = [clip_id for clip_id, count in Counter(r["id"] for r in rows).items() if count > 1]
    if repeated:
        raise InputError(f"`{path}` contains the id `{repeated[0]}` more than once")
    # Covers `reference` and `reference_2`, ….
    wanted = [name for name in heading if name.startswith("reference")]
    return [
        Prediction(r["id"], r["hypothesis"] or "", tuple(r[n] for n in wanted if r[n]))
        for r in rows
    ]
