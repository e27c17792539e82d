"""SSVP-SLT's own tables and folders: no header, names without a suffix, `NAME[:5]/NAME.mp4`.

The layout is that of its DATASETS.md and of its data sets' code: a manifest is read line by line as
`name, duration or length, text`, and a video lies in a folder of the first five characters.
"""

from pathlib import Path

import pytest

from kinesweep.config.recipe.source import VideoTsvConfig
from kinesweep.core.errors import ClipError, SourceError
from kinesweep.sources.video.video_tsv import VideoTsvSource

WITHOUT_HEADER = "clip_a\t7.8\tFirst text.\nclip_b\t7.8\tSecond text.\n"


def source_of(folder: Path, content: str, **options: object) -> VideoTsvSource:
    (folder / "train.tsv").write_text(content)
    config = {"kind": "video_tsv", "train": str(folder / "train.tsv"), **options}
    return VideoTsvSource(VideoTsvConfig.model_validate(config))


def add(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    "content",
    [
        WITHOUT_HEADER,
        "video_name\tduration\tcaption\n" + WITHOUT_HEADER,
        "video_name\tlength\tlabel\n" + WITHOUT_HEADER.replace("7.8", "98"),
        "caption\tvideo_name\nFirst text.\tclip_a\nSecond text.\tclip_b\n",
        "clip_a\tFirst text.\nclip_b\tSecond text.\n",
        'clip_a.mp4\t7.8\tFirst text.\r\n"clip_b.mp4"\t12\t"Second text."\r\n',
    ],
)
def test_manifests_with_and_without_a_header(tmp_path: Path, content: str) -> None:
    source = source_of(tmp_path, content)
    clips = source.list_clips("train")
    assert [(clip.id, clip.media, clip.texts) for clip in clips] == [
        ("clip_a", "clip_a.mp4", ("First text.",)),
        ("clip_b", "clip_b.mp4", ("Second text.",)),
    ]
    assert all(clip.span.is_full for clip in clips) and not source.list_invalid_rows()


def test_a_manifest_of_one_row(tmp_path: Path) -> None:
    (clip,) = source_of(tmp_path, "clip_a\t7.8\tFirst text.\n").list_clips("train")
    assert clip.row == "train.tsv:1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("singal\toutputt\nclip_a\tx\n", "did you mean `signal`"),
        ("clip_a\tx\ty\nclip_b\tx\ty\n", "`clip_a` is unknown"),
        ("clip_a\t7.8\tx\nclip_b\t7.8\n", "train.tsv:2  has 2 fields, not 3"),
        ("signal\tnumber\toutput\nclip_a\t7.8\tx\n", "`number` is unknown"),
    ],
)
def test_other_tables_keep_their_errors(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        source_of(tmp_path, content).list_clips("train")
    assert said in str(caught.value)


@pytest.mark.parametrize("nested", ["clip_/clip_a.mp4", "clip_a.mp4"])
def test_videos_lie_in_the_folder_of_their_prefix_or_not(tmp_path: Path, nested: str) -> None:
    path = add(tmp_path / "videos" / nested)
    source = source_of(tmp_path, WITHOUT_HEADER, root=str(tmp_path / "videos"))
    first, second = source.list_clips("train")
    assert source.resolve_media_path(first) == path
    with pytest.raises(ClipError, match=r"videos/clip_b.mp4` does not exist") as caught:
        source.resolve_media_path(second)
    assert caught.value.reason == "missing_file"


def test_the_plain_place_comes_first(tmp_path: Path) -> None:
    add(tmp_path / "clip_/clip_a.mp4")
    path = add(tmp_path / "clip_a.mp4")
    source = source_of(tmp_path, WITHOUT_HEADER)
    assert source.resolve_media_path(source.list_clips("train")[0]) == path


def test_poses_lie_beside_the_videos_in_their_own_root(tmp_path: Path) -> None:
    add(tmp_path / "clip_/clip_a.mp4")
    pose = add(tmp_path / "poses/clip_/clip_a.pose")
    source = source_of(tmp_path, WITHOUT_HEADER, poses=str(tmp_path / "poses"))
    first, second = source.list_clips("train")
    assert source.list_auxiliary_files(first) == (pose,)
    with pytest.raises(ClipError, match=r"poses/clip_b\.pose"):
        source.list_auxiliary_files(second)


def test_names_keep_their_dots(tmp_path: Path) -> None:
    names = ["abcDEF12345-00:00:18.285-00:00:21.521", "abcDEF12345-00:00:18.990-00:00:25.100"]
    source = source_of(tmp_path, "".join(f"{name}\t3.2\tText.\n" for name in names))
    assert [clip.id for clip in source.list_clips("train")] == names
