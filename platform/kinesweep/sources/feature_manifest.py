"""Features that were computed elsewhere, in SSVP-SLT's layout: a manifest a split, a file a clip.

A row of a manifest is `video_name, length, label`, separated by tabs; a header is told by its first
field, and one may leave `length` out. The features of a row lie at
`{features}/{epoch}/{name[:5]}/{name}.pt`. Train may have several augmented copies: `name` is the
clip of the first of `source.epochs`, `name@3` that of epoch 3; their texts are the same. `length`
is that of the first epoch, since a varied copy may be longer or shorter; a file that holds another
number is an error. What is missing or damaged is named, never replaced.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.config import near_miss
from kinesweep.core.errors import ClipError
from kinesweep.core.recipe.source import FeatureManifestConfig
from kinesweep.core.units import Span
from kinesweep.sources.contract import GivenFeatures
from kinesweep.sources.feature_file import FEATURE_SUFFIX, read_features
from kinesweep.sources.rows import Rows
from kinesweep.sources.table import Fault, Row, Table, read_table
from kinesweep.sources.table_source import TableSource

COLUMNS = ("video_name", "length", "label")
FEATURES_FOLDER = "features"


class FeatureManifestSource(TableSource):
    """The source `feature_manifest`.

    Args:
        config: which manifests; relative paths are of the current folder, now.
    """

    where_root: ClassVar[str] = "mend the `video_name`, or set `source.features`"
    unique: ClassVar[str] = "a corpus has each `video_name` once"

    def __init__(self, config: FeatureManifestConfig) -> None:
        super().__init__(config)
        self.config = config
        self._features = Path(config.features).absolute() if config.features is not None else None

    def root(self, split: str) -> Path:
        """The folder of the epochs, absolute."""
        return self._features or self._tables[split].parent.parent / FEATURES_FOLDER

    def reading(self) -> dict[str, Any]:
        """The rate, which no file tells."""
        return {"source": self.config.kind, "rate_hz": self.config.fps}

    def read(self, clip: Clip) -> GivenFeatures:
        """The clip's file, whole.

        Raises:
            ClipError: see `read_features`; the message begins with the clip's row.
        """
        path = self.media_path(clip)
        try:
            return read_features(path, self.config.fps, clip.span.end)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None

    def read_rows(self, split: str, path: Path) -> Rows:
        """One split's manifest as rows: of train a clip an epoch, else of the first alone."""
        table = read_table(path, self.table_name(split), COLUMNS)
        epochs = self.config.epochs if split == "train" else self.config.epochs[:1]
        return _ManifestReader(table, split, epochs).read()


def file_of(epoch: int, name: str) -> str:
    """Where a clip's features lie below the folder of features."""
    return f"{epoch}/{name[:5]}/{name}{FEATURE_SUFFIX}"


def epoch_id(name: str, epoch: int) -> str:
    """Id of a copy of a clip that is not the first."""
    return f"{name}@{epoch}"


@dataclass(frozen=True)
class _ManifestReader:
    """Reads one manifest.

    Attributes:
        table: the file's rows.
        split: which split they make.
        epochs: copies that its clips have.
    """

    table: Table
    split: str
    epochs: tuple[int, ...]

    def read(self) -> Rows:
        """Every row of the manifest, and every fault."""
        found = Rows(faults=list(self.table.faults))
        if not self.table.header:
            return found
        faults = _header_faults(self.table)
        found.faults += faults
        if not faults:
            for row in self.table.rows:
                self._read_row(row, found)
        return found

    def _read_row(self, row: Row, found: Rows) -> None:
        where = f"{self.table.name}:{row.line}"
        fields = (field.strip() for field in row.fields)
        values = dict(zip(self.table.header, fields, strict=True))
        name, length, label = (values.get(column, "") for column in COLUMNS)
        faults = _row_faults(name, length)
        if faults:
            found.faults += [(where, text) for text in faults]
        elif not label:
            problem = RowProblem(where, name, "empty_text", "`label` is empty")
            found.problems.append(problem)
        else:
            found.clips += self._clips(name, int(length or 0), label, where)

    def _clips(self, name: str, length: int, label: str, where: str) -> list[Clip]:
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


def _header_faults(table: Table) -> list[Fault]:
    """What is wrong with a header."""
    where, header = f"{table.name}:1", table.header
    faults = []
    for place, column in enumerate(header):
        if column in header[:place]:
            faults.append((where, f"column `{column}` is there twice"))
        elif column not in COLUMNS:
            hint = near_miss(column, list(COLUMNS)) or f"; a manifest has {', '.join(COLUMNS)}"
            faults.append((where, f"column `{column}` is unknown{hint}"))
    if "label" not in header:
        faults.append((where, "there is no column `label` (the text)"))
    return faults


def _row_faults(name: str, length: str) -> list[str]:
    """What is wrong with a row."""
    faults = []
    if not name:
        faults.append("`video_name` is empty; it names the file of the features")
    if length and not (length.isascii() and length.isdigit() and int(length)):
        text = f"`length` must be a whole number of 1 or more, but is `{length}`"
        faults.append(text)
    return faults
