"""Precomputed features in the layout of SSVP-SLT: one manifest per split, one file per clip.

A row of a manifest is `video_name, length, label`, separated by tabs. A header is optional and is
recognized by its first field; with a header, `length` may be omitted. The features of a row are at
`{features}/{epoch}/{name[:5]}/{name}.pt`.

Train may have several augmented copies of each clip with the same text: `name` is the copy of the
first of `source.epochs`, `name@3` the copy of epoch 3. `length` applies to the first epoch only,
because an augmented copy may be longer or shorter; a file with another length is an error. Missing
or damaged files are reported and never replaced.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.config.loading import did_you_mean
from kinesweep.config.recipe.source import FeatureManifestConfig
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.sources.base import GivenFeatures
from kinesweep.sources.precomputed.pt_features import FEATURE_SUFFIX, read_features
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import Row, Table, TableError, read_table

COLUMNS = ("video_name", "length", "label")
FEATURES_FOLDER = "features"


class FeatureManifestSource(TableSource):
    """A source of precomputed feature files that are listed in manifests (`feature_manifest`).

    Args:
        config: Manifests and feature folder; relative paths are resolved against the current
            folder at construction.
    """

    where_root: ClassVar[str] = "correct the `video_name`, or set `source.features`"
    unique: ClassVar[str] = "use each `video_name` only once in a corpus"

    def __init__(self, config: FeatureManifestConfig) -> None:
        super().__init__(config)
        self.config = config
        self._features = Path(config.features).absolute() if config.features is not None else None

    def root(self, split: str) -> Path:
        """Return the absolute path of the folder that contains the epoch folders."""
        # In SSVP-SLT's layout the folder of the manifests is a sibling of `features`.
        return self._features or self._tables[split].parent.parent / FEATURES_FOLDER

    def read_options(self) -> dict[str, Any]:
        """Return the feature rate, which the files do not store."""
        return {"source": self.config.kind, "rate_hz": self.config.fps}

    def read(self, clip: Clip) -> GivenFeatures:
        """Read the whole file of a clip.

        Raises:
            ClipError: See `read_features`; the message begins with the clip's row.
        """
        path = self.media_path(clip)
        try:
            # `span.end` is the length in the manifest, known for the first epoch only.
            return read_features(path, self.config.fps, clip.span.end)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's manifest; train has one clip per epoch, other splits the first only."""
        table = read_table(path, self.table_name(split), COLUMNS)
        epochs = self.config.epochs if split == "train" else self.config.epochs[:1]
        return _ManifestReader(table, split, epochs).read()


def file_of(epoch: int, name: str) -> str:
    """Return the path of a clip's features relative to the feature folder."""
    # SSVP-SLT groups the files by the first five characters of their names.
    return f"{epoch}/{name[:5]}/{name}{FEATURE_SUFFIX}"


def epoch_id(name: str, epoch: int) -> str:
    """Return the id of an augmented copy of a clip; the first copy keeps the plain name."""
    return f"{name}@{epoch}"


@dataclass(frozen=True)
class _ManifestReader:
    """A reader of one manifest.

    Attributes:
        table: Rows of the file.
        split: Split that the clips belong to.
        epochs: Epochs whose copies become clips.
    """

    table: Table
    split: str
    epochs: tuple[int, ...]

    def read(self) -> ParsedRows:
        """Read all rows of the manifest and all errors."""
        found = ParsedRows(faults=list(self.table.faults))
        if not self.table.header:
            return found
        faults = _header_faults(self.table)
        found.faults += faults
        if not faults:
            for row in self.table.rows:
                self._read_row(row, found)
        return found

    def _read_row(self, row: Row, found: ParsedRows) -> None:
        """Add the clips of a row, or its problem or errors, to `found`."""
        where = f"{self.table.name}:{row.line}"
        fields = (field.strip() for field in row.fields)
        values = dict(zip(self.table.header, fields, strict=True))
        name, length, label = (values.get(column, "") for column in COLUMNS)
        faults = _row_faults(name, length)
        if faults:
            found.faults += [(where, text) for text in faults]
        elif not label:
            problem = InvalidRow(where, name, "empty_text", "`label` is empty")
            found.problems.append(problem)
        else:
            found.clips += self._clips(name, int(length or 0), label, where)

    def _clips(self, name: str, length: int, label: str, where: str) -> list[Clip]:
        """Return one clip per epoch of a row."""
        first = self.epochs[0]
        return [
            Clip(
                id=name if epoch == first else epoch_id(name, epoch),
                split=self.split,
                media=file_of(epoch, name),
                span=Span.from_frames(0, length) if epoch == first else Span(),
                texts=(label,),
                row=where,
            )
            for epoch in self.epochs
        ]


def _header_faults(table: Table) -> list[TableError]:
    """Return the errors in the header of a manifest."""
    where, header = f"{table.name}:1", table.header
    faults = []
    for place, column in enumerate(header):
        if column in header[:place]:
            faults.append((where, f"column `{column}` appears twice"))
        elif column not in COLUMNS:
            hint = did_you_mean(column, list(COLUMNS)) or f"; a manifest has {', '.join(COLUMNS)}"
            faults.append((where, f"column `{column}` is unknown{hint}"))
    if "label" not in header:
        faults.append((where, "there is no column `label` (the text)"))
    return faults


def _row_faults(name: str, length: str) -> list[str]:
    """Return the errors in a row of a manifest."""
    faults = []
    if not name:
        faults.append("`video_name` is empty; it must name the feature file")
    # `isdigit` alone accepts superscripts, on which `int` fails; a length of 0 is an error too.
    if length and not (length.isascii() and length.isdigit() and int(length)):
        text = f"`length` must be a whole number of 1 or more, but is `{length}`"
        faults.append(text)
    return faults
