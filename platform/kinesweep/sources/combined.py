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
from kinesweep.sources.base import CorpusRows, Media, MediaDigest, Source


class CombinedSource:
    """A source that delegates to the sources of several corpora.

    Args:
        corpora: Sources by corpus name.
    """

    def __init__(self, corpora: Mapping[str, Source]) -> None:
        self._corpora = dict(corpora)

    def list_splits(self) -> tuple[str, ...]:
        """Return the splits that at least one corpus has, in the order train, validation, test."""
        available = {split for corpus in self._corpora.values() for split in corpus.list_splits()}
        return tuple(split for split in SPLITS if split in available)

    def list_clips(self, split: str) -> list[Clip]:
        """Return the usable clips of a split, one corpus after the other, with prefixed ids.

        Raises:
            SourceError: If the metadata of a corpus is malformed.
            InputError: If no corpus has this split.
        """
        if split not in self.list_splits():
            available = ", ".join(self.list_splits())
            raise InputError(f"no corpus has a split `{split}`; they have {available}")
        return [
            _add_corpus_name(name, clip)
            for name, corpus in self._corpora.items()
            if split in corpus.list_splits()
            for clip in corpus.list_clips(split)
        ]

    def list_invalid_rows(self) -> list[InvalidRow]:
        """Return the rows of all corpora that are well formed but unusable, with prefixed ids.

        Raises:
            SourceError: If the metadata of a corpus is malformed.
        """
        return self._collect_invalid_rows(lambda corpus: corpus.list_invalid_rows())

    def read_all_rows(self) -> CorpusRows:
        """Return the clips, invalid and malformed rows of all corpora, with prefixed ids."""
        rows = {name: corpus.read_all_rows() for name, corpus in self._corpora.items()}
        clips = [
            _add_corpus_name(name, clip)
            for split in SPLITS
            for name, corpus_rows in rows.items()
            for clip in corpus_rows.clips
            if clip.split == split
        ]
        invalid_rows = [
            _add_name_to_row(name, row)
            for name, corpus_rows in rows.items()
            for row in corpus_rows.invalid_rows
        ]
        errors = [
            replace(row, row=f"{name}/{row.row}")
            for name, corpus_rows in rows.items()
            for row in corpus_rows.errors
        ]
        return CorpusRows(clips, invalid_rows, errors)

    def get_row_position(self, row: str) -> tuple[int, ...]:
        """Return the index of a row's corpus and the position of the row in it."""
        # The name of a corpus may itself contain a slash, so the longest that fits is its own.
        name = max(
            (name for name in self._corpora if row.startswith(f"{name}/")), key=len, default=""
        )
        corpus_row = row.removeprefix(f"{name}/")
        return list(self._corpora).index(name), *self._corpora[name].get_row_position(corpus_row)

    def resolve_media_path(self, clip: Clip) -> Path:
        """Return the absolute path of the clip's media file or folder of images.

        Raises:
            ClipError: If the source of the clip's corpus raises it.
        """
        # The clip keeps its prefixed id and row: sources print them, or use the id's last part.
        return self._corpora[clip.corpus].resolve_media_path(clip)

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the paths of the files that a clip's features depend on besides its media file.

        Raises:
            ClipError: If the source of the clip's corpus raises it.
        """
        return self._corpora[clip.corpus].list_auxiliary_files(clip)

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the content digest of each clip whose media file also contains other clips.

        An unusable clip is mapped to its error instead.
        """
        digests: dict[Clip, MediaDigest | ClipError] = {}
        for name, corpus in self._corpora.items():
            digests |= corpus.compute_digests([clip for clip in clips if clip.corpus == name])
        return digests

    def get_read_options(self) -> dict[str, Any]:
        """Return the read options that all corpora share, or those of each corpus if they differ.

        If they differ, the result is `{"corpora": options by corpus name}`.
        """
        options_by_corpus = {
            name: corpus.get_read_options() for name, corpus in self._corpora.items()
        }
        first_options, *other_options = options_by_corpus.values()
        if all(options == first_options for options in other_options):
            return first_options
        return {"corpora": options_by_corpus}

    def read(self, clip: Clip) -> Media:
        """Return the media of a clip, as the source of its corpus reads it.

        Raises:
            ClipError: If the clip is unusable, with the reason under which it is counted.
        """
        return self._corpora[clip.corpus].read(clip)

    def verify_clip(self, clip: Clip) -> None:
        """Check that a clip can be read, as the source of its corpus does.

        Raises:
            ClipError: If it cannot be read.
        """
        self._corpora[clip.corpus].verify_clip(clip)

    def check_clips(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Open the media of every clip of all corpora and return all invalid rows.

        Args:
            progress: Function to call after each clip with the number of clips that were checked
                and the number of clips of all corpora.

        Raises:
            SourceError: If the metadata of a corpus is malformed.
        """
        num_clips = sum(
            len(corpus.list_clips(split))
            for corpus in self._corpora.values()
            for split in corpus.list_splits()
        )
        num_checked = 0

        def check_corpus(corpus: Source) -> list[InvalidRow]:
            # Each corpus counts from 0; the overall count continues from the corpora before it.
            num_checked_before = num_checked

            def report_progress(num_checked_in_corpus: int, _: int) -> None:
                nonlocal num_checked
                num_checked = num_checked_before + num_checked_in_corpus
                if progress is not None:
                    progress(num_checked, num_clips)

            return corpus.check_clips(report_progress)

        return self._collect_invalid_rows(check_corpus)

    def _collect_invalid_rows(
        self, get_invalid_rows: Callable[[Source], list[InvalidRow]]
    ) -> list[InvalidRow]:
        """Collect the invalid rows of all corpora; rows and ids get the corpus name as prefix.

        Args:
            get_invalid_rows: Function that returns the invalid rows of one corpus.
        """
        return [
            _add_name_to_row(name, invalid_row)
            for name, corpus in self._corpora.items()
            for invalid_row in get_invalid_rows(corpus)
        ]


def _add_corpus_name(name: str, clip: Clip) -> Clip:
    """Return a clip whose id and row are prefixed with the name of its corpus."""
    return replace(clip, id=f"{name}/{clip.id}", row=f"{name}/{clip.row}", corpus=name)


def _add_name_to_row(name: str, row: InvalidRow) -> InvalidRow:
    """Return an invalid row whose location and clip id are prefixed with the name of its corpus."""
    return replace(row, row=f"{name}/{row.row}", clip_id=f"{name}/{row.clip_id}")
