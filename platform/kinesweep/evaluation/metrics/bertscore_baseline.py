"""Baselines of BERTScore: the scores of unrelated sentences, by which scores are rescaled.

The package bert-score publishes one file for each language and model. Its values lie between 0.8
and 0.95 for roberta-large, so that unscaled scores fill a small range only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.errors import InputError

_COLUMNS = ("LAYER", "P", "R", "F")
_KEY = "`evaluation.neural_metrics.bertscore.baseline`"


@dataclass(frozen=True)
class Baseline:
    """The baseline of one layer of a model.

    Attributes:
        precision: Mean precision of unrelated sentences, below 1.
        recall: Mean recall.
        f1: Mean F1.
    """

    precision: float
    recall: float
    f1: float

    def rescale(self, parts: Sequence[float]) -> list[float]:
        """Return precision, recall and F1 so that the baseline is 0 and 1 stays 1."""
        baselines = (self.precision, self.recall, self.f1)
        return [
            (value - baseline) / (1 - baseline)
            for value, baseline in zip(parts, baselines, strict=True)
        ]

    def format_values(self) -> str:
        """Format the F1 for a signature."""
        return f"{self.f1:.6f}"


def read_baseline(path: Path, layer: int) -> Baseline:
    """Read the baseline of a layer from a file of the package bert-score.

    Args:
        path: Table with the columns LAYER, P, R and F, separated by commas or tabs.
        layer: Layer, 0 for the embeddings.

    Raises:
        InputError: If the file cannot be read, is no such table, or has no such layer.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{_KEY} is `{path}`, which cannot be read: {error}") from None
    # The package's files are called .tsv, but are separated by commas.
    rows = [line.strip().replace("\t", ",").split(",") for line in lines if line.strip()]
    if not rows or tuple(name.strip() for name in rows[0]) != _COLUMNS:
        raise InputError(
            f"{_KEY} is `{path}`, whose first line is `{lines[0].strip()[:60]}`; expected"
            " `LAYER,P,R,F`, as in the folder `rescale_baseline` of the package bert-score"
        )
    baselines: dict[int, Baseline] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            index, *values = (float(cell) for cell in row)
            baselines[int(index)] = Baseline(*values)
        except (ValueError, TypeError):
            raise InputError(f"{_KEY}: row {number} of `{path}` is not four numbers") from None
    if layer not in baselines:
        raise InputError(
            f"{_KEY} is `{path}`, which has no layer {layer}; it has"
            f" {', '.join(map(str, sorted(baselines)))}. Set `layer` to one of them"
        )
    found = baselines[layer]
    # A baseline of 1 would divide by zero.
    if not max(found.precision, found.recall, found.f1) < 1:
        raise InputError(f"{_KEY}: layer {layer} of `{path}` has a value of 1 or more")
    return found
