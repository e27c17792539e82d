"""`SourceContract` on every source of ours, and more; a new one is one line in `CORPORA`."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from films import write_video
from kinesweep.config.recipe.source import (
    FeatureManifestConfig,
    H5ShardsConfig,
    PoseTsvConfig,
    SingleSourceConfig,
    SkeletonsConfig,
    VideoTsvConfig,
)
from kinesweep.config.recipe.sources.feature_kinds import FEATURES_KINDS_BY_SOURCE_KIND
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.video_files import VideoSegment
from kinesweep.sources import Source
from kinesweep.sources.base import (
    Media,
    PrecomputedFeatures,
    SkeletonMotion,
    SourceImage,
    SourceText,
)
from kinesweep.sources.synthetic.layout import NUM_POINTS, encode_pose
from kinesweep.sources.video.frame_reader import get_duration_s
from kinesweep.sources.written.text_tsv import TextTsvSource
from kinesweep.testing import SourceContract
from shards import write_shard
from vision import follow_block

NUM_FRAMES = {"train": (4, 7, 5), "validation": (6,)}
"""The corpus that each line makes: clips by their frames; the second of train has no text."""


def rows() -> list[tuple[str, str, int, str]]:
    """Split, name, frames and text of each row."""
    return [
        (split, f"{split}{number}", frames, "" if (split, number) == ("train", 1) else "A text.")
        for split, lengths in NUM_FRAMES.items()
        for number, frames in enumerate(lengths)
    ]


def tables(folder: Path, header: str, suffix: str = "") -> dict[str, str]:
    """Writes `split.tsv` with what every row names and its text; split → path."""
    for split in NUM_FRAMES:
        own = [f"{name}{suffix}\t{text}" for of, name, _, text in rows() if of == split]
        (folder / f"{split}.tsv").write_text("\n".join([header, *own]), encoding="utf-8")
    return {split: str(folder / f"{split}.tsv") for split in NUM_FRAMES}


def pose_tsv(folder: Path) -> SingleSourceConfig:
    rng = np.random.default_rng(0)
    for _, name, frames, _ in rows():
        points = rng.normal(size=(frames, NUM_POINTS, 3)).astype(np.float32)
        content = encode_pose(points, np.ones((frames, NUM_POINTS), np.float32))
        (folder / f"{name}.pose").write_bytes(content)
    return PoseTsvConfig(**tables(folder, "signal\toutput", ".pose"))


def video_tsv(folder: Path) -> SingleSourceConfig:
    for _, name, frames, _ in rows():
        write_video(folder / f"{name}.mp4", frames)
    paths = tables(folder, "signal\toutput", ".mp4")
    return VideoTsvConfig(kind="video_tsv", **paths)


def video_tsv_with_poses(folder: Path) -> SingleSourceConfig:
    for _, name, frames, _ in rows():
        write_video(folder / f"{name}.mp4", frames)
        follow_block(folder / "poses" / f"{name}.pose", frames)
    paths = tables(folder, "signal\toutput", ".mp4")
    poses = str(folder / "poses")
    return VideoTsvConfig(kind="video_tsv", poses=poses, **paths)


def feature_manifest(folder: Path) -> SingleSourceConfig:
    rng = np.random.default_rng(0)
    for _, name, frames, _ in rows():
        place = folder / "features" / "0" / name[:5]
        place.mkdir(parents=True, exist_ok=True)
        torch.save(torch.from_numpy(rng.normal(size=(frames, 6))), place / f"{name}.pt")
    paths = tables(folder, "video_name\tlabel")
    config = {"kind": "feature_manifest", "features": str(folder / "features"), **paths}
    return FeatureManifestConfig.model_validate(config)


def feature_tsv(folder: Path) -> SingleSourceConfig:
    rng = np.random.default_rng(0)
    for _, name, frames, _ in rows():
        np.save(folder / f"{name}.npy", rng.normal(size=(6, frames)))
    paths = tables(folder, "signal\toutput", ".npy")
    config = {"kind": "feature_tsv", "fps": 12.5, "time_axis": 1, **paths}
    return FeatureTsvConfig.model_validate(config)


def image_tsv(folder: Path) -> SingleSourceConfig:
    for _, name, frames, _ in rows():
        pixels = np.full((frames, 2 * frames, 3), frames, np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    paths = tables(folder, "signal\toutput", ".png")
    return ImageTsvConfig.model_validate({"kind": "image_tsv", **paths})


def written(folder: Path, word: str) -> dict[str, str]:
    """Writes tables whose signals are a word as often as there are frames; split → path."""
    for split in NUM_FRAMES:
        own = [(frames, text) for of, _, frames, text in rows() if of == split]
        lines = [f"{' '.join([word] * frames)}\t{text}" for frames, text in own]
        (folder / f"{split}.tsv").write_text("\n".join(["signal\toutput", *lines]))
    return {split: str(folder / f"{split}.tsv") for split in NUM_FRAMES}


def text_tsv(folder: Path) -> SingleSourceConfig:
    config = {"kind": "text_tsv", **written(folder, "word")}
    return TextTsvConfig.model_validate(config)


def signwriting_tsv(folder: Path) -> SingleSourceConfig:
    config = {"kind": "signwriting_tsv", **written(folder, "M518x529S14c20481x471")}
    return SignWritingTsvConfig.model_validate(config)


def h5_shards(folder: Path) -> SingleSourceConfig:
    rng = np.random.default_rng(0)
    for split in NUM_FRAMES:
        own = [(name, frames, text) for of, name, frames, text in rows() if of == split]
        said = {n: {"clip_order": ["0"], "0": {"translation": text}} for n, _, text in own}
        (folder / f"annotation.{split}.json").write_text(json.dumps(said))
        for stream, width in (("pose", 6), ("dino", 4)):
            (folder / stream).mkdir(exist_ok=True)
            where = {name: number for number, (name, _, _) in enumerate(own)}
            (folder / stream / f"metadata_{stream}.{split}.json").write_text(json.dumps(where))
            for name, frames, _ in own:
                values = rng.normal(size=(frames, width)).astype(np.float16)
                path = folder / stream / f"{stream}.{split}.{where[name]}.h5"
                write_shard(path, name, {"0": values})
    paths = {split: str(folder / f"annotation.{split}.json") for split in NUM_FRAMES}
    streams = [{"name": name, "fps": 25} for name in ("pose", "dino")]
    config = {"kind": "h5_shards", **paths, "streams": streams}
    return H5ShardsConfig.model_validate(config)


def skeletons(folder: Path) -> SingleSourceConfig:
    rng = np.random.default_rng(0)
    for _, name, frames, _ in rows():
        np.save(folder / f"{name}.npy", rng.normal(size=(frames, 22, 3)).astype(np.float32))
    paths = tables(folder, "motion\tref1", ".npy")
    config = {"kind": "skeletons", "fps": 20, **paths}
    return SkeletonsConfig.model_validate(config)


def skeletons_with_references(folder: Path) -> SingleSourceConfig:
    rng = np.random.default_rng(0)
    for split in NUM_FRAMES:
        own = [(name, frames, text) for of, name, frames, text in rows() if of == split]
        lines = ["id\ttext\treference"]
        for name, frames, text in own:
            for file, length in ((name, frames), (f"{name}_expert", 3)):
                x_TJC = rng.normal(size=(length, 22, 3)).astype(np.float32)
                np.save(folder / f"{file}.npy", x_TJC)
            lines.append(f"{name}\t{text}\t{name}_expert.npy")
        (folder / f"{split}.tsv").write_text("\n".join(lines), encoding="utf-8")
    paths = {split: str(folder / f"{split}.tsv") for split in NUM_FRAMES}
    config = {"kind": "skeletons", "fps": 20, "motions": str(folder), **paths}
    return SkeletonsConfig.model_validate(config)


CORPORA: dict[str, Callable[[Path], SingleSourceConfig]] = {
    "pose_tsv": pose_tsv,
    "video_tsv": video_tsv,
    "video_tsv with poses": video_tsv_with_poses,
    "feature_manifest": feature_manifest,
    "feature_tsv": feature_tsv,
    "image_tsv": image_tsv,
    "text_tsv": text_tsv,
    "signwriting_tsv": signwriting_tsv,
    "h5_shards": h5_shards,
    "skeletons": skeletons,
    "skeletons with references": skeletons_with_references,
}


def check_media(media: Media) -> int:
    """Checks shapes and types of what was read; frames."""
    if isinstance(media, VideoSegment):
        return round(get_duration_s(media) * 25)
    if isinstance(media, dict):
        (frames,) = {check_media(stream) for stream in media.values()}
        return frames
    if isinstance(media, SourceText):
        return len(media.text.split())
    if isinstance(media, SourceImage):
        assert media.pixels_HW3.dtype == np.uint8 and media.pixels_HW3.shape[2] == 3
        return len(media.pixels_HW3)
    if isinstance(media, PrecomputedFeatures):
        assert media.x_TD.dtype == np.float32 and media.x_TD.ndim == 2 and media.rate_hz > 0
        return len(media.x_TD)
    if isinstance(media, SkeletonMotion):
        assert media.reference_pose is None or check_media(media.reference_pose) == 3
        return check_media(media.pose)
    assert media.points_TPJC.dtype == media.confidence_TPJ.dtype == np.float32
    assert media.points_TPJC.shape[:3] == media.confidence_TPJ.shape
    assert media.points_TPJC.shape[1] == 1
    assert media.points_TPJC.shape[2] == media.layout.num_points
    assert media.fps > 0
    return len(media.points_TPJC)


def remove_media(source: Source, clip: Clip) -> bool:
    """Removes the file of a clip; whether there is one, which a text has not."""
    if isinstance(source, TextTsvSource):
        with pytest.raises(ClipError, match="not a file"):
            source.resolve_media_path(clip)
        return False
    source.resolve_media_path(clip).unlink()
    return True


class TestSources(SourceContract):
    @pytest.fixture(params=CORPORA, autouse=True)
    def choose_corpus(self, request: pytest.FixtureRequest) -> None:
        self.corpus = request.param

    def make_corpus(self, folder: Path) -> SingleSourceConfig:
        return CORPORA[self.corpus](folder)

    def test_every_kind_is_tried(self, source: Source) -> None:
        kinds = set(FEATURES_KINDS_BY_SOURCE_KIND)
        assert self.config.kind in kinds and kinds <= {name.split()[0] for name in CORPORA}

    def test_a_list_is_the_caller_s(self, source: Source) -> None:
        source.list_clips("train").clear()
        source.list_invalid_rows().clear()
        assert source.list_clips("train") and source.list_invalid_rows()

    def test_listing_opens_no_media(self, source: Source) -> None:
        for clip in pickle.loads(pickle.dumps(source)).list_clips("train"):
            remove_media(source, clip)
        again = pickle.loads(pickle.dumps(source))
        assert len(again.list_clips("train")) == 2 and len(again.list_invalid_rows()) == 1

    def test_shapes(self, source: Source) -> None:
        assert [check_media(source.read(clip)) for clip in source.list_clips("train")] == [4, 5]

    def test_problems_are_rows_that_are_not_clips(self, source: Source) -> None:
        (problem,) = source.list_invalid_rows()
        assert problem.reason == "empty_text"
        assert problem.row in ("train.tsv:3", "annotation.train.json:train1/0")
        assert problem.clip_id not in {clip.id for clip in source.list_clips("train")}

    def test_all_rows_are_those_of_the_splits_in_the_order_of_the_tables(
        self, source: Source
    ) -> None:
        found = source.read_all_rows()
        clips = [clip for split in source.list_splits() for clip in source.list_clips(split)]
        assert (found.clips, found.errors) == (clips, [])
        assert found.invalid_rows == source.list_invalid_rows()
        # The row without a text lies between the two clips of train.
        in_order = [clips[0].row, found.invalid_rows[0].row, clips[1].row, clips[2].row]
        assert sorted(set(in_order), key=source.get_row_position) == in_order

    def test_missing_media_are_an_error_and_found_by_check(self, source: Source) -> None:
        assert source.check_clips() == source.list_invalid_rows()
        clip = source.list_clips("train")[1]
        if not remove_media(source, clip):
            return
        source.verify_clip(source.list_clips("train")[0])
        for call in (source.resolve_media_path, source.read, source.verify_clip):
            with pytest.raises(ClipError) as caught:
                call(clip)
            assert caught.value.reason == "missing_file"
        assert [problem.clip_id for problem in source.check_clips()] == [
            *(problem.clip_id for problem in source.list_invalid_rows()),
            clip.id,
        ]

    def test_contents_are_of_clips_that_share_their_file(self, source: Source) -> None:
        clips = source.list_clips("train")
        found = source.compute_digests(clips)
        assert found == source.compute_digests(clips)
        assert not found or found.keys() == set(clips)
        assert len({content.sha256 for content in found.values()}) == len(found)

    def test_companions_are_files_that_must_be_there(self, source: Source) -> None:
        clip = source.list_clips("train")[1]
        for path in source.list_auxiliary_files(clip):
            path.unlink()
            for call in (source.list_auxiliary_files, source.read):
                with pytest.raises(ClipError) as caught:
                    call(clip)
                assert caught.value.reason.startswith("missing_")
            assert clip.id in [problem.clip_id for problem in source.check_clips()]
