"""The annotation of one clip, as the readers of published corpora return it."""

from dataclasses import dataclass

from kinesweep.core.tables.table_writing import format_row
from kinesweep.sources.tsv.tsv_columns import WRITTEN_COLUMNS

MIN_CLIP_MS = 40
"""Shortest span that is written: one frame at 25 frames per second. A shorter one shows no sign."""


@dataclass(frozen=True)
class PoseFile:
    """A possible location of a clip: a pose file and a span in it.

    Attributes:
        path: Path relative to the folder of poses.
        start_ms: Start of the clip in the file in milliseconds; 0 is the start of the file.
        end_ms: End of the clip in the file in milliseconds; 0 is the end of the file.
        is_span: Whether the annotation gives the times. They must then be a span: in a table,
            `0 0` would be read as the whole file.
    """

    path: str
    start_ms: float = 0
    end_ms: float = 0
    is_span: bool = False

    def find_fault(self) -> str:
        """Return the reason why the span cannot be used, or an empty text."""
        return find_span_fault(self.start_ms, self.end_ms) if self.is_span else ""


def find_span_fault(start_ms: float, end_ms: float) -> str:
    """Return the reason why a span cannot be used, or an empty text.

    Args:
        start_ms: Start in milliseconds.
        end_ms: End in milliseconds.
    """
    if end_ms == start_ms:
        return "zero_length"
    if end_ms < start_ms:
        return "end_before_start"
    return "too_short" if end_ms - start_ms < MIN_CLIP_MS else ""


@dataclass(frozen=True)
class ClipAnnotation:
    """The annotation of one clip, from a row of a published table.

    Attributes:
        id: Id of the clip, unique in the corpus.
        candidate_files: Possible locations of the clip; the first one that exists is used.
        text: Sentence in the spoken language.
        encoder_prompt: Language tag of the signs.
        decoder_prompt: Language tag of the text.
        document: Recording that the clip was cut from.
        order: Position of the clip in the recording.
        signer: Name of the signer, or empty.
        gloss: Glosses of the signs, or empty.
        language: Language code of the text.
        missing_part: Missing part of the annotation, or empty; an incomplete annotation has no
            candidate files.
        row: Location of the row in its table, for example `how2sign_train.csv:12`.
    """

    id: str
    candidate_files: tuple[PoseFile, ...]
    text: str
    encoder_prompt: str
    decoder_prompt: str
    document: str
    order: int
    signer: str = ""
    gloss: str = ""
    language: str = ""
    missing_part: str = ""
    row: str = ""

    @property
    def missing_description(self) -> str:
        """Return what a clip without a pose file lacks: `missing_part`, or else all its paths."""
        return self.missing_part or " ".join(file.path for file in self.candidate_files)

    def format_tsv_line(self, pose_file: PoseFile) -> str:
        """Format the annotation as a line of a TSV with `WRITTEN_COLUMNS`, without a line feed.

        Args:
            pose_file: Location of the clip.
        """
        values = {**vars(self), "signal": pose_file.path, "output": self.text}
        values["signal_start"] = f"{pose_file.start_ms:.10g}"
        values["signal_end"] = f"{pose_file.end_ms:.10g}"
        # Captions break lines for the screen, so white space within a field is collapsed.
        return format_row(" ".join(str(values[column]).split()) for column in WRITTEN_COLUMNS)
