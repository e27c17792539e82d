"""Precomputed features in the layout of SSVP-SLT: one manifest per split, one file per clip.

A row of a manifest is `video_name, length, label`, separated by tabs. A header is optional and is
recognized by the names of its columns; with a header, `length` may be omitted. The features of a
row are at `{features}/{epoch}/{name[:5]}/{name}.pt`, where `name` lacks the suffix of a video.

Train may have several augmented copies of each clip with the same text: `name` is the copy of the
first of `source.epochs`, `name@3` the copy of epoch 3. With `source.epochs_as: variants`, each
epoch is read as a source of its own (`feature_epochs`). `length` applies to the first epoch only,
because an augmented copy may be longer or shorter; a file with another length is an error. Missing
or damaged files are reported and never replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from kinesweep.config.recipe.source import FeatureManifestConfig, ManifestEpochConfig
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.tables.number_format import parse_whole_number
from kinesweep.core.units import Span
from kinesweep.core.video_files import is_video_file
from kinesweep.sources.base import PrecomputedFeatures
from kinesweep.sources.precomputed.pt_features import FEATURE_SUFFIX, read_features
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import Table, TableError, TableRow, read_table

MANIFEST_COLUMNS = ("video_name", "length", "label")
FEATURES_DIR = "features"


class FeatureManifestSource(TableSource):
    """A source of precomputed feature files that are listed in manifests (`feature_manifest`).

    Args:
        config: Manifests and feature folder; relative paths are resolved against the current
            folder at construction.
    """

    outside_root_advice: ClassVar[str] = "correct the `video_name`, or set `source.features`"
    duplicate_id_advice: ClassVar[str] = "use each `video_name` only once in a corpus"

    def __init__(self, config: FeatureManifestConfig) -> None:
        super().__init__(config)
        self.config = config
        self._features_dir = (
            Path(config.features).absolute() if config.features is not None else None
        )

    def get_root(self, split: str) -> Path:
        """Return the absolute path of the folder that contains the epoch folders."""
        # In SSVP-SLT's layout the folder of the manifests is a sibling of `features`.
        return self._features_dir or self._tables[split].parent.parent / FEATURES_DIR

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source and the feature rate, which the files do not store."""
        return {"source": self.config.kind, "rate_hz": self.config.fps}

    def read(self, clip: Clip) -> PrecomputedFeatures:
        """Read the features of a clip, which are the whole content of its file.

        Raises:
            ClipError: With the reasons of `resolve_media_path` and `read_features`; the message
                begins with the clip's row.
        """
        path = self.resolve_media_path(clip)
        try:
            # `span.end` is the length in the manifest, known for the first epoch only.
            return read_features(path, self.config.fps, clip.span.end)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's manifest, and return its clips, invalid rows and errors.

        In train each row gives one clip for each of `source.epochs`; in other splits, and if epochs
        are variants, only the clip of the first epoch.
        """
        table = read_table(path, self.get_table_name(split), _assume_columns)
        # Variants are no clips of their own: each further one is read from a source of its own.
        has_copies = split == "train" and self.config.epochs_as == "clips"
        epochs = self.config.epochs if has_copies else self.config.epochs[:1]
        has_lengths = not isinstance(self.config, ManifestEpochConfig)
        return _ManifestReader(table, split, epochs, has_lengths).read()


def _assume_columns(fields: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a manifest without a header, or nothing if its first line is one.

    A header begins with a column name; where the columns have another order, it has two of them.
    """
    num_names = sum(field in MANIFEST_COLUMNS for field in fields)
    is_header = fields[0] == MANIFEST_COLUMNS[0] or num_names > 1
    return () if is_header else MANIFEST_COLUMNS


def get_feature_path(epoch: int, name: str) -> str:
    """Return the path of the feature file of one copy of a clip, relative to the feature folder.

    Args:
        epoch: Epoch of the augmented copy.
        name: Name of the clip in the manifest.
    """
    # SSVP-SLT groups the files by the first five characters of their names. Its manifests may
    # name the video, whose suffix the feature file does not have.
    stem = name.removesuffix(PurePosixPath(name).suffix) if is_video_file(name) else name
    return f"{epoch}/{name[:5]}/{stem}{FEATURE_SUFFIX}"


