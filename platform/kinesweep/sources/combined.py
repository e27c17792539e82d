"""A source that combines several corpora.

A split contains the clips of every corpus that has this split, in the order of the corpora. Ids and
rows are prefixed with the corpus name, so that they are unique. Media are read by the corpus that a
clip comes from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinesweep.core.clip import SPLITS, Clip, InvalidRow
from kinesweep.core.errors import ClipError, InputError
from kinesweep.sources.base import Media, MediaDigest, Source


class CombinedSource:
    """A source that delegates to the sources of several corpora.

    Args:
        corpora: Sources by corpus name.
    """

    def __init__(self, corpora: Mapping[str, Source]) -> None:
        self._corpora = dict(corpora)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that at least one corpus has."""
        have = {split for corpus in self._corpora.values() for split in corpus.splits()}
        return tuple(split for split in SPLITS if split in have)

    def clips(self, split: str) -> list[Clip]:
        """Return the usable clips of a split, one corpus after the other.

        Raises:
            SourceError: If a corpus is malformed.
            InputError: If no corpus has this split.
        """
        if split not in self.splits():
            have = ", ".join(self.splits())
            raise InputError(f"no corpus has a split `{split}`; they have {have}")
        return [
            replace(clip, id=f"{name}/{clip.id}", row=f"{name}/{clip.row}", corpus=name)
            for name, corpus in self._corpora.items()
            if split in corpus.splits()
            for clip in corpus.clips(split)
        ]

    def problems(self) -> list[InvalidRow]:
        """Return the unusable rows of all corpora.

        Raises:
            SourceError: If a corpus is malformed.
        """
        return self._named(lambda corpus: corpus.problems())

    def media_path(self, clip: Clip) -> Path:
        """Return the path of the clip's file.

        Raises:
            ClipError: See the source of the clip's corpus.
        """
        # The clip keeps its prefixed id and row: sources print them, or use the id's last part.
        return self._corpora[clip.corpus].media_path(clip)

    def auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the auxiliary files of a clip.

        Raises:
            ClipError: See the source of the clip's corpus.
        """
        return self._corpora[clip.corpus].auxiliary_files(clip)

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Return the content digest of clips that share a file with other clips."""
        found: dict[Clip, MediaDigest | ClipError] = {}
        for name, corpus in self._corpora.items():
            found |= corpus.contents([clip for clip in clips if clip.corpus == name])
        return found

    def read_options(self) -> dict[str, Any]:
        """Return the common read options, or those of each corpus if they differ."""
        own = {name: corpus.read_options() for name, corpus in self._corpora.items()}
        first, *others = own.values()
        return first if all(other == first for other in others) else {"corpora": own}

    def read(self, clip: Clip) -> Media:
        """Read the clip's span of its file.

        Raises:
            ClipError: See the source of the clip's corpus.
        """
        return self._corpora[clip.corpus].read(clip)

    def check(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Open every file; return `problems()` and the problems found.

        Raises:
            SourceError: If a corpus is malformed.
        """
        sizes = [
            sum(len(corpus.clips(split)) for split in corpus.splits())
            for corpus in self._corpora.values()
        ]
        # A list, because the nested functions below must update the count.
        done = [0]

        def checked(corpus: Source) -> list[InvalidRow]:
            # Each corpus counts from 0; the total goes on from the corpora before it.
            before = done[0]

            def told(number: int, total: int) -> None:
                done[0] = before + number
                if progress is not None:
                    progress(done[0], sum(sizes))

            return corpus.check(told)

        return self._named(checked)

    def _named(self, ask: Callable[[Source], list[InvalidRow]]) -> list[InvalidRow]:
        """Collect problems from all corpora, with rows and ids prefixed by the corpus name."""
        return [
            replace(problem, row=f"{name}/{problem.row}", clip_id=f"{name}/{problem.clip_id}")
            for name, corpus in self._corpora.items()
            for problem in ask(corpus)
        ]
