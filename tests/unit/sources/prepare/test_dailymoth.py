"""DailyMoth-70h: manifests of clips that are cut already, beside their videos."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from films import write_video
from kinesweep.cli import app
from kinesweep.config.recipe.source import VideoTsvConfig
from kinesweep.core.errors import InputError, SourceError
from kinesweep.sources.prepare import prepare_corpus
from kinesweep.sources.video.video_tsv import VideoTsvSource

ROWS = {
    "train": [
        "0000001-2022.6.14.mp4\t3.204\tHello, this is the news.",
        '0000002-2022.6.14.mp4\t1.5\t"Really", they said.',
        "0000003-2022.6.15.mp4\t0.01\tToo short.",
        "0000004-2022.6.15.mp4\t2\t",
        "0000005-2022.6.15.mp4\t2.5\tNot there.",
    ],
    "val": ["0000101-2023.1.2.mp4\t2.5\tValidation."],
    "test": ["1234567-2023.1.3.mp4\t2.5\tTest."],
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of the corpus, and that of its unblurred clips."""
    root = tmp_path / "dailymoth-70h"
    (root / "manifests").mkdir(parents=True)
    for split, rows in ROWS.items():
        (root / "manifests" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
        for row in rows:
            name = row.split("\t")[0]
            if not name.startswith("0000005"):
                write_video(root / "unblurred_clips" / "videos" / name[:5] / name, 5)
    (root / "manifests" / "manifest.tsv").write_text("all\t1\trows\n")
    (root / "manifests" / "srt_data.tsv").write_text("video_name\tstart\tend\tcaption\n")
    return root, root / "unblurred_clips"


def test_every_row_is_written_or_counted(folders: tuple[Path, Path], tmp_path: Path) -> None:
    root, clips = folders
    result = prepare_corpus("dailymoth", root, clips, tmp_path / "out")
    assert result.clips == {"train": 2, "validation": 1, "test": 1}
    assert result.missing == {"train": 1} and result.unestimated == 0
    assert result.dropped == {"train": {"empty_text": 1, "too_short": 1}}
    assert result.source_kind == "video_tsv"
    lines = (tmp_path / "out" / "missing.tsv").read_text().splitlines()
    assert "0000005-2022.6.15" in lines[1] and "00000/0000005-2022.6.15.mp4" in lines[1]
    assert (tmp_path / "out" / "dropped.tsv").read_text().splitlines()[1:] == [
        "train\ttrain.tsv:3\ttoo_short",
        "train\ttrain.tsv:4\tempty_text",
    ]
    config = {"kind": "video_tsv", "train": str(tmp_path / "out" / "train.tsv")}
    source = VideoTsvSource(VideoTsvConfig.model_validate({**config, "root": str(clips)}))
    first, second = source.list_clips("train")
    assert (first.id, first.document, first.order) == ("0000001-2022.6.14", "2022.6.14", 1)
    assert first.media == "videos/00000/0000001-2022.6.14.mp4"
    assert (second.texts, second.language) == (('"Really", they said.',), "en")
    assert source.read(first).path.is_file()


def test_the_folder_of_the_clips_and_manifests_with_headers(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    root, clips = folders
    manifest = root / "manifests" / "val.tsv"
    manifest.write_text("video_name\tduration\tcaption\n" + manifest.read_text())
    result = prepare_corpus("dailymoth", root / "manifests", clips / "videos", tmp_path / "out")
    assert result.clips == {"train": 2, "validation": 1, "test": 1}
    line = (tmp_path / "out" / "validation.tsv").read_text().splitlines()[1]
    assert "\t00001/0000101-2023.1.2.mp4\t" in line


def test_poses_instead_of_videos(folders: tuple[Path, Path], tmp_path: Path) -> None:
    root, clips = folders
    with pytest.raises(InputError, match=r"none of 5 pose files .* `--media videos`"):
        prepare_corpus("dailymoth", root, clips, tmp_path / "out", media="poses")
    (clips / "videos" / "00000" / "0000001-2022.6.14.pose").write_bytes(b"")
    result = prepare_corpus("dailymoth", root, clips, tmp_path / "out", media="poses")
    assert (result.clips, result.source_kind) == ({"train": 1}, "pose_tsv")
    assert result.missing == {"train": 2, "validation": 1, "test": 1} and result.unestimated == 3
    with pytest.raises(InputError, match="`features`"):
        prepare_corpus("dailymoth", root, clips, tmp_path / "out", True, media="features")


def test_malformed_rows_are_all_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    root, clips = folders
    rows = ["a.mp4\tlong\tText.", "b.mp4\t1", "\t2\tText."]
    (root / "manifests" / "test.tsv").write_text("\n".join(rows) + "\n")
    with pytest.raises(SourceError) as caught:
        prepare_corpus("dailymoth", root, clips, tmp_path / "out")
    assert all(f"test.tsv:{number}" in str(caught.value) for number in (1, 2, 3))


def test_other_corpora_find_their_videos_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "train.tsv").write_text("signal\toutput\nx.pose\tText.\n")
    write_video(tmp_path / "videos" / "x.mp4", 3)
    out = tmp_path / "out"
    folders = [str(folder) for folder in (tmp_path / "a", tmp_path / "videos", out)]
    done = CliRunner().invoke(app, ["prepare", "generic", *folders, "--media", "videos"])
    assert done.exit_code == 0 and "source.kind=video_tsv" in done.output
    assert "\tx.mp4\t" in (out / "train.tsv").read_text()
