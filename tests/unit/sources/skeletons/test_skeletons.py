"""Skeletons from tables: which motion, which frames, which texts, what is compared with what."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.core.errors import ConfigError, SourceError
from skeleton_corpus import config, source
from skeletons import motions, write_pack, write_rows


def test_rows(corpus: Path) -> None:
    made = source(corpus)
    first, second, third = made.list_clips("train")
    assert [clip.media for clip in (first, second, third)] == [f"train.npz#{n}" for n in (2, 0, 1)]
    assert first.texts == ("Lift it.", "Higher.") and second.texts == ("Turn.",)
    assert (first.reference, first.signer, first.row) == ("b1", "ann", "train.tsv:2")
    assert made.list_splits() == ("train",) and made.list_invalid_rows() == made.check_clips() == []


def test_motions_and_references(corpus: Path) -> None:
    stored = motions(5)
    made = source(corpus)
    first, second, third = (made.read(clip) for clip in made.list_clips("train"))
    np.testing.assert_array_equal(first.pose.points_TPJC[:, 0], stored[2])
    assert first.reference_pose is not None and second.reference_pose is not None
    np.testing.assert_array_equal(
        first.reference_pose.points_TPJC[:, 0], stored[1][:2]
    )  # its segment
    np.testing.assert_array_equal(second.pose.points_TPJC[:, 0], stored[0][1:3])
    np.testing.assert_array_equal(
        second.reference_pose.points_TPJC[:, 0], stored[3]
    )  # by its number
    assert third.reference_pose is None
    assert (first.pose.fps, first.pose.layout.num_points) == (20, 22)
    assert (first.pose.confidence_TPJ == 1).all()


def test_a_worker_reads_what_the_driver_reads(corpus: Path) -> None:
    made = source(corpus, max_clips=1)
    (clip,) = made.list_clips("train")  # compared with one that takes no part
    again = pickle.loads(pickle.dumps(made)).read(clip)
    assert again.reference_pose is not None and len(again.reference_pose.points_TPJC) == 2


def test_rows_number_motions_where_no_column_does(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack.npz", motions(2))
    write_rows(tmp_path / "train.tsv", "text", ["One.", "Two."])
    clips = source(tmp_path, motions=str(tmp_path / "pack.npz")).list_clips("train")
    assert [(clip.id, clip.media) for clip in clips] == [
        (f"pack#{n}", f"pack.npz#{n}") for n in (0, 1)
    ]


def test_columns_have_other_names(tmp_path: Path) -> None:
    write_pack(tmp_path / "train.npz", motions(2))
    write_rows(
        tmp_path / "train.tsv",
        "id motion_type caption camera",
        ["7_x Jab Up. 1", "8_y Cross No. 2"],
    )
    changes = {
        "columns": {"gloss": "motion_type", "text": "caption"},
        "signer_pattern": "^([^ ]+) ",
    }
    clips = source(tmp_path, **changes, ignore_columns=["camera"]).list_clips("train")
    assert [(c.gloss, c.signer, c.texts) for c in clips] == [
        ("Jab", "7", ("Up.",)),
        ("Cross", "8", ("No.",)),
    ]
    with pytest.raises(SourceError, match="`camera` is unknown"):
        source(tmp_path, **changes).list_clips("train")


def test_a_row_without_a_text_may_be_compared_with(tmp_path: Path) -> None:
    """Its id is not taken for the number of a motion, and its segment counts."""
    stored = motions(5)
    write_pack(tmp_path / "train.npz", stored)
    write_rows(
        tmp_path / "train.tsv", "id index start text reference", ["a 0 0 Up. 3", "3 4 1 - -"]
    )
    made = source(tmp_path)
    (clip,) = made.list_clips("train")
    found = made.read(clip).reference_pose
    assert found is not None
    np.testing.assert_array_equal(found.points_TPJC[:, 0], stored[4][1:])
    assert [(problem.clip_id, problem.reason) for problem in made.check_clips()] == [
        ("3", "empty_text")
    ]


def test_one_changed_motion_is_one_changed_clip_and_those_compared_with_it(corpus: Path) -> None:
    made = source(corpus)
    clips = made.list_clips("train")
    before = made.compute_digests(clips)
    stored = motions(5)
    stored[4][:] = 0  # nobody's
    stored[1][2:] = 0  # outside of its clip's segment
    write_pack(corpus / "train.npz", stored)
    assert made.compute_digests(clips) == before
    stored[1][0, 0, 0] += 1
    write_pack(corpus / "train.npz", stored)
    after = made.compute_digests(clips)
    assert [clip.id for clip in clips if before[clip] != after[clip]] == ["a1", "b1"]


def test_all_faults_at_once(tmp_path: Path) -> None:
    rows = ["a -1 0 Up.", "b 1 x Up.", "b 2 0 Up.", "c 3 0 -"]
    write_rows(tmp_path / "train.tsv", "id index start text", rows)
    with pytest.raises(SourceError) as caught:
        source(tmp_path).list_clips("train")
    text = str(caught.value)
    assert text.startswith("2 problems")
    assert "train.tsv:2  `index` must be" in text and "train.tsv:3  `start` must be" in text
    write_rows(tmp_path / "train.tsv", "id index start text", ["b 1 0 Up.", "b 2 0 Up.", "c 3 0 -"])
    with pytest.raises(SourceError, match=r"id `b` is already used by train\.tsv:2"):
        source(tmp_path).list_clips("train")
    write_rows(tmp_path / "train.tsv", "id index start end text", ["b 1 2 1 Up.", "c 3 0 0 -"])
    assert [p.reason for p in source(tmp_path).list_invalid_rows()] == ["empty_span", "empty_text"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id text singer", "did you mean `signer`"),
        ("id signer", "no column of texts"),
        ("id text text", "second column"),
        ("id text index motion", "`index` numbers motions"),
        ("text motion caption", "`caption` is unknown"),
    ],
)
def test_headers(tmp_path: Path, header: str, words: str) -> None:
    write_rows(tmp_path / "train.tsv", header, [" ".join("x" for _ in header.split())])
    with pytest.raises(SourceError, match=words):
        source(tmp_path).list_clips("train")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"signer_pattern": "("}, "not a valid regular expression"),
        ({"signer_pattern": "^a"}, "needs a group"),
        ({"columns": {"glos": "x"}}, "did you mean `gloss`"),
        ({"columns": {"gloss": "x", "signer": "x"}}, "twice"),
        ({"fps": None}, "fps"),
        ({"skeleton": "smpl_52"}, "did you mean `smpl_2"),
    ],
)
def test_settings(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(tmp_path, **changes)


def test_a_mapped_column_must_be_there(corpus: Path) -> None:
    with pytest.raises(SourceError, match=r"`source\.columns\.gloss` names; did you mean `signer`"):
        source(corpus, columns={"gloss": "signe"}).list_clips("train")
