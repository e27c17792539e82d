"""Inputs of `kinesweep translate`: expand files, folders and tables to clips in a stable order."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.clip import SPLITS, Clip, InvalidRow
from kinesweep.core.errors import InputError
from kinesweep.core.paths import resolve_inside
from kinesweep.export.raw_inputs import Input, is_raw, kind_of_raw
from kinesweep.sources.skeletons.motion_file import PACK_SUFFIX
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.tsv.tsv_reader import raise_table_errors, read_table
from kinesweep.sources.tsv.tsv_rows import MediaKind, RowReader

_TABLE = ".tsv"
# Name of the document that `--document` makes of all clips.
_ALL = "all"


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
    found: list[tuple[str, Input]] = []
    for path in paths:
        own = _inside(path, recipe)
        if not own:
            raise InputError(f"`{path}` contains no {kind_of_raw(recipe)}")
        found += own
    if not document:
        return found
    return [(n, replace(item, document=_ALL, order=i)) for i, (n, item) in enumerate(found)]


def _inside(path: Path, recipe: Recipe) -> list[tuple[str, Input]]:
    """Expand one path to its clips; see `find_inputs`."""
    meant = is_raw(recipe)
    # A folder of images passes `meant` for video models and is then a single clip.
    if path.is_dir() and not meant(path):
        return [(str(file), Input(file)) for file in sorted(path.rglob("*")) if meant(file)]
    if not path.exists():
        raise InputError(f"`{path}` does not exist")
    if path.suffix.lower() == _TABLE:
        source = recipe.corpora[0]
        if isinstance(source, SkeletonsConfig):
            return _motions(path, source)
        return [(clip.id, _input(path, clip)) for clip in _rows(path, recipe)]
    return [(str(path), Input(path))]


def _rows(path: Path, recipe: Recipe) -> list[Clip]:
    """Read the clips of a table.

    Raises:
        SourceError: If the table has errors; the message names all of them.
        InputError: If a row is invalid.
    """
    kind = recipe.corpora[0].kind
    if kind in ("feature_manifest", "h5_shards"):
        raise InputError(
            f"`{path}` is a table, but this model translates {kind_of_raw(recipe)} and folders of"
            " them"
        )
    media: MediaKind = "poses" if kind == "pose_tsv" else "videos"
    table = read_table(path, path.name)
    rows = RowReader(table, "test", "ms", needs_text=False, media=media).read()
    raise_table_errors(rows.faults)
    _refuse(rows.problems)
    return rows.clips


def _motions(table: Path, config: SkeletonsConfig) -> list[tuple[str, Input]]:
    """Read the rows of a motion table, each with its reference, in the same way as extraction.

    Raises:
        SourceError: If the table has errors; the message names all of them.
        InputError: If a row is invalid.
        ClipError: If the motion of a row does not exist.
    """
    # Motions are either in one pack next to the table, by index or name, or separate files in the
    # folder of the table.
    numbered = config.columns.get("index", "index") in read_table(table, table.name).header
    folder = None if numbered or table.with_suffix(PACK_SUFFIX).is_file() else str(table.parent)
    # The source of the recipe, restricted to this table as its test split.
    alone = {**dict.fromkeys(SPLITS), "test": str(table), "motions": folder, "max_clips": None}
    source = SkeletonsSource(config.model_copy(update=alone), needs_text=False)
    clips = source.clips("test")
    _refuse(source.problems())
    return [
        (
            clip.id,
            Input(
                source.media_path(clip),
                clip.span,
                document=f"{table}: {clip.document}" if clip.document else "",
                order=clip.order,
                media=partial(source.read, clip),
                compared=bool(clip.reference),
            ),
        )
        for clip in clips
    ]


def _refuse(problems: Sequence[InvalidRow]) -> None:
    """Reject invalid rows.

    Raises:
        InputError: If there are any; the message names the first three.
    """
    if problems:
        raise InputError("; ".join(f"{p.row}: {p.message}" for p in problems[:3]))


def _input(table: Path, clip: Clip) -> Input:
    """Convert a row of a table; prompts that it does not give come from the bundle."""
    file = resolve_inside(table.parent.absolute(), clip.media)
    prompts = clip.encoder_prompt or None, clip.decoder_prompt or None
    # Prefixed by the table, because another table may use the same document name.
    document = f"{table}: {clip.document}" if clip.document else ""
    return Input(file, clip.span, *prompts, document, clip.order)
