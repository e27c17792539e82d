"""Inputs of a model with several parts of features: one file for each stream of a clip.

A clip comes from a row of a table, from one path for each stream (`--input pose=FILE`), or from a
single path: each part takes the path itself if it reads such files, and a part of poses the `.pose`
file beside it. A table names the files of a stream in a column with the name of the stream, or in
the column of the training tables; other streams take theirs from `signal` as from a single path. A
stream without a file is absent, as in training clips of corpora that do not provide it.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import FeaturesConfig, SingleSourceConfig
from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.export.raw_file_kinds import get_media_kind, get_time_unit
from kinesweep.export.raw_inputs import Input, describe_raw_files, get_raw_file_filter
from kinesweep.export.text_inputs import make_text_input, read_line_inputs
from kinesweep.sources.tsv.media_column import MediaColumn, list_time_columns
from kinesweep.sources.tsv.media_names import get_pose_path
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_columns import MEANING_BY_NAME
from kinesweep.sources.tsv.tsv_reader import Table, raise_table_errors, read_table
from kinesweep.sources.tsv.tsv_rows import RowReader

_SPAN_MEANINGS = ("signal_start", "signal_end")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawPart:
    """A selected part of a model's features, which reads a file of its own.

    Attributes:
        stream: Name of the stream.
        source: Corpus that the part was trained on; the first one if there were several.
        features: Features of the part.
        column: Column of the training tables with the files of the part; None: `signal`.
        position: Index of the part in the recipe.
    """

    stream: str
    source: SingleSourceConfig
    features: FeaturesConfig
    column: str | None
    position: int

    @property
    def is_written(self) -> bool:
        """Return whether the part reads texts, which tables contain themselves."""
        return isinstance(self.source, TextTsvConfig | SignWritingTsvConfig)

    @property
    def is_untimed(self) -> bool:
        """Return whether the part reads texts or images, which the span of a row does not cut."""
        return self.is_written or isinstance(self.source, ImageTsvConfig)

    def find_file(self, path: Path) -> Path | None:
        """Find the file of this part for a path: the path itself, or the poses beside it.

        Returns:
            The file; None if the part cannot use the path.
        """
        if get_raw_file_filter(self.source)(path):
            return path
        beside = Path(get_pose_path(str(path)))
        is_other = beside != path and self.source.kind == "pose_tsv"
        return beside if is_other and beside.is_file() else None


RawParts = Mapping[str, RawPart]
"""Stream → its part, in the order of the selection; empty for a model without parts."""


def list_raw_parts(recipe: Recipe) -> dict[str, RawPart]:
    """List the selected parts of a recipe's features by stream; empty if it has no parts.

    Of several parts of one stream, which belong to different corpora, the first reads files.

    Args:
        recipe: Recipe of a model.
    """
    parts: dict[str, RawPart] = {}
    for position, (part, part_recipe) in enumerate(recipe.part_recipes):
        if part.name in recipe.selected_streams and part.name not in parts:
            source = part_recipe.corpora[0]
            column = getattr(source, "column", None)
            parts[part.name] = RawPart(part.name, source, part.features, column, position)
    return {name: parts[name] for name in recipe.selected_streams if name in parts}


def make_path_input(path: Path, parts: RawParts) -> Input:
    """Make the input of a single path, from which every part takes its file.

    Raises:
        InputError: If a part finds no file.
    """
    return Input(
        path, streams={name: Input(file) for name, file in _find_files(path, parts).items()}
    )


def make_path_inputs(path: Path, parts: RawParts) -> list[tuple[str, Input]]:
    """Make the named inputs of a path: one, or one per line of text if all parts read texts.

    Raises:
        InputError: If a part finds no file, or a text file cannot be read or has no text.
    """
    if not all(part.is_written for part in parts.values()) or not is_complete(path, parts):
        return [(str(path), make_path_input(path, parts))]
    lines = {
        name: read_line_inputs(path, part.source)
        for name, part in parts.items()
        if isinstance(part.source, TextTsvConfig | SignWritingTsvConfig)
    }
    names = [name for name, _ in next(iter(lines.values()))]
    return [
        (name, Input(path, streams={stream: inputs[row][1] for stream, inputs in lines.items()}))
        for row, name in enumerate(names)
    ]


def is_complete(path: Path, parts: RawParts) -> bool:
    """Return whether every part finds a file for a path."""
    return all(part.find_file(path) is not None for part in parts.values())


def _find_files(path: Path, parts: RawParts) -> dict[str, Path]:
    """Find the file of every part for a path.

    Raises:
        InputError: If a part finds none.
    """
    files = {name: part.find_file(path) for name, part in parts.items()}
    missing = [name for name, file in files.items() if file is None]
    if missing:
        needed = ", ".join(f"`{name}` ({describe_raw_files(parts[name].source)})" for name in parts)
        options = " ".join(f"--input {name}=FILE" for name in parts)
        raise InputError(
            f"`{path}` gives no file for {', '.join(f'`{name}`' for name in missing)}: this model"
            f" reads {needed}. Pass `{options}`, a `.tsv` table with a column for each, or a video"
            " with its `.pose` file beside it"
        )
    return {name: file for name, file in files.items() if file is not None}


def parse_stream_files(
    options: Sequence[str], parts: RawParts, has_paths: bool = False
) -> list[tuple[str, Input]]:
    """Parse the files of one clip, given as `STREAM=FILE`, to a list with its name and input.

    Args:
        options: Values of `--input`.
        parts: Parts of the model.
        has_paths: Whether paths of other clips are given.

    Returns:
        A list of one clip, named like its first file; empty without options.

    Raises:
        InputError: If the model has no parts, a stream is unknown, repeated or without a file, or
            nothing is given at all.
    """
    if not options and not has_paths:
        raise InputError("nothing to translate: give files, folders or a TSV, or `--input`")
    if not options:
        return []
    if not parts:
        raise InputError("this model reads one kind of input; pass its files without `--input`")
    files: dict[str, Path] = {}
    for option in options:
        name, _, file = option.partition("=")
        if name not in parts or not file or name in files:
            raise InputError(
                f"`--input {option}` must be STREAM=FILE, each stream once; the model reads"
                f" {', '.join(f'`{stream}`' for stream in parts)}"
            )
        files[name] = Path(file)
        if not files[name].exists():
            raise InputError(f"`{file}` of `--input {option}` does not exist")
        source = parts[name].source
        if isinstance(source, TextTsvConfig | SignWritingTsvConfig):
            num_lines = len(read_line_inputs(files[name], source))
            if num_lines > 1:
                raise InputError(
                    f"`{file}` of `--input {option}` has {num_lines} lines with text, but a clip"
                    " has one; give a file for each clip, or a `.tsv` table"
                )
    warn_absent_streams(Counter({name: 1 for name in parts if name not in files}), 1)
    first = next(iter(files.values()))
    return [(str(first), Input(first, streams={name: Input(files[name]) for name in files}))]


def read_part_table(path: Path, parts: RawParts) -> tuple[list[tuple[Clip, Input]], ParsedRows]:
    """Read the rows of a table as inputs with a file for each stream.

    Args:
        path: Path of the table, to whose folder the media paths are relative.
        parts: Parts of the model.

    Returns:
        Clip of each usable row and its input, in the order of the table, and the rows of the first
        part, which have the errors and invalid rows.

    Raises:
        SourceError: If the table has errors.
        ClipError: If a media path leads out of the folder of the table.
    """
    table = read_table(path, path.name)
    rows_by_stream = {name: _read_part_rows(table, part, parts) for name, part in parts.items()}
    for rows in rows_by_stream.values():
        raise_table_errors(rows.errors)
    clips: dict[str, Clip] = {}
    streams: dict[str, dict[str, Input]] = {}
    for name, rows in rows_by_stream.items():
        for clip in rows.clips:
            # A clip with a span is named by it, whichever part comes first.
            if clip.row not in clips or (clips[clip.row].span.is_full and not clip.span.is_full):
                clips[clip.row] = clip
            streams.setdefault(clip.row, {})[name] = _make_stream_input(path, clip, parts[name])
    absent = Counter(name for files in streams.values() for name in parts if name not in files)
    warn_absent_streams(absent, len(streams))
    order = sorted(clips, key=lambda row: int(row.rpartition(":")[2]))
    first_rows = next(iter(rows_by_stream.values()))
    # A row that lacks only one stream is usable.
    invalid = [row for row in first_rows.invalid_rows if row.row not in clips]
    return (
        [
            (
                clips[row],
                replace(next(iter(streams[row].values())), streams=streams[row]),
            )
            for row in order
        ],
        ParsedRows(invalid_rows=invalid),
    )


def _make_stream_input(table: Path, clip: Clip, part: RawPart) -> Input:
    """Make the input of one stream of a row: its file, or the text that the row contains.

    Raises:
        ClipError: If a media path leads out of the folder of the table.
    """
    if isinstance(part.source, TextTsvConfig | SignWritingTsvConfig):
        return make_text_input(table, clip, part.source, document="")
    return Input(resolve_path_inside(table.parent.absolute(), clip.media), clip.span)


def _read_part_rows(table: Table, part: RawPart, parts: RawParts) -> ParsedRows:
    """Read the rows of a table with the media of one part.

    Args:
        table: Table with files of all parts.
        part: Part to read.
        parts: All parts, whose columns are ignored.
    """
    own = [part.stream, *([part.column] if part.column else [])]
    column = next((name for name in own if name in table.header), None)
    others = {name for other in parts.values() for name in (other.stream, other.column) if name}
    unused = {name for other in others - {column} for name in (other, *list_time_columns(other))}
    # A column may have the name of a stream and a meaning of its own, such as `signal`.
    # A column of another part would otherwise be reported as unknown.
    ignored = tuple(name for name in unused if name not in MEANING_BY_NAME)
    ignored += tuple(getattr(part.source, "ignore_columns", ()))
    if part.is_untimed and not all(other.is_untimed for other in parts.values()):
        ignored += tuple(
            name for name in table.header if MEANING_BY_NAME.get(name) in _SPAN_MEANINGS
        )
    kind = get_media_kind(part.source) or "videos"
    if kind == "poses":
        # A part of poses also takes the `.pose` file beside a video.
        kind = "poses_or_videos"
    time_unit = get_time_unit(part.source)
    if column is None or column == "signal":
        return RowReader(
            table, "test", time_unit, ignored, needs_text=False, media_kind=kind
        ).read()
    selected = MediaColumn.select(table, column, time_unit)
    ignored = (*ignored, *selected.ignored_columns)
    reader = RowReader(selected.table, "test", time_unit, ignored, False, kind)
    return selected.restore_ids(reader.read(), "test")


def warn_absent_streams(absent: Counter[str], num_clips: int) -> None:
    """Log which streams are absent in how many clips."""
    for name, count in absent.items():
        logger.warning(
            f"{count} of {num_clips} clips have no `{name}` and are translated without it; a model"
            " translates such clips well only if some of its training clips had none either"
        )
