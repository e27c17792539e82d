"""`SourceContract`: what every source must do. A new source is one line in `SOURCES`."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kinesweep.core.errors import ClipError, KinesweepError
from kinesweep.core.recipe.source import PoseTsvConfig
from kinesweep.sources import Source, build_source
from kinesweep.sources.sample.layout import NUM_POINTS, pose_bytes

NUM_FRAMES = {"train": (4, 7, 5), "validation": (6,)}
"""The corpus that each line makes: clips by their frames; the second of train has no text."""


def pose_tsv(folder: Path) -> Source:
    rng = np.random.default_rng(0)
    for split, lengths in NUM_FRAMES.items():
        lines = ["signal\toutput"]
        for number, frames in enumerate(lengths):
            points = rng.normal(size=(frames, NUM_POINTS, 3)).astype(np.float32)
            content = pose_bytes(points, np.ones((frames, NUM_POINTS), np.float32))
            (folder / f"{split}{number}.pose").write_bytes(content)
            text = "" if (split, number) == ("train", 1) else f"Sentence {number}."
            lines.append(f"{split}{number}.pose\t{text}")
        (folder / f"{split}.tsv").write_text("\n".join(lines), encoding="utf-8")
    paths = {split: str(folder / f"{split}.tsv") for split in NUM_FRAMES}
    return build_source(PoseTsvConfig(**paths))


SOURCES: dict[str, Callable[[Path], Source]] = {"pose_tsv": pose_tsv}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return SOURCES[request.param](tmp_path)


class TestSourceContract:
    def test_splits_are_in_the_usual_order(self, source: Source) -> None:
        assert source.splits() == ("train", "validation")

    def test_the_same_order_twice(self, source: Source) -> None:
        for split in source.splits():
            assert source.clips(split) == source.clips(split)

    def test_a_list_is_the_caller_s(self, source: Source) -> None:
        source.clips("train").clear()
        source.problems().clear()
        assert source.clips("train") and source.problems()

    def test_a_pickle_is_the_same_source(self, source: Source) -> None:
        again = pickle.loads(pickle.dumps(source))
        assert again.splits() == source.splits()
        clips = source.clips("train")
        assert again.clips("train") == clips
        for ours, theirs in ((source.read(clip), again.read(clip)) for clip in clips):
            np.testing.assert_array_equal(ours.points_TPJC, theirs.points_TPJC)

    def test_clips_are_complete(self, source: Source) -> None:
        clips = [clip for split in source.splits() for clip in source.clips(split)]
        assert len({clip.id for clip in clips}) == len(clips) == 3
        for clip in clips:
            assert clip.split in source.splits() and clip in source.clips(clip.split)
            assert clip.texts and all(clip.texts) and clip.row and clip.media

    def test_listing_opens_no_media(self, source: Source) -> None:
        for clip in pickle.loads(pickle.dumps(source)).clips("train"):
            source.media_path(clip).unlink()
        again = pickle.loads(pickle.dumps(source))
        assert len(again.clips("train")) == 2 and len(again.problems()) == 1

    def test_shapes(self, source: Source) -> None:
        frames = [len(source.read(clip).points_TPJC) for clip in source.clips("train")]
        assert frames == [4, 5]
        pose = source.read(source.clips("train")[0])
        assert pose.points_TPJC.dtype == pose.confidence_TPJ.dtype == np.float32
        assert pose.points_TPJC.shape[:3] == pose.confidence_TPJ.shape
        assert pose.points_TPJC.shape[1] == 1
        assert pose.points_TPJC.shape[2] == pose.layout.num_points
        assert pose.fps > 0

    def test_problems_are_rows_that_are_not_clips(self, source: Source) -> None:
        (problem,) = source.problems()
        assert (problem.reason, problem.row) == ("empty_text", "train.tsv:3")
        assert problem.clip_id not in {clip.id for clip in source.clips("train")}

    def test_missing_media_are_an_error_and_found_by_check(self, source: Source) -> None:
        assert source.check() == source.problems()
        clip = source.clips("train")[1]
        source.media_path(clip).unlink()
        for call in (source.media_path, source.read):
            with pytest.raises(ClipError) as caught:
                call(clip)
            assert caught.value.reason == "missing_file"
        assert [problem.clip_id for problem in source.check()] == [
            *(problem.clip_id for problem in source.problems()),
            clip.id,
        ]

    def test_unknown_splits_are_an_error(self, source: Source) -> None:
        with pytest.raises(KinesweepError, match="test"):
            source.clips("test")
