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

    def list_splits(self) -> tuple[str, ...]:
        """Return the splits that at least one corpus has."""
        available = {split for corpus in self._corpora.values() for split in corpus.list_splits()}
        return tuple(split for split in SPLITS if split in available)

    def list_clips(self, split: str) -> list[Clip]:
        """Return the usable clips of a split, one corpus after the other.

        Raises:
            SourceError: If a corpus is malformed.
            InputError: If no corpus has this split.
        """
        if split not in self.list_splits():
            available = ", ".join(self.list_splits())
            raise InputError(f"no corpus has a split `{split}`; they have {available}")
        return [
            replace(clip, id=f"{name}/{clip.id}", row=f"{name}/{clip.row}", corpus=name)
            for name, corpus in self._corpora.items()
            if split in corpus.list_splits()
            for clip in corpus.list_clips(split)
        ]

    def list_invalid_rows(self) -> list[InvalidRow]:
        """Return the well-formed but unusable rows of all corpora.

        Raises:
            SourceError: If a corpus is malformed.
        """
        return self._collect_invalid_rows(lambda corpus: corpus.list_invalid_rows())

    def resolve_media_path(self, clip: Clip) -> Path:
        """Return the path of the clip's file.

        Raises:
            ClipError: See the source of the clip's corpus.
        """
        # The clip keeps its prefixed id and row: sources print them, or use the id's last part.
        return self._corpora[clip.corpus].resolve_media_path(clip)

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the auxiliary files of a clip.

        Raises:
            ClipError: See the source of the clip's corpus.
        """
        return self._corpora[clip.corpus].list_auxiliary_files(clip)

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the content digest of each clip that shares a file with other clips."""
        digests: dict[Clip, MediaDigest | ClipError] = {}
        for name, corpus in self._corpora.items():
            digests |= corpus.compute_digests([clip for clip in clips if clip.corpus == name])
        return digests

    def get_read_options(self) -> dict[str, Any]:
        """Return the common read options, or those of each corpus if they differ."""
        options_by_corpus = {
            name: corpus.get_read_options() for name, corpus in self._corpora.items()
        }
        first, *others = options_by_corpus.values()
        return first if all(other == first for other in others) else {"corpora": options_by_corpus}

    def read(self, clip: Clip) -> Media:
        """Read the clip's span of its file.

        Raises:
            ClipError: See the source of the clip's corpus.
        """
        return self._corpora[clip.corpus].read(clip)

    def check_clips(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Open the media of every clip and return the invalid rows of all corpora.

        Raises:
            SourceError: If a corpus is malformed.
        """
        sizes = [
            sum(len(corpus.list_clips(split)) for split in corpus.list_splits())
            for corpus in self._corpora.values()
        ]
        # A list, because the nested functions below must update the count.
        num_done = [0]

        def check_corpus(corpus: Source) -> list[InvalidRow]:
            # Each corpus counts from 0; the total goes on from the corpora before it.
            num_before = num_done[0]

            def report_progress(number: int, total: int) -> None:
                num_done[0] = num_before + number
                if progress is not None:
                    progress(num_done[0], sum(sizes))

            return corpus.check_clips(report_progress)

        return self._collect_invalid_rows(check_corpus)

    def _collect_invalid_rows(
        self, get_invalid_rows: Callable[[Source], list[InvalidRow]]
    ) -> list[InvalidRow]:
        """Collect the invalid rows of all corpora; rows and ids get the corpus name as prefix."""
        return [
            replace(problem, row=f"{name}/{problem.row}", clip_id=f"{name}/{problem.clip_id}")
            for name, corpus in self._corpora.items()
            for problem in get_invalid_rows(corpus)
        ]
