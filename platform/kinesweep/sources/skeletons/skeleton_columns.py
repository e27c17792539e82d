"""Columns of skeleton tables: their indices by meaning, and the errors in a header.

A column is named after its meaning, unless `source.columns` gives it another name. An unknown
column is an error that suggests the closest known name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.sources.skeleton_meanings import (
    COLUMN_MEANINGS,
    KNOWN_MEANINGS,
    TEXT_MEANINGS,
    is_augmented_meaning,
    is_text_meaning,
)
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.sources.tsv.tsv_columns import format_unknown_column_error
from kinesweep.sources.tsv.tsv_reader import Table, TableError


@dataclass(frozen=True)
class ColumnIndices:
    """The column indices of a skeleton table.

    Attributes:
        by_meaning: Column index by meaning.
        text_indices: Column indices of the texts, in the order of the table.
        augmented_indices: Column indices of the augmented texts, in the order of the table.
    """

    by_meaning: dict[str, int]
    text_indices: tuple[int, ...]
    augmented_indices: tuple[int, ...] = ()


def resolve_skeleton_columns(
    table: Table, config: SkeletonsConfig, pack_name: str | None, needs_text: bool = True
) -> tuple[ColumnIndices, list[TableError]]:
    """Find the column indices of a skeleton table, and all errors in its header.

    Args:
        table: Table to resolve.
        config: Source configuration with renamed and ignored columns.
        pack_name: Name of the `.npz` that the rows index, or None if each row names its file.
        needs_text: Whether texts and all renamed columns must exist.
    """
    location, header = f"{table.name}:1", table.header
    meanings = {column: meaning for meaning, column in config.columns.items()}
    by_meaning: dict[str, int] = {}
    text_indices: list[int] = []
    augmented_indices: list[int] = []
    errors: list[TableError] = []
    for column_index, column in enumerate(header):
        meaning = meanings.get(column, column)
        if column in config.ignore_columns:
            continue
        if column in header[:column_index] or meaning in by_meaning:
            errors.append((location, f"a second column means `{meaning}`; remove one of them"))
        elif is_text_meaning(meaning):
            text_indices.append(column_index)
        elif is_augmented_meaning(meaning):
            augmented_indices.append(column_index)
        elif meaning in COLUMN_MEANINGS:
            by_meaning[meaning] = column_index
        else:
            remedy = "; to give its meaning, add it to `source.columns`"
            text = format_unknown_column_error(column, header, KNOWN_MEANINGS, remedy)
            errors.append((location, text))
    for meaning, column in config.columns.items():
        if needs_text and column not in header:
            text = f"there is no column `{column}`, which `source.columns.{meaning}` names"
            errors.append((location, text + suggest_closest_word(column, header)))
    if needs_text and not text_indices:
        errors.append(
            (location, f"there is no column of texts: {', '.join(TEXT_MEANINGS)}, text1, ref1 …")
        )
    errors += [(location, text) for text in _find_naming_errors(by_meaning, pack_name)]
    indices = ColumnIndices(by_meaning, tuple(text_indices), tuple(augmented_indices))
    return indices, errors


def _find_naming_errors(by_meaning: Mapping[str, int], pack_name: str | None) -> list[str]:
    """Return the error text if a table lacks the column that names motions or has the wrong one.

    Args:
        by_meaning: Column index by meaning.
        pack_name: Name of the `.npz` that the rows index, or None if each row names its file.
    """
    if pack_name is not None:
        text = f"`motion` names files, but all motions are in `{pack_name}`; use `index` instead"
        return [text] if "motion" in by_meaning else []
    if "index" in by_meaning:
        text = "`index` numbers motions of one `.npz`, but the motions are files; set"
        return [f"{text} `source.motions` to the `.npz`, or name the files in a column `motion`"]
    if "motion" not in by_meaning and "id" not in by_meaning:
        return ["there is no column `motion` or `id`, which must name the file of a motion"]
    return []
