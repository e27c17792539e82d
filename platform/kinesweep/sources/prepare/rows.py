"""The annotation of a clip, and a reader for published tables."""

from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.sources.splitting.cross_validation import TSV_COLUMNS
from kinesweep.sources.tsv.tsv_reader import TableError


@dataclass(frozen=True)
class PoseFile:
    """A possible location of a clip: a pose file and a span in it.

    Attributes:
        path: Path relative to the folder of poses.
        start_ms: Start of the clip in the file in milliseconds; 0 is the start of the file.
        end_ms: End of the clip in the file in milliseconds; 0 is the end of the file.
    """

    path: str
    start_ms: float = 0
    end_ms: float = 0


@dataclass(frozen=True)
class ClipAnnotation:
    """The annotation of one clip, from a row of a published table.

    Attributes:
        id: Id of the clip, unique in the corpus.
        files: Possible locations; the first one that exists is used.
        text: Sentence in the spoken language.
        encoder_prompt: Language tag of the signs.
        decoder_prompt: Language tag of the text.
        document: Recording that the clip was cut from.
        order: Position of the clip in the recording.
        signer: Name of the signer, or empty.
        gloss: Glosses of the signs, or empty.
        language: Language code of the text.
        missing_part: Missing part of the annotation, or empty; an incomplete row has no files.
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
    missing_part: str = ""

    @property
    def missing_description(self) -> str:
        """Describe what is missing if none of the files exists."""
        return self.missing_part or " ".join(file.path for file in self.files)

    def format_tsv_row(self, file: PoseFile) -> str:
        """Format the row of the TSV for a clip in an existing file."""
        values = {**vars(self), "signal": file.path, "output": self.text}
        values |= {"signal_start": f"{file.start_ms:.10g}", "signal_end": f"{file.end_ms:.10g}"}
        # Tabs and line breaks within a field would break the table, so white space is collapsed.
        return "\t".join(" ".join(str(values[column]).split()) for column in TSV_COLUMNS)


def find_single_file(folder: Path, pattern: str) -> Path | None:
    """Return the only file in a folder that matches a pattern, or None if none does.

    Raises:
        InputError: If several files match the pattern.
    """
    matches = sorted(path for path in folder.glob(pattern) if path.is_file())
    if len(matches) > 1:
        names = ", ".join(f"`{path.name}`" for path in matches)
        raise InputError(f"several files in `{folder}` match `{pattern}`: {names}; keep only one")
    return matches[0] if matches else None


def read_delimited_rows(
    path: Path, delimiter: str, required_columns: tuple[str, ...]
) -> tuple[list[tuple[int, dict[str, str]]], list[TableError]]:
    """Read the rows of a table as column → field with their line numbers, and all errors.

    Fields may be quoted as spreadsheets do. A quotation mark inside a sentence is an ordinary
    character.

    Args:
        path: Path of the table.
        delimiter: Separator between fields.
        required_columns: Columns that must exist.
    """
    # Not the `csv` module: an unclosed quotation mark would swallow all lines after it.
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        return [], [(path.name, f"is not UTF-8 ({error.reason} at byte {error.start})")]
    header = [_unquote_field(field) for field in lines[0].rstrip("\r").split(delimiter)]
    missing = [column for column in required_columns if column not in header]
    if missing:
        return [], [(f"{path.name}:1", f"has no column `{column}`") for column in missing]
    rows, errors = [], []
    for line_number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        fields = [_unquote_field(field) for field in line.rstrip("\r").split(delimiter)]
        if len(fields) != len(header):
            errors.append(
                (f"{path.name}:{line_number}", f"has {len(fields)} fields, not {len(header)}")
            )
        else:
            rows.append((line_number, dict(zip(header, fields, strict=True))))
    return rows, errors


def _unquote_field(field: str) -> str:
    """Remove the quotation marks that a spreadsheet program put around a field."""
    inner = field[1:-1]
    # A spreadsheet doubles the marks inside; a single one means that the outer ones are text.
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')
