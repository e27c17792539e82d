"""What people hand to `translate`: files, folders, tables; put out as clips in a stable order."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from kinesweep.core.clip import SPLITS, Clip, RowProblem
from kinesweep.core.errors import InputError
from kinesweep.core.paths import inside
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.skeletons import SkeletonsConfig
from kinesweep.export.raw import Input, is_raw, kind_of_raw
from kinesweep.sources.motion_file import PACK_SUFFIX
from kinesweep.sources.pose_rows import MediaKind, RowReader
from kinesweep.sources.skeletons import SkeletonsSource
from kinesweep.sources.table import raise_faults, read_table

_TABLE = ".tsv"
_ALL = "all"


def find_inputs(
    paths: Sequence[Path], recipe: Recipe, document: bool = False
) -> list[tuple[str, Input]]:
    """Every clip that the paths mean, with the name it is shown by.

    A file is itself, a folder of pictures too, where videos are translated; another folder is all
    files below it that the model takes, by name; a `.tsv` is its rows, named by their ids, with
    their spans, prompts and documents (a column of texts may be missing); motions lie beside it.

    Args:
        paths: files, folders, tables.
        recipe: of the bundle; says what it takes.
        document: all of them are one, in this order, whatever a table says.

    Raises:
        InputError: a path is none of these, or there is nothing in it.
        SourceError: a table is faulty.
        ClipError: a row's motion is not there.
    """
    found: list[tuple[str, Input]] = []
    for path in paths:
        own = _inside(path, recipe)
        if not own:
            raise InputError(f"`{path}` holds no {kind_of_raw(recipe)}")
        found += own
    if not document:
        return found
    return [(n, replace(item, document=_ALL, order=i)) for i, (n, item) in enumerate(found)]


def _inside(path: Path, recipe: Recipe) -> list[tuple[str, Input]]:
    meant = is_raw(recipe)
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
    """The clips of a table.

    Raises:
        SourceError: its faults, all at once.
        InputError: a row that means nothing.
    """
    kind = recipe.corpora[0].kind
    if kind in ("feature_manifest", "h5_shards"):
        raise InputError(
            f"`{path}` is a table; this model translates {kind_of_raw(recipe)} and folders of them"
        )
    media: MediaKind = "poses" if kind == "pose_tsv" else "videos"
    table = read_table(path, path.name)
    rows = RowReader(table, "test", "ms", needs_text=False, media=media).read()
    raise_faults(rows.faults)
    _refuse(rows.problems)
    return rows.clips


def _motions(table: Path, config: SkeletonsConfig) -> list[tuple[str, Input]]:
    """The rows of a table of motions, each with its reference, read as extraction reads them.

    Raises:
        SourceError: its faults, all at once.
        InputError: a row that means nothing.
        ClipError: a row's motion is not there.
    """
    numbered = config.columns.get("index", "index") in read_table(table, table.name).header
    folder = None if numbered or table.with_suffix(PACK_SUFFIX).is_file() else str(table.parent)
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


def _refuse(problems: Sequence[RowProblem]) -> None:
    """Rows that mean nothing.

    Raises:
        InputError: the first of them.
    """
    if problems:
        raise InputError("; ".join(f"{p.row}: {p.message}" for p in problems[:3]))


def _input(table: Path, clip: Clip) -> Input:
    """A row; a prompt that it does not give is the bundle's."""
    file = inside(table.parent.absolute(), clip.media)
    prompts = clip.encoder_prompt or None, clip.decoder_prompt or None
    # Another table may call another document alike.
    document = f"{table}: {clip.document}" if clip.document else ""
    return Input(file, clip.span, *prompts, document, clip.order)
