"""A check of a corpus before anything is computed: invalid rows, and what its splits share.

Every file is opened; nothing is extracted and neither PyTorch nor Ray is loaded.
"""

from dataclasses import dataclass

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import InvalidRow
from kinesweep.sources import build_source
from kinesweep.sources.splitting.split_overlap import OverlapReport, overlaps


@dataclass(frozen=True)
class CorpusCheck:
    """The result of a check.

    Attributes:
        problems: Rows that `extract` would drop and count, with their reasons.
        overlaps: Sentences, documents and signers that several splits contain.
    """

    problems: list[InvalidRow]
    overlaps: OverlapReport

    def lines(self) -> list[str]:
        """Return the findings as text, one line each; empty if there are none."""
        rows = [f"{one.row}  {one.reason}  {one.message}" for one in self.problems]
        return [*rows, *self.overlaps.lines()]


def check_corpus(recipe: Recipe) -> CorpusCheck:
    """Check the corpus of a recipe.

    Raises:
        SourceError: If a table as a whole cannot be read.
    """
    source = build_source(recipe.corpus)
    return CorpusCheck(source.check(), overlaps(source))
