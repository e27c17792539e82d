"""The splits of a data set that contains its media: their names, and warnings about them."""

from collections.abc import Mapping
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.file_search import SPLIT_WORDS
from kinesweep.sources.prepare.split_annotations import SplitAnnotations

SPLIT_BY_NAME = {word: split for split, words in SPLIT_WORDS.items() for word in words}
"""Name of a split in a data set → our split."""


def add_split_warnings(
    annotations: dict[str, SplitAnnotations], other_splits: Mapping[str, int | None], out: Path
) -> None:
    """Add warnings about splits that a data set lacks, or that are not written.

    Args:
        annotations: Annotations by split; the first split gets the warnings.
        other_splits: Number of rows of the splits with other names, None if it is not known.
        out: Folder of the corpus.

    Raises:
        InputError: If no split of the data set is used.
    """
    names = ", ".join(f"`{name}`" for name in other_splits)
    if not annotations:
        raise InputError(
            f"the data set has only the splits {names or 'of no name'}; expected names such as"
            f" {', '.join(SPLIT_BY_NAME)}"
        )
    first = next(iter(annotations.values()))
    if other_splits:
        first.warnings.append(f"these splits were not written, because of their names: {names}")
    if "validation" not in annotations:
        first.warnings.append(
            "the corpus has no validation split; make folds of train with `kinesweep split RECIPE"
            f" {out}/folds --by document` (or `--by signer`)"
        )
