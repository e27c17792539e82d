"""A check of a corpus before extraction: invalid rows and overlap between splits.

Every file is opened; nothing is extracted or logged, and neither PyTorch nor Ray is loaded.
"""

from dataclasses import dataclass

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import InvalidRow
from kinesweep.core.html_table import format_html_table
from kinesweep.sources import build_source
from kinesweep.sources.splitting.split_overlap import OverlapReport, compute_overlaps


@dataclass(frozen=True)
class CorpusCheck:
    """The result of a corpus check.

    Attributes:
        problems: Rows that `extract` would drop and count, with their reasons.
        overlaps: Sentences, documents and signers that several splits contain.
    """

    problems: list[InvalidRow]
    overlaps: OverlapReport

    def format_lines(self) -> list[str]:
        """Format invalid rows and overlaps as lines of text; none if nothing was found."""
        rows = [f"{problem.row}  {problem.reason}  {problem.message}" for problem in self.problems]
        return [*rows, *self.overlaps.format_lines()]

    def _repr_html_(self) -> str:
        """Return invalid rows and overlaps as HTML tables, which notebooks show."""
        rows = [(problem.row, problem.reason, problem.message) for problem in self.problems]
        header, *overlap_rows = self.overlaps.build_table_rows()
        return (
            f"<p><b>{len(rows)} invalid rows</b></p>"
            f"{format_html_table(('row', 'reason', 'message'), rows) if rows else ''}"
            f"<p><b>Overlap between splits</b></p>{format_html_table(header, overlap_rows)}"
        )


def check_corpus(recipe: Recipe) -> CorpusCheck:
    """Check the corpus of a recipe for invalid rows and for overlap between its splits.

    Raises:
        SourceError: If a table as a whole cannot be read.
    """
    source = build_source(recipe.effective_source)
    return CorpusCheck(source.check_clips(), compute_overlaps(source))
