"""One annotated clip, and how published tables are read."""

from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.sources.split import COLUMNS
from kinesweep.sources.table import Fault


@dataclass(frozen=True)
class PoseFile:
    """Where a clip may lie.

    Attributes:
        path: below the folder of poses.
        start_ms: of the clip in the file; 0: at its start.
        end_ms: 0: at the file's end.
    """

    path: str
    start_ms: float = 0
    end_ms: float = 0


@dataclass(frozen=True)
class Annotation:
    """One row of a published table.

    Attributes:
        id: of the clip, unique in the corpus.
        files: places to look at, the first that is there is taken.
        text: the sentence.
        encoder_prompt: language tag of the signs.
        decoder_prompt: language tag of the text.
        document: the recording it was cut from.
        order: its place in there.
        signer: who signs, or empty.
        gloss: signs in words, or empty.
        language: of the text.
        lacks: what is missing beside the file, where something is; such a row has no files.
    """

    id: str
    files: tuple[PoseFile, ...]
    text: str
    encoder_prompt: str
    decoder_prompt: str
    document: str
    order: int
    signer: str = ""
    gloss: str = ""
    language: str = ""
    lacks: str = ""

    @property
    def looked_for(self) -> str:
        """What is missing when none of its files is there."""
        return self.lacks or " ".join(file.path for file in self.files)

    def line(self, file: PoseFile) -> str:
        """The row of the TSV, its clip in a file that is there."""
        values = {**vars(self), "signal": file.path, "output": self.text}
        values |= {"signal_start": f"{file.start_ms:.10g}", "signal_end": f"{file.end_ms:.10g}"}
        return "\t".join(" ".join(str(values[column]).split()) for column in COLUMNS)


def find_file(folder: Path, pattern: str) -> Path | None:
    """The one file of a split.

    Raises:
        InputError: several fit.
    """
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if len(found) > 1:
        names = ", ".join(f"`{path.name}`" for path in found)
        raise InputError(f"several files in `{folder}` fit `{pattern}`: {names}; leave one there")
    return found[0] if found else None


def rows_of(
    path: Path, delimiter: str, needed: tuple[str, ...]
) -> tuple[list[tuple[int, dict[str, str]]], list[Fault]]:
    """Rows of a table as column → field, with their line numbers; and everything that is wrong.

    Fields may be quoted as spreadsheets do; a quote inside of a sentence is a character like any
    other, so one that is never closed does not swallow the lines after it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        return [], [(path.name, f"is not UTF-8 ({error.reason} at byte {error.start})")]
    header = [_unquoted(field) for field in lines[0].rstrip("\r").split(delimiter)]
    missing = [column for column in needed if column not in header]
    if missing:
        return [], [(f"{path.name}:1", f"has no column `{column}`") for column in missing]
    rows, faults = [], []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        fields = [_unquoted(field) for field in line.rstrip("\r").split(delimiter)]
        if len(fields) != len(header):
            faults.append((f"{path.name}:{number}", f"has {len(fields)} fields, not {len(header)}"))
        else:
            rows.append((number, dict(zip(header, fields, strict=True))))
    return rows, faults


def _unquoted(field: str) -> str:
    """A field without the quotes that a spreadsheet put around it."""
    inner = field[1:-1]
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')
