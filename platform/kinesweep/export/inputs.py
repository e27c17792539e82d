"""Inputs of `kinesweep translate`: files, folders and tables, expanded to clips in order."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.clip import SPLITS, Clip, InvalidRow
from kinesweep.core.errors import InputError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.export.raw_inputs import Input, describe_raw_files, get_raw_file_filter
from kinesweep.sources.skeletons.motion_file import PACK_SUFFIX
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.tsv.tsv_reader import raise_table_errors, read_table
from kinesweep.sources.tsv.tsv_rows import MediaKind, RowReader

_TABLE_SUFFIX = ".tsv"
# Name of the document that contains all clips if `--document` is given.
_SINGLE_DOCUMENT_NAME = "all"


def find_inputs(
    paths: Sequence[Path], recipe: Recipe, document: bool = False
) -> list[tuple[str, Input]]:
    """Find all clips that the paths refer to.

    A file is one clip, and so is a folder of images if the model translates videos. Any other
    folder stands for all files below it that the model can translate, sorted by name. A `.tsv`
    table stands for its rows with their IDs, spans, prompts and documents; it needs no text column,
    and motions are found next to it.

    Args:
        paths: Paths of files, folders and tables.
        recipe: Recipe of the bundle, which determines the accepted files.
        document: Whether all clips form one document in this order; documents of tables are then
            ignored.

    Returns:
        Display name and input of each clip.

    Raises:
        InputError: If a path does not exist or contains no usable file.
        SourceError: If a table has errors.
        ClipError: If the motion of a row does not exist.
    """
    inputs: list[tuple[str, Input]] = []
    for path in paths:
        path_inputs = _expand_path(path, recipe)
        if not path_inputs:
            raise InputError(f"`{path}` contains no {describe_raw_files(recipe)}")
        inputs += path_inputs
    if not document:
        return inputs
    return [
        (n, replace(item, document=_SINGLE_DOCUMENT_NAME, order=i))
        for i, (n, item) in enumerate(inputs)
    ]


def _expand_path(path: Path, recipe: Recipe) -> list[tuple[str, Input]]:
    """Expand one path to its clips; see `find_inputs`."""
    is_accepted = get_raw_file_filter(recipe)
    # A folder of images passes `is_accepted` for video models and is then a single clip.
    if path.is_dir() and not is_accepted(path):
        return [(str(file), Input(file)) for file in sorted(path.rglob("*")) if is_accepted(file)]
    if not path.exists():
        raise InputError(f"`{path}` does not exist")
    if path.suffix.lower() == _TABLE_SUFFIX:
        source = recipe.corpora[0]
        if isinstance(source, SkeletonsConfig):
            return _read_motion_table(path, source)
        return [(clip.id, _make_input(path, clip)) for clip in _read_table_clips(path, recipe)]
    return [(str(path), Input(path))]


def _read_table_clips(path: Path, recipe: Recipe) -> list[Clip]:
    """Read the clips of a table.

    Raises:
        SourceError: If the table has errors; the message names all of them.
        InputError: If a row is invalid.
    """
    kind = recipe.corpora[0].kind
    if kind in ("feature_manifest", "h5_shards"):
        raise InputError(
            f"`{path}` is a table, but this model translates {describe_raw_files(recipe)} and"
            " folders of"
            " them"
        )
    media: MediaKind = "poses" if kind == "pose_tsv" else "videos"
    table = read_table(path, path.name)
    rows = RowReader(table, "test", "ms", needs_text=False, media_kind=media).read()
    raise_table_errors(rows.errors)
    _reject_invalid_rows(rows.problems)
    return rows.clips


def _read_motion_table(table: Path, config: SkeletonsConfig) -> list[tuple[str, Input]]:
    """Read the rows of a motion table, each with its reference, in the same way as extraction.

    Raises:
        SourceError: If the table has errors; the message names all of them.
        InputError: If a row is invalid.
        ClipError: If the motion of a row does not exist.
    """
    # Motions are either in one pack next to the table, by index or name, or separate files in the
    # folder of the table.
    has_index = config.columns.get("index", "index") in read_table(table, table.name).header
    folder = None if has_index or table.with_suffix(PACK_SUFFIX).is_file() else str(table.parent)
    # The source of the recipe, restricted to this table as its test split.
    table_settings = {
        **dict.fromkeys(SPLITS),
        "test": str(table),
        "motions": folder,
        "max_clips": None,
    }
    source = SkeletonsSource(config.model_copy(update=table_settings), needs_text=False)
    clips = source.list_clips("test")
    _reject_invalid_rows(source.list_invalid_rows())
    return [
        (
            clip.id,
            Input(
                source.resolve_media_path(clip),
                clip.span,
                document=f"{table}: {clip.document}" if clip.document else "",
                order=clip.order,
                read_media=partial(source.read, clip),
                includes_reference=bool(clip.reference),
            ),
        )
        for clip in clips
    ]


def _reject_invalid_rows(problems: Sequence[InvalidRow]) -> None:
    """Raise an error if there are invalid rows.

    Raises:
        InputError: If there are any; the message names the first three.
    """
    if problems:
        raise InputError("; ".join(f"{p.row}: {p.message}" for p in problems[:3]))


def _make_input(table: Path, clip: Clip) -> Input:
    """Convert a clip of a table to an input; missing prompts come from the bundle."""
    file = resolve_path_inside(table.parent.absolute(), clip.media)
    prompts = clip.encoder_prompt or None, clip.decoder_prompt or None
    # Prefixed by the table, because another table may use the same document name.
    document = f"{table}: {clip.document}" if clip.document else ""
    return Input(file, clip.span, *prompts, document, clip.order)
