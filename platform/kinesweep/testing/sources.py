"""`SourceContract`: what every source of another package must do."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.core.errors import ClipError, KinesweepError
from kinesweep.core.units import Span
from kinesweep.sources import Source, build_source
from kinesweep.testing.parts import PartContract


class SourceContract(PartContract):
    """Checks of a source on a small corpus that the test writes.

    A subclass implements `make_corpus`: tables of the splits `train`, with at least two clips, and
    `validation`, with at least one, and their media files.
    """

    def make_corpus(self, folder: Path) -> Any:
        """Write a corpus into a folder and return the configuration of its source."""
        raise NotImplementedError("implement `make_corpus` in the test class")

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        """Return the source of a new corpus."""
        self.config = self.make_corpus(tmp_path)
        return build_source(self.config)

    def test_the_entry_point_names_the_configuration(self, tmp_path: Path) -> None:  # type: ignore[override]
        """Check that the installed package declares the part, and that it can be used."""
        self.config = self.make_corpus(tmp_path)
        super().test_the_entry_point_names_the_configuration()
        self.test_the_configuration_is_plain_values()

    def test_clips_are_complete_and_in_the_same_order_twice(self, source: Source) -> None:
        """Check that every clip has an id of its own, a text, a row and media."""
        assert source.list_splits() == ("train", "validation")
        clips = [clip for split in source.list_splits() for clip in source.list_clips(split)]
        assert len({clip.id for clip in clips}) == len(clips) >= 3
        for clip in clips:
            assert clip in source.list_clips(clip.split)
            assert clip.texts and all(clip.texts) and clip.row and clip.media
        assert source.list_clips("train") == source.list_clips("train")
        assert source.read_all_rows().clips == clips

    def test_a_pickle_reads_the_same(self, source: Source) -> None:
        """Check that a source on another process lists and reads the same."""
        again = pickle.loads(pickle.dumps(source))
        clips = source.list_clips("train")
        assert again.list_clips("train") == clips
        for clip in clips:
            assert are_equal(source.read(clip), again.read(clip))
        assert not are_equal(source.read(clips[0]), source.read(clips[1])), (
            "the first two clips of `train` must differ, or the check shows nothing"
        )

    def test_listing_opens_no_media(self, source: Source) -> None:
        """Check that clips are listed from the tables alone, and that missing files are named."""
        again = pickle.loads(pickle.dumps(source))
        # The pickle has no list in memory yet, so it reads the tables without this file.
        clips = source.list_clips("train")
        source.resolve_media_path(clips[0]).unlink()
        assert again.list_clips("train") == clips
        with pytest.raises(ClipError):
            again.read(clips[0])
        assert clips[0].id in [row.clip_id for row in again.check_clips()]

    def test_its_options_are_plain_values_without_paths(
        self, source: Source, tmp_path: Path
    ) -> None:
        """Check that what identifies a reading can be written, and moves with the corpus."""
        assert str(tmp_path) not in json.dumps(source.get_read_options())

    def test_a_part_of_a_file_is_not_read_as_the_whole(self, source: Source) -> None:
        """Check that a span is cut or refused: a clip to translate may have one.

        The first file of `train` needs more than one frame.
        """
        clip = source.list_clips("train")[0]
        part = replace(clip, span=Span.from_frames(0, 1))
        try:
            read = source.read(part)
        except KinesweepError:
            return
        assert not are_equal(read, source.read(clip)), "`read_file` ignores `span`"

    def test_unknown_splits_are_an_error(self, source: Source) -> None:
        """Check that a split without a table is refused."""
        with pytest.raises(KinesweepError, match="test"):
            source.list_clips("test")


def are_equal(first: Any, second: Any) -> bool:
    """Return whether two media are equal, bit by bit."""
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, Mapping):
        return list(first) == list(second) and all(
            are_equal(first[name], second[name]) for name in first
        )
    if hasattr(first, "__dataclass_fields__"):
        return type(first) is type(second) and all(
            are_equal(getattr(first, name), getattr(second, name))
            for name in first.__dataclass_fields__
        )
    return bool(first == second)
