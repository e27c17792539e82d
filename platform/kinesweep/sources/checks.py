"""What the splits of a corpus share, and should not: sentences, documents, signers.

A sentence of train in validation can be recited instead of translated; PHOENIX has 25 of 519
validation sentences verbatim in train. This counts, and gives examples; it judges nothing, since a
shared signer is a fact of most corpora. Metadata only, no media is opened; features that are alike
to the bit are the store's to find.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import combinations

from kinesweep.core.clip import Clip
from kinesweep.sources.contract import Source

MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Overlap:
    """What the later of two splits has in common with the earlier one.

    Attributes:
        kind: `sentence`, `normalised sentence`, `document` or `signer`.
        first: the earlier split, for example `train`.
        second: the later split, for example `validation`.
        num_values: different values that stand in both.
        num_clips: clips of `second` that have one of them.
        of_clips: clips of `second` that have a value at all.
        examples: the first shared values in the order of `second`, at most `MAX_EXAMPLES`.
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
        """Clips of `second` that share, 0 to 1."""
        return self.num_clips / self.of_clips if self.of_clips else 0.0


@dataclass(frozen=True)
class OverlapReport:
    """Every kind of overlap between every two splits, also those that share nothing."""

    overlaps: tuple[Overlap, ...]

    @property
    def shared(self) -> tuple[Overlap, ...]:
        """Those where something is shared."""
        return tuple(overlap for overlap in self.overlaps if overlap.num_clips)

    def lines(self) -> list[str]:
        """One line an overlap, for people."""
        return [
            f"{item.first} → {item.second}: {item.num_clips} of {item.of_clips} clips"
            f" ({item.share:.1%}) share a {item.kind}"
            + "".join(f"\n    {example}" for example in item.examples)
            for item in self.overlaps
        ]

    def leakage(self) -> list[str]:
        """What train shares with the splits that are scored, a line each; for a log."""
        return [
            f"{item.num_clips} of {item.of_clips} clips of {item.second} ({item.share:.1%}) share a"
            f" {item.kind} with train"
            for item in self.shared
            if item.first == "train" and item.kind != "normalised sentence"
        ]

    def as_dict(self) -> list[dict[str, object]]:
        """Plain values for a machine."""
        return [asdict(item) for item in self.overlaps]

    def rows(self) -> list[tuple[str, ...]]:
        """A table for people, its head first: what, where, how much, examples."""
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
    """Compares the splits of a corpus two by two.

    Raises:
        SourceError: the metadata is malformed.
    """
    clips = {split: source.clips(split) for split in source.splits()}
    found = [
        _overlap(kind, values, first, second, clips)
        for first, second in combinations(clips, 2)
        for kind, values in _KINDS.items()
    ]
    return OverlapReport(tuple(item for item in found if item.of_clips))


def normalise(sentence: str) -> str:
    """A sentence without its case, its spaces' number and its way of composing accents."""
    return " ".join(unicodedata.normalize("NFKC", sentence).casefold().split())


def _overlap(
    kind: str,
    values: Callable[[Clip], Iterable[str]],
    first: str,
    second: str,
    clips: dict[str, list[Clip]],
) -> Overlap:
    known = {value for clip in clips[first] for value in values(clip)}
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


_KINDS: dict[str, Callable[[Clip], Iterable[str]]] = {
    "sentence": lambda clip: clip.texts,
    "normalised sentence": lambda clip: map(normalise, clip.texts),
    "document": lambda clip: (clip.document,),
    "signer": lambda clip: (clip.signer,),
}