def make_epoch_id(name: str, epoch: int) -> str:
    """Build the id of the augmented copy of a clip for an epoch, for example `name@3`."""
    return f"{name}@{epoch}"


@dataclass(frozen=True)
class _ManifestReader:
    """A reader that converts the rows of one manifest to clips.

    Attributes:
        table: Table to convert.
        split: Split that the clips belong to.
        epochs: Epochs whose copies become clips.
        has_lengths: Whether the manifest has the lengths of the first of these epochs.
    """

    table: Table
    split: str
    epochs: tuple[int, ...]
    has_lengths: bool

    def read(self) -> ParsedRows:
        """Convert all rows of the manifest, and return its clips, invalid rows and errors."""
        parsed = ParsedRows(errors=list(self.table.errors))
        if not self.table.header:
            return parsed
        errors = _find_header_errors(self.table)
        parsed.errors += errors
        if not errors:
            for row in self.table.rows:
                self._read_row(row, parsed)
        return parsed

    def _read_row(self, row: TableRow, parsed: ParsedRows) -> None:
        """Add the clips of a row to `parsed`, or the row as an invalid row, or its errors."""
        location = f"{self.table.name}:{row.line_number}"
        fields = (field.strip() for field in row.fields)
        values = dict(zip(self.table.header, fields, strict=True))
        name, length, label = (values.get(column, "") for column in MANIFEST_COLUMNS)
        num_features, errors = _parse_length(length)
        if not name:
            errors.insert(0, "`video_name` is empty; it must name the feature file")
        if errors:
            parsed.errors += [(location, text) for text in errors]
        elif not label:
            parsed.invalid_rows.append(InvalidRow(location, name, "empty_text", "`label` is empty"))
        else:
            parsed.clips += self._build_clips(name, num_features, label, location)

    def _build_clips(self, name: str, length: int, label: str, location: str) -> list[Clip]:
        """Build the clips of a row, one for each epoch in the order of `epochs`.

        Args:
            name: Name of the clip in the manifest.
            length: Number of features of the first epoch's copy, or 0 if unknown.
            label: Text of the clip.
            location: Location of the row.
        """
        first_epoch = self.epochs[0]
        return [
            Clip(
                id=name if epoch == first_epoch else make_epoch_id(name, epoch),
                split=self.split,
                media=get_feature_path(epoch, name),
                span=Span.from_frames(0, length)
                if epoch == first_epoch and self.has_lengths
                else Span(),
                texts=(label,),
                row=location,
            )
            for epoch in self.epochs
        ]


def _find_header_errors(table: Table) -> list[TableError]:
    """Return an error for each repeated or unknown column of a manifest and a missing `label`."""
    location, header = f"{table.name}:1", table.header
    errors = []
    for index, column in enumerate(header):
        if column in header[:index]:
            errors.append((location, f"column `{column}` appears twice"))
        elif column not in MANIFEST_COLUMNS:
            hint = (
                suggest_closest_word(column, list(MANIFEST_COLUMNS))
                or f"; a manifest has {', '.join(MANIFEST_COLUMNS)}"
            )
            errors.append((location, f"column `{column}` is unknown{hint}"))
    if "label" not in header:
        errors.append((location, "there is no column `label` (the text)"))
    return errors


def _parse_length(text: str) -> tuple[int, list[str]]:
    """Parse the length in a row of a manifest, and return it with the error in it.

    An empty text is not an error; the length is then 0, for unknown.
    """
    try:
        length = parse_whole_number(text) if text else None
        hint = ""
    except ValueError as error:
        length, hint = 0, str(error)
    if length is None or length > 0:
        return length or 0, []
    return 0, [f"`length` must be a whole number of 1 or more, but is `{text}`{hint}"]
