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
class Overlap:
    """The overlap of one kind between two splits, counted in clips of the later split.

    Attributes:
        kind: `sentence`, `normalised sentence`, `document` or `signer`.
        first: Earlier split, for example `train`.
        second: Later split, for example `validation`.
        num_values: Number of distinct values that occur in both splits.
        num_clips: Number of clips of `second` with at least one shared value.
        of_clips: Number of clips of `second` that have a value at all.
        examples: First shared values in the order of `second`, at most `MAX_EXAMPLES`.
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
        """Return the fraction of the clips of `second` with a shared value, from 0 to 1."""
        return self.num_clips / self.of_clips if self.of_clips else 0.0


@dataclass(frozen=True)
class OverlapReport:
    """The overlaps of every kind between every pair of splits, including empty ones."""

    overlaps: tuple[Overlap, ...]

    @property
    def shared(self) -> tuple[Overlap, ...]:
        """Return the overlaps that are not empty."""
        return tuple(overlap for overlap in self.overlaps if overlap.num_clips)

    def lines(self) -> list[str]:
        """Format each overlap as one line of text, followed by its examples."""
        return [
            f"{item.first} → {item.second}: {item.num_clips} of {item.of_clips} clips"
            f" ({item.share:.1%}) share a {item.kind}"
            + "".join(f"\n    {example}" for example in item.examples)
            for item in self.overlaps
        ]

    def leakage(self) -> list[str]:
        """Return one log line for each overlap between train and an evaluated split."""
        # Verbatim sentences are a subset of the normalised ones; only the stricter count is logged.
        return [
            f"{item.num_clips} of {item.of_clips} clips of {item.second} ({item.share:.1%}) share a"
            f" {item.kind} with train"
            for item in self.shared
            if item.first == "train" and item.kind != "normalised sentence"
        ]

    def as_dict(self) -> list[dict[str, object]]:
        """Return the overlaps as plain values for JSON output."""
        return [asdict(item) for item in self.overlaps]

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of a printable table, its header first."""
        head = ("shared", "between", "clips", "of", "share", "for example")
        return [
            head,
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


def overlaps(source: Source) -> OverlapReport:
    """Compare every pair of splits of a corpus.

    Raises:
        SourceError: If the metadata is malformed.
    """
    # In the order train, validation, test, so `first` is always the earlier split of a pair.
    clips = {split: source.clips(split) for split in source.splits()}
    found = [
        _overlap(kind, values, first, second, clips)
        for first, second in combinations(clips, 2)
        for kind, values in _KINDS.items()
    ]
    # A corpus without signers (or documents) has no overlap to report, not an overlap of 0 %.
    return OverlapReport(tuple(item for item in found if item.of_clips))


def normalise(sentence: str) -> str:
    """Normalize case, white space and Unicode composition (NFKC) of a sentence."""
    return " ".join(unicodedata.normalize("NFKC", sentence).casefold().split())


def _overlap(
    kind: str,
    values: Callable[[Clip], Iterable[str]],
    first: str,
    second: str,
    clips: dict[str, list[Clip]],
) -> Overlap:
    """Count the clips of `second` that share a value with a clip of `first`."""
    known = {value for clip in clips[first] for value in values(clip)}
    # Empty values mean "unknown" and never count as shared.
    having = [[v for v in values(clip) if v] for clip in clips[second]]
    shared = [[v for v in of_clip if v in known] for of_clip in having]
    different = list(dict.fromkeys(v for of_clip in shared for v in of_clip))
    return Overlap(
        kind=kind,
        first=first,
        second=second,
        num_values=len(different),
        num_clips=sum(map(bool, shared)),
        of_clips=sum(map(bool, having)),
        examples=tuple(different[:MAX_EXAMPLES]),
    )


# Kind of overlap → values of a clip; each reference text of a clip counts.
_KINDS: dict[str, Callable[[Clip], Iterable[str]]] = {
    "sentence": lambda clip: clip.texts,
    "normalised sentence": lambda clip: map(normalise, clip.texts),
    "document": lambda clip: (clip.document,),
    "signer": lambda clip: (clip.signer,),
}
