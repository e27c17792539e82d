"""Inputs of `kinesweep translate`: files, folders and tables, expanded to the clips in them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import SingleSourceConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.errors import InputError, KinesweepError
from kinesweep.export.input_failure import FAILED_KEY, InputFailure
from kinesweep.export.part_inputs import RawParts, is_complete, make_path_inputs
from kinesweep.export.raw_inputs import Input, describe_raw_files, get_raw_file_filter
from kinesweep.export.table_inputs import (
    Expansion,
    read_media_table,
    read_motion_table,
    read_multi_part_table,
)
from kinesweep.export.text_inputs import read_line_inputs

_TABLE_SUFFIX = ".tsv"
# Name of the document that contains all clips if `--document` is given.
_SINGLE_DOCUMENT_NAME = "all"


def find_inputs(
    paths: Sequence[Path],
    source: SingleSourceConfig,
    as_one_document: bool = False,
    failures: list[InputFailure] | None = None,
    parts: RawParts | None = None,
) -> list[tuple[str, Input]]:
    """Find all clips that paths of files, folders and tables refer to.

    A file is one clip, and so is a folder of images if the model translates videos. Any other
    folder stands for all files below it that the model can translate, sorted by path. A `.tsv`
    table stands for its rows with their IDs, spans, prompts and documents; it needs no text column,
    and motions are found next to it.

    Args:
        paths: Paths of files, folders and tables.
        source: Corpus that the model was trained on, which determines the accepted files; the first
            one if there were several.
        as_one_document: Whether all clips form one document in the order of the result; documents
            named by tables are then ignored.
        failures: List to which paths and rows that cannot be used are added; None raises the error
            of the first one.
        parts: Parts of the model's features by stream; each reads a file of its own. None or empty:
            the model has a single kind of features.

    Returns:
        Display name and input of each clip, in the order of the paths and, within a table, of its
        rows. A row whose name occurs in several tables is called `TABLE: NAME`.

    Raises:
        InputError: If a path does not exist or contains no usable file, or a row is invalid. This
            and the following errors are raised only without `failures`.
        SourceError: If a table has errors.
        ClipError: If the motion of a row does not exist, or a media path leads out of the folder of
            its table.
    """
    found: list[tuple[Path, str, Input]] = []
    for path in paths:
        try:
            path_inputs, path_failures = (
                _expand_path_for_parts(path, parts) if parts else _expand_path(path, source)
            )
            if not path_inputs and not path_failures:
                raise InputError(f"`{path}` contains no {describe_raw_files(source)}")
        except KinesweepError as error:
            path_inputs, path_failures = [], [InputFailure.from_error(str(path), error)]
        if path_failures and failures is None:
            raise path_failures[0].error
        if failures is not None:
            failures += path_failures
        found += [(path, name, item) for name, item in path_inputs]
    # Texts are returned by name, so clips of two tables must not share one.
    paths_by_name: dict[str, set[Path]] = {FAILED_KEY: {Path()}}
    for path, name, _ in found:
        paths_by_name.setdefault(name, set()).add(path)
    named_inputs = [
        (f"{path}: {name}" if len(paths_by_name[name]) > 1 and name != str(path) else name, item)
        for path, name, item in found
    ]
    if not as_one_document:
        return named_inputs
    return [
        (name, replace(item, document=_SINGLE_DOCUMENT_NAME, order=position))
        for position, (name, item) in enumerate(named_inputs)
    ]


def _expand_path(path: Path, source: SingleSourceConfig) -> Expansion:
    """Expand one path of a file, folder or table to its clips, as described at `find_inputs`.

    Args:
        path: Path of a file, folder or table.
        source: Corpus that the model was trained on.

    Returns:
        Named clips and failures; both are empty if a folder contains no usable file.

    Raises:
        InputError: If the path does not exist, or if the model translates no tables.
        SourceError: If a table of motions has errors.
    """
    is_accepted = get_raw_file_filter(source)
    # A folder of images passes `is_accepted` for video models and is then a single clip.
    if path.is_dir() and not is_accepted(path):
        files = [file for file in sorted(path.rglob("*")) if is_accepted(file)]
        return _make_file_inputs(files, source), []
    if not path.exists():
        raise InputError(f"`{path}` does not exist")
    if path.suffix.lower() == _TABLE_SUFFIX:
        if isinstance(source, SkeletonsConfig):
            return read_motion_table(path, source)
        return read_media_table(path, source)
    return _make_file_inputs([path], source), []


def _make_file_inputs(files: Sequence[Path], source: SingleSourceConfig) -> list[tuple[str, Input]]:
    """Make an input of each file, or of each line of files with texts.

    Raises:
        InputError: If a text file cannot be read or has no text.
    """
    if isinstance(source, TextTsvConfig | SignWritingTsvConfig):
        return [named for file in files for named in read_line_inputs(file, source)]
    return [(str(file), Input(file)) for file in files]


def _expand_path_for_parts(path: Path, parts: RawParts) -> Expansion:
    """Expand one path to clips that have a file for each part of a model's features.

    Args:
        path: Path of a file, folder or table.
        parts: Parts of the model.

    Raises:
        InputError: If the path does not exist, or gives no file for a part.
        SourceError: If a table has errors.
    """
    if not path.exists():
        raise InputError(f"`{path}` does not exist")
    if path.suffix.lower() == _TABLE_SUFFIX:
        return read_multi_part_table(path, parts)
    if path.is_dir() and not is_complete(path, parts):
        files = [file for file in sorted(path.rglob("*")) if is_complete(file, parts)]
        return [named for file in files for named in make_path_inputs(file, parts)], []
    return make_path_inputs(path, parts), []
