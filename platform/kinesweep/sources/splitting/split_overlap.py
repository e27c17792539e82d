"""Overlap between the splits of a corpus: sentences, documents and signers that two splits share.

A model can recite a validation sentence that is also in train instead of translating it; 25 of the
519 validation sentences of PHOENIX appear verbatim in train. This module counts overlaps and gives
examples. It raises no error, because most corpora share signers between splits. It reads metadata
only and opens no media; the store detects features that are bit-identical across splits.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import combinations

from kinesweep.core.clip import Clip
from kinesweep.sources.base import Source

MAX_EXAMPLES = 3


@dataclass(frozen=True)
class SplitOverlap:
    """The overlap of one kind between two splits, counted in clips of the later split.

    Attributes:
        kind: `sentence`, `normalized sentence`, `document` or `signer`.
        first: Earlier split, for example `train`.
        second: Later split, for example `validation`.
        num_values: Number of distinct values that occur in both splits.
        num_clips: Number of clips of `second` with at least one shared value.
        of_clips: Number of clips of `second` that have a value of this kind.
        examples: First shared values in the order of the clips of `second`, at most
            `MAX_EXAMPLES`.
    """

    kind: str
    first: str
    second: str
    num_values: int
    num_clips: int
    of_clips: int
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """Return the share of the `of_clips` clips that have a shared value, from 0 to 1."""
        return self.num_clips / self.of_clips if self.of_clips else 0.0


@dataclass(frozen=True)
class OverlapReport:
    """The overlaps of every kind between every pair of splits, including empty ones."""

    overlaps: tuple[SplitOverlap, ...]

    @property
    def nonempty_overlaps(self) -> tuple[SplitOverlap, ...]:
        """Return the overlaps with at least one clip that has a shared value."""
        return tuple(overlap for overlap in self.overlaps if overlap.num_clips)

    def format_lines(self) -> list[str]:
        """Format each overlap as one text: a line, then one indented line for each example."""
        return [
            f"{item.first} → {item.second}: {item.num_clips} of {item.of_clips} clips"
            f" ({item.share:.1%}) share a {item.kind}"
            + "".join(f"\n    {example}" for example in item.examples)
            for item in self.overlaps
        ]

    def format_train_leakage(self) -> list[str]:
        """Format one log line for each nonempty overlap between train and another split.

        Overlaps of normalized sentences are left out.
        """
        # Verbatim sentences are a subset of the normalized ones; only the verbatim count is logged.
        return [
            f"{item.num_clips} of {item.of_clips} clips of {item.second} ({item.share:.1%}) share a"
            f" {item.kind} with train"
            for item in self.nonempty_overlaps
            if item.first == "train" and item.kind != "normalized sentence"
        ]

    def to_dicts(self) -> list[dict[str, object]]:
        """Return the overlaps as plain values for JSON output."""
        return [asdict(item) for item in self.overlaps]

    def build_table_rows(self) -> list[tuple[str, ...]]:
        """Build the rows of a table for people, with one row per overlap after the header row."""
        header = ("shared", "between", "clips", "of", "share", "for example")
        return [
            header,
            *(
                (
                    item.kind,
                    f"{item.first} → {item.second}",
                    str(item.num_clips),
                    str(item.of_clips),
                    f"{item.share:.1%}",
                    " · ".join(item.examples),
                )
                for item in self.overlaps
            ),
        ]


def compute_overlaps(source: Source) -> OverlapReport:
    """Compute the overlaps of sentences, documents and signers between each pair of splits.

    Kinds of values that no clip of the later split has are left out.

    Raises:
        SourceError: If the metadata is malformed.
    """
    return compute_clip_overlaps(
        {split: source.list_clips(split) for split in source.list_splits()}
    )


def compute_clip_overlaps(clips: dict[str, list[Clip]]) -> OverlapReport:
    """Compute the overlaps between each pair of splits from the clips of each split.

    Args:
        clips: Clips by split, in the order train, validation, test.
    """
    # The order makes `first` always the earlier split of a pair.
    results = [
        _compute_overlap(kind, values, first, second, clips)
        for first, second in combinations(clips, 2)
        for kind, values in _VALUE_GETTERS.items()
    ]
    # A corpus without signers (or documents) has no overlap to report, not an overlap of 0 %.
    return OverlapReport(tuple(item for item in results if item.of_clips))


def normalize_sentence(sentence: str) -> str:
    """Return a sentence with normalized case, white space and Unicode composition (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", sentence).casefold().split())


def _compute_overlap(
    kind: str,
    get_values: Callable[[Clip], Iterable[str]],
    first: str,
    second: str,
    clips: dict[str, list[Clip]],
) -> SplitOverlap:
    """Compute the overlap of one kind, counting the clips of `second` that share a value.

    Args:
        kind: Name of the kind.
        get_values: Function that returns the values of a clip; empty values are ignored.
        first: Earlier split.
        second: Later split.
        clips: Clips by split.
    """
    first_values = {value for clip in clips[first] for value in get_values(clip)}
    # Empty values mean "unknown" and never count as shared.
    values_by_clip = [[value for value in get_values(clip) if value] for clip in clips[second]]
    shared_by_clip = [
        [value for value in values if value in first_values] for values in values_by_clip
    ]
    shared_values = list(dict.fromkeys(value for values in shared_by_clip for value in values))
    return SplitOverlap(
        kind=kind,
        first=first,
        second=second,
        num_values=len(shared_values),
        num_clips=sum(map(bool, shared_by_clip)),
        of_clips=sum(map(bool, values_by_clip)),
        examples=tuple(shared_values[:MAX_EXAMPLES]),
    )


# Kind of overlap → values of a clip; each reference text of a clip counts.
_VALUE_GETTERS: dict[str, Callable[[Clip], Iterable[str]]] = {
    "sentence": lambda clip: clip.training_texts,
    "normalized sentence": lambda clip: map(normalize_sentence, clip.training_texts),
    "document": lambda clip: (clip.document,),
    "signer": lambda clip: (clip.signer,),
}
