"""Preparation of a data set of Hugging Face: the media files of its rows, then the tables.

Rows are read in order, one at a time. Each one becomes a media file and a line of the journal, or a
line with the reason why not; an interrupted preparation continues after the last line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import ClipError, InputError
from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.corpus_tables import check_no_tables, write_corpus_tables
from kinesweep.sources.prepare.hub.dataset_columns import DatasetColumns
from kinesweep.sources.prepare.hub.opened_dataset import OpenedDataset
from kinesweep.sources.prepare.hub.pose_arrays import read_pose_header
from kinesweep.sources.prepare.hub.row_media import RowMediaWriter
from kinesweep.sources.prepare.hub.row_values import (
    find_feature,
    get_item_feature,
    get_stem,
    make_text,
    name_classes,
    parse_fps,
    parse_order,
    parse_time,
)
from kinesweep.sources.prepare.media.dotted_paths import get_value
from kinesweep.sources.prepare.media.media_settings import JOURNAL_FOLDER, write_media_settings
from kinesweep.sources.prepare.media.prompts import Prompts, make_language_tag
from kinesweep.sources.prepare.media.row_journal import RowJournal, read_rows
from kinesweep.sources.prepare.media.split_names import SPLIT_BY_NAME, add_split_warnings
from kinesweep.sources.prepare.preparation_result import (
    SOURCE_KIND_BY_MEDIA,
    PreparationResult,
)
from kinesweep.sources.prepare.split_annotations import DroppedRow, SplitAnnotations

_TEXT_MEANINGS = (
    *("document", "signer", "gloss", "language", "encoder_prompt", "decoder_prompt", "order"),
    *("start", "end"),
)
"""Meanings of columns whose values are copied into the row of a clip as texts."""


@dataclass(frozen=True)
class HubSettings:
    """The user's settings for the preparation of a data set.

    Attributes:
        config: Name of the configuration (subset) of the data set, or None for the default.
        revision: Branch, tag or commit of a data set on the Hub, or None for `main`.
        media: `poses`, `videos` or `features`; None for the first that has a column.
        columns: Column by meaning, where the names of the columns do not tell it.
        pose_header: `.pose` file whose header names the points of poses that are arrays, or None.
        fps: Frame rate of such poses in rows without one, or None.
        time_unit: Unit of the columns with start and end, `ms` or `s`.
        limit: Largest number of rows of a split, or None for all.
    """

    config: str | None = None
    revision: str | None = None
    media: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    pose_header: Path | None = None
    fps: float | None = None
    time_unit: str = "ms"
    limit: int | None = None


@dataclass
class _SplitReader:
    """A reader of one split, which writes the media files of its rows.

    Attributes:
        dataset: Data set of the split.
        name: Name of the split in the data set.
        columns: Columns to use.
        writer: Writer of media files.
        fps: Frame rate of poses that are arrays in rows without one, or None.
        num_kept: Number of rows that an earlier call completed.
    """

    dataset: OpenedDataset
    name: str
    columns: DatasetColumns
    writer: RowMediaWriter
    fps: float | None
    num_kept: int = field(default=0, init=False)

    def read(
        self, journal: RowJournal, limit: int | None, report: Callable[[int, int | None], None]
    ) -> int:
        """Write the rows that the journal does not have yet, and return the number of all rows."""
        self.num_kept, index = journal.num_kept, journal.count_leading_rows() - 1
        size = self.dataset.get_size(self.name)
        size = limit if size is None else min(size, limit or size)
        rows = self.dataset.read_rows(self.name, self.columns.names, index + 1)
        # The count is checked first: reading one more row may download a whole file.
        while size is None or index + 1 < size:
            row = next(rows, None)
            if row is None:
                break
            index += 1
            # Rows are streamed in order, so complete rows after a lost one are read once more.
            if index not in journal:
                self._write_row(journal, index, row)
            report(index + 1, size)
        return index + 1

    def _write_row(self, journal: RowJournal, index: int, row: Mapping[str, Any]) -> None:
        """Write the media file of a row and append the row to the journal."""
        columns, media = self.columns, get_value(row, self.columns.media_path)
        # An id may be 0, so only an empty one is replaced.
        clip_id = make_text(self._get(row, "id")) or get_stem(media) or f"{self.name}_{index:06d}"
        name = journal.choose_name(clip_id, index)
        values = {meaning: make_text(self._get(row, meaning)) for meaning in _TEXT_MEANINGS}
        values |= {"id": clip_id, "text": self._get(row, "text")}
        try:
            fps = parse_fps(columns.get(row, "fps"), self.fps)
            file = self.writer.write(media, name, columns.get(row, "confidence"), fps)
        except ClipError as error:
            problem = {"media": None, "reason": error.reason, "problem": str(error)}
            journal.append(index, name, {**values, **problem}, [])
        else:
            journal.append(index, name, {**values, "media": file}, [file])

    def _get(self, row: Mapping[str, Any], meaning: str) -> Any:
        """Return the value of a meaning in a row, classes by their names."""
        path = self.columns.paths.get(meaning)
        if path is None:
            return None
        feature = find_feature(self.dataset.splits[self.name].features, path)
        return name_classes(self.columns.get(row, meaning), feature)


def prepare_hub_dataset(
    dataset: OpenedDataset,
    columns: DatasetColumns,
    settings: HubSettings,
    out: Path,
    *,
    prompts: Prompts,
    overwrite: bool,
    report: Callable[[str, int, int | None], None],
) -> PreparationResult:
    """Write the media files and the tables of a data set into a folder.

    Files that an earlier, interrupted call wrote are verified and kept.

    Args:
        dataset: Opened data set.
        columns: Columns to use.
        settings: Settings of the media files.
        out: Folder of the corpus; media paths in the tables are relative to it.
        prompts: Language tags that replace those of the rows.
        overwrite: Whether to replace tables, and media files that were written with other settings.
        report: Function that is called with the split, the number of rows done and of all rows,
            None if it is not known.

    Raises:
        InputError: If the folder contains other files, the data cannot be read, or no row becomes a
            clip.
    """
    _check_pose_arrays(dataset, columns, settings)
    if not overwrite:
        check_no_tables(out)
    header = read_pose_header(settings.pose_header) if settings.pose_header else None
    header_file = str(settings.pose_header.absolute()) if settings.pose_header else None
    media_settings = {
        "dataset": dataset.stamp,
        "columns": columns.paths,
        "media": columns.media,
        "pose_header": header_file,
        "fps": settings.fps,
    }
    write_media_settings(media_settings, out, overwrite)
    annotations: dict[str, SplitAnnotations] = {}
    sizes: dict[str, int] = {}
    kept: dict[str, int] = {}
    for split, name in _find_splits(dataset).items():
        path = out / JOURNAL_FOLDER / f"{split}.jsonl"
        writer = RowMediaWriter(columns.media, dataset.files, out, split, header)
        reader = _SplitReader(dataset, name, columns, writer, settings.fps)
        sizes[split] = reader.read(
            RowJournal(path, out),
            settings.limit,
            partial(report, split),
        )
        # An earlier call with a higher limit may have completed more rows.
        kept[split] = min(reader.num_kept, sizes[split])
        rows = read_rows(path)[: sizes[split]]
        annotations[split] = _build_annotations(rows, split, settings.time_unit, prompts)
    others = {name: None for name in dataset.splits if name not in SPLIT_BY_NAME}
    add_split_warnings(annotations, others, out)
    result = write_corpus_tables(annotations, out, out)
    kind = SOURCE_KIND_BY_MEDIA[columns.media]
    return replace(result, rows=sizes, kept=kept, source_kind=kind)


def _check_pose_arrays(
    dataset: OpenedDataset, columns: DatasetColumns, settings: HubSettings
) -> None:
    """Check that poses which are arrays have a header and a frame rate.

    Raises:
        InputError: If one of them is missing.
    """
    feature = find_feature(dataset.features, columns.media_path)
    is_array = get_item_feature(feature) is not None or hasattr(feature, "shape")
    if columns.media != "poses" or not is_array:
        return
    if settings.pose_header is None:
        raise InputError(
            f"the poses in `{columns.media_path}` are arrays; pass `--pose-header FILE.pose`, a"
            " file whose header names their points"
        )
    if settings.fps is None and "fps" not in columns.paths:
        raise InputError(
            f"the poses in `{columns.media_path}` are arrays without a frame rate; pass `--fps`, or"
            " name a column with `--column fps=NAME`"
        )


def _find_splits(dataset: OpenedDataset) -> dict[str, str]:
    """Return the name in the data set of each of our splits that it has.

    Raises:
        InputError: If two splits have names of the same split.
    """
    names: dict[str, str] = {}
    for name in dataset.splits:
        split = SPLIT_BY_NAME.get(name)
        if split is not None and names.setdefault(split, name) != name:
            raise InputError(
                f"the data set has two splits that mean {split}, `{names[split]}` and `{name}`;"
                " prepare a copy without one of them"
            )
    return {split: names[split] for split in SPLITS if split in names}


def _build_annotations(
    rows: list[dict[str, Any]], split: str, time_unit: str, prompts: Prompts
) -> SplitAnnotations:
    """Build the annotations of a split from the rows of its journal."""
    result = SplitAnnotations()
    for number, row in enumerate(rows, 1):
        location = f"{split}.jsonl:{number}"
        if not row["media"]:
            result.dropped.append(DroppedRow(location, row["reason"], row["problem"]))
            continue
        try:
            annotation = _build_annotation(row, time_unit, prompts)
        except ValueError as error:
            result.dropped.append(DroppedRow(location, str(error)))
        else:
            result.annotations.append(replace(annotation, row=location))
    return result


def _build_annotation(row: dict[str, Any], time_unit: str, prompts: Prompts) -> ClipAnnotation:
    """Build the annotation of a row whose media file was written.

    Raises:
        ValueError: If a text, a time or an order is invalid; the message is the reason.
    """
    text = row["text"]
    if isinstance(text, list):
        if len(text) > 1:
            raise ValueError("several_texts")
        text = text[0] if text else ""
    if text is not None and not isinstance(text, str):
        raise ValueError("text_is_no_string")
    start_ms, end_ms = (parse_time(row[bound], time_unit) for bound in ("start", "end"))
    language = prompts.language or row["language"]
    encoder, decoder = row["encoder_prompt"], row["decoder_prompt"]
    return ClipAnnotation(
        id=row["id"],
        candidate_files=(PoseFile(row["media"], start_ms, end_ms, is_span=end_ms > 0),),
        text=text or "",
        encoder_prompt=encoder if prompts.encoder is None else prompts.encoder,
        decoder_prompt=(
            (decoder or make_language_tag(language)) if prompts.decoder is None else prompts.decoder
        ),
        document=row["document"],
        order=parse_order(row["order"]),
        signer=row["signer"],
        gloss=row["gloss"],
        language=language,
    )
