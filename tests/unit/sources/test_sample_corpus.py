"""The sample corpus on disk: real formats, disjoint splits, equal bytes."""

import csv
import hashlib
import json

import av
import numpy as np
import pytest
from pose_format import Pose
from pose_format.utils.generic import pose_hide_legs, reduce_holistic

from estimator_outputs import read_one
from kinesweep.core.errors import InputError
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.synthetic import (
    DEFAULT_NUM_CLIPS,
    SampleSummary,
    corpus,
    write_sample_corpus,
)
from kinesweep.sources.synthetic.corpus import SAMPLE_COLUMNS
from kinesweep.sources.synthetic.oracle import translate_glosses
from kinesweep.sources.synthetic.plan import SPLITS, plan_clips
from kinesweep.sources.synthetic.signers import TEST_ONLY_SIGNERS

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def summary(folder):
    return SampleSummary(**json.loads((folder / "sample.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample_corpus(folder, clips=40, seed=5)
    return folder


def rows(folder, split):
    with (folder / f"{split}.tsv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [
        (str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files
    ]
    return hashlib.sha256(repr(names).encode()).hexdigest()


def read(path):
    return Pose.read(path.read_bytes())


@pytest.mark.slow
def test_equal_arguments_give_equal_bytes_whatever_the_workers(folder, tmp_path):
    write_sample_corpus(tmp_path / "again", clips=40, seed=5, workers=2)
    assert digest(tmp_path / "again") == digest(folder)
    write_sample_corpus(tmp_path / "other", clips=40, seed=6)
    assert digest(tmp_path / "other") != digest(folder)


def test_tables_name_every_file_and_the_newest_columns(folder, summary):
    total = 0
    for split in SPLITS:
        table = rows(folder, split)
        assert tuple(table[0]) == SAMPLE_COLUMNS
        for row in table:
            assert row["signal"].startswith(f"poses/{split}/")
            assert (folder / row["signal"]).is_file()
            assert row["output"][0].isupper()
            assert row["output"][-1] in ".?"
        total += len(table)
    assert total == len(list(folder.rglob("*.pose"))) == 40
    assert (summary.train, summary.validation, summary.test) == (31, 5, 4)


def test_the_summary_counts_what_was_written(folder, summary):
    files = list(folder.rglob("*.pose"))
    assert summary.num_bytes == sum(path.stat().st_size for path in files)
    assert summary.frames == sum(len(read(path).body.data) for path in files)
    assert "invented" in (folder / "README.txt").read_text(encoding="utf-8")


def test_poses_have_the_holistic_layout_and_pass_pose_formats_own_chain(folder):
    pose = read(next(folder.rglob("*.pose")))
    assert round(pose.header.version, 3) == 0.2
    assert [len(c.points) for c in pose.header.components] == [33, 468, 21, 21, 33]
    assert {c.format for c in pose.header.components} == {"XYZC"}
    assert pose.body.data.shape[1:] == (1, 576, 3)
    reduced = reduce_holistic(pose_hide_legs(pose))
    reduced.normalize()
    assert reduced.body.data.shape[1:] == (1, 178, 3)
    assert np.isfinite(reduced.body.data.filled(0)).all()
    left = reduced.body.data[
        :, 0, reduced.header.get_point_index("POSE_LANDMARKS", "LEFT_SHOULDER")
    ]
    assert left[:, 0].mean() == pytest.approx(0.5, abs=0.02)


def test_limbs_name_points_that_exist(folder):
    pose = read(next(folder.rglob("*.pose")))
    for component in pose.header.components:
        assert max(max(limb) for limb in component.limbs) < len(component.points)
    assert [len(c.limbs) for c in pose.header.components] == [35, 124, 21, 21, 35]


def test_hands_are_lost_now_and_then(folder):
    hands = [read(path).body.confidence[:, 0, 501:543] for path in folder.rglob("*.pose")]
    lost = np.concatenate(hands).reshape(-1, 2, 21) == 0
    assert (lost.all(2) == lost.any(2)).all()
    assert 0.01 < lost.mean() < 0.15


def test_the_default_plan_keeps_its_promises():
    plan = plan_clips(DEFAULT_NUM_CLIPS, 0)
    by_split = {split: [clip for clip in plan if clip.split == split] for split in SPLITS}
    assert len(by_split["validation"]) >= 400
    assert len({clip.text for clip in plan}) == len(plan)
    assert len({tuple(clip.meaning.to_glosses()) for clip in plan}) == len(plan)
    signers = {split: {clip.signer.name for clip in clips} for split, clips in by_split.items()}
    assert signers["test"] - signers["train"] == {signer.name for signer in TEST_ONLY_SIGNERS}
    assert signers["validation"] <= signers["train"]
    assert len(signers["train"]) == 10
    documents = [{clip.document for clip in clips} for clips in by_split.values()]
    assert sum(map(len, documents)) == len(set.union(*documents))
    for clip in plan:
        assert translate_glosses(clip.meaning.to_glosses()).split()[-1][-1] == clip.text[-1]


def test_a_document_has_one_signer():
    signer_of = {}
    for clip in plan_clips(400, 1):
        assert signer_of.setdefault(clip.document, clip.signer.name) == clip.signer.name


@pytest.mark.parametrize("clips", [12, 40, 100, 1000])
def test_every_split_has_clips(clips):
    plan = plan_clips(clips, 0)
    assert len(plan) == clips
    assert {clip.split for clip in plan} == set(SPLITS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"clips": 11}, "`clips` must be at least 12"),
        ({"seed": -1}, "`seed` must be 0 or more"),
        ({"workers": 0}, "`workers` must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, said):
    with pytest.raises(InputError, match=said):
        write_sample_corpus(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        write_sample_corpus(tmp_path, clips=20)
    with pytest.raises(InputError, match="is a file"):
        write_sample_corpus(tmp_path / "mine.txt", clips=20)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_equal_corpus_is_kept_and_another_is_not_overwritten(tmp_path, monkeypatch):
    out = tmp_path / "corpus"
    first = write_sample_corpus(out, clips=12)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write_sample_corpus(out, clips=12, keep_existing=True) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == written
    with pytest.raises(InputError, match=r"another sample corpus \(clips 12, seed 0\)"):
        write_sample_corpus(out, clips=12)
    with pytest.raises(InputError, match="another sample corpus"):
        write_sample_corpus(out, clips=12, seed=1, keep_existing=True)
    monkeypatch.setattr(corpus, "JITTER", 0.5)  # stands for any change of the code
    with pytest.raises(InputError, match="another sample corpus"):
        write_sample_corpus(out, clips=12, keep_existing=True)


def test_an_interrupted_corpus_leaves_nothing_and_does_not_hinder(tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(corpus, "build_summary", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_sample_corpus(tmp_path / "corpus", clips=12)
    assert not (tmp_path / "corpus").exists()
    write_sample_corpus(tmp_path / "corpus", clips=12, keep_existing=True)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_the_card_is_true_of_a_small_corpus_too(folder, summary):
    card = (folder / "README.txt").read_text(encoding="utf-8")
    signers = {split: {row["signer"] for row in rows(folder, split)} for split in SPLITS}
    unseen = len(signers["test"] - signers["train"] - signers["validation"])
    assert f"of whom {unseen} appear in test only" in card
    assert f"clips {summary.clips}, seed {summary.seed}" in card
    assert "31 + 5 + 4 clips" in str(summary)


def test_films_and_outputs_are_those_of_the_first_test_clips(folder):
    films = sorted((folder / "films").glob("*.mp4"))
    assert [film.stem for film in films] == [
        path.stem for path in sorted((folder / "poses/test").glob("*.pose"))[:2]
    ]
    for film in films:
        pose = read_pose(folder / "poses/test" / f"{film.stem}.pose")
        with av.open(str(film)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert container.streams.video[0].average_rate == pose.fps
        assert len(frames) == len(pose.points_TPJC)
        x, y = pose.points_TPJC[0, 0, 0, :2].astype(int)
        red, _, blue = frames[0][y, x].astype(int)
        assert red > blue + 40, "there is skin where the nose is"
        wrists = read_one("openpose", folder / "openpose" / film.stem).data[:, 0, [7, 4], :2]
        np.testing.assert_allclose(wrists, pose.points_TPJC[:, 0, [15, 16], :2], atol=0.01)


def test_every_clip_is_a_film_on_request(tmp_path):
    write_sample_corpus(tmp_path / "films", 12, films=True)
    films = tmp_path / "films" / "film_corpus"
    for split in ("train", "validation", "test"):
        poses, table = (
            list(csv.DictReader(path.open(encoding="utf-8"), delimiter="\t"))
            for path in (tmp_path / "films" / f"{split}.tsv", films / f"{split}.tsv")
        )
        assert [row["output"] for row in table] == [row["output"] for row in poses]
        assert all((films / "videos" / row["signal"]).is_file() for row in table)
    with pytest.raises(InputError, match="another sample corpus"):
        write_sample_corpus(tmp_path / "films", 12, keep_existing=True)
