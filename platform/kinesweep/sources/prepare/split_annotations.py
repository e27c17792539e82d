"""The annotations of a split, as the readers of published corpora return them.

Each row of a published table becomes an annotation or a dropped row with its reason, so that the
numbers of both add up to the rows that the corpus has.
"""

from collections import Counter
from dataclasses import dataclass, field

from kinesweep.sources.prepare.clip_annotation import ClipAnnotation


@dataclass(frozen=True)
class DroppedRow:
    """A row or caption that becomes no clip.

    Attributes:
        row: Location of the row, for example `how2sign_train.csv:12`.
        reason: Short, stable key, for example `zero_length`.
        problem: Sentence that says more than the reason, or empty.
    """

    row: str
    reason: str
    problem: str = ""


@dataclass
class SplitAnnotations:
    """The annotations of one split.

    Attributes:
        annotations: Annotations in the order of the corpus.
        dropped: Rows and captions that are no annotations.
        removed_marks: Number of marks that were removed from texts, by kind, for example `music`.
        unused_files: Number of caption files that were not used, by reason.
        warnings: Findings that a person should know, as full sentences.
    """

    annotations: list[ClipAnnotation] = field(default_factory=list)
    dropped: list[DroppedRow] = field(default_factory=list)
    removed_marks: Counter[str] = field(default_factory=Counter)
    unused_files: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
