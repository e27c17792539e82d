"""Several corpora as one: a split holds the clips of every corpus that names it, in their order.

Ids and rows begin with the corpus's name, so that equal ones of two corpora are told apart; media
are read by the corpus that a clip is from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinesweep.core.clip import SPLITS, Clip, RowProblem
from kinesweep.core.errors import ClipError, InputError
from kinesweep.sources.contract import Content, Media, Source


class JoinedSource:
    """A source of sources.

    Args:
        corpora: name → corpus.
    """

    def __init__(self, corpora: Mapping[str, Source]) -> None:
        self._corpora = dict(corpora)

    def splits(self) -> tuple[str, ...]:
        """The splits that any of them has."""
        have = {split for corpus in self._corpora.values() for split in corpus.splits()}
        return tuple(split for split in SPLITS if split in have)

    def clips(self, split: str) -> list[Clip]:
        """The usable clips of a split, corpus after corpus.

        Raises:
            SourceError: a corpus is malformed.
            InputError: none of them has such a split.
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

    def problems(self) -> list[RowProblem]:
        """Rows that cannot be used, of all.

        Raises:
            SourceError: a corpus is malformed.
        """
        return self._named(lambda corpus: corpus.problems())

    def media_path(self, clip: Clip) -> Path:
        """The clip's file.

        Raises:
            ClipError: as that of its corpus.
        """
        return self._corpora[clip.corpus].media_path(clip)

    def companions(self, clip: Clip) -> tuple[Path, ...]:
        """Files that are read beside the clip's own.

        Raises:
            ClipError: as that of its corpus.
        """
        return self._corpora[clip.corpus].companions(clip)

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, Content | ClipError]:
        """Content of clips whose files hold other clips too."""
        found: dict[Clip, Content | ClipError] = {}
        for name, corpus in self._corpora.items():
            found |= corpus.contents([clip for clip in clips if clip.corpus == name])
        return found

    def reading(self) -> dict[str, Any]:
        """What all read alike; where they do not, each one's own."""
        own = {name: corpus.reading() for name, corpus in self._corpora.items()}
        first, *others = own.values()
        return first if all(other == first for other in others) else {"corpora": own}

    def read(self, clip: Clip) -> Media:
        """The clip's span of its file.

        Raises:
            ClipError: as that of its corpus.
        """
        return self._corpora[clip.corpus].read(clip)

    def check(self, progress: Callable[[int, int], None] | None = None) -> list[RowProblem]:
        """`problems()` and what opening every file brings to light.

        Raises:
            SourceError: a corpus is malformed.
        """
        sizes = [
            sum(len(corpus.clips(split)) for split in corpus.splits())
            for corpus in self._corpora.values()
        ]
        done = [0]

        def checked(corpus: Source) -> list[RowProblem]:
            before = done[0]

            def told(number: int, total: int) -> None:
                done[0] = before + number
                if progress is not None:
                    progress(done[0], sum(sizes))

            return corpus.check(told)

        return self._named(checked)

    def _named(self, ask: Callable[[Source], list[RowProblem]]) -> list[RowProblem]:
        return [
            replace(problem, row=f"{name}/{problem.row}", clip_id=f"{name}/{problem.clip_id}")
            for name, corpus in self._corpora.items()
            for problem in ask(corpus)
        ]
