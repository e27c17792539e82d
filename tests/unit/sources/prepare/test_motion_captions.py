"""HumanML3D and KIT-ML: every caption line with its span, or a reason why it is no clip."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from captioned_motions import (
    TAIL,
    write_captioned_corpus,
    write_captions,
    write_lists,
    write_motion,
    write_walkers,
)
from kinesweep.cli import app
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig, SkeletonsConfig
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.core.errors import InputError
from kinesweep.features.skeleton_normalization import normalize_motion
from kinesweep.sources.precomputed.feature_tsv import FeatureTsvSource
from kinesweep.sources.prepare.motions import MotionSettings, prepare_motion_corpus
from kinesweep.sources.prepare.preparation_result import PreparationResult
from kinesweep.sources.skeletons.skeletons import SkeletonsSource

RATES = {"humanml3d": (20.0, 40), "kit_ml": (12.5, 24)}
Clips = dict[tuple[str, int, int], list[str]]


def prepare(root: Path, corpus: str = "humanml3d", **settings: Any) -> PreparationResult:
    settings = {"min_frames": 1, **settings}
    return prepare_motion_corpus(corpus, root, root / "out", MotionSettings(**settings), True)


def open_source(result: PreparationResult) -> SkeletonsSource:
    """The source that the printed keys describe."""
    tables = {split: str(path) for split, path in result.files.items()}
    plain = {"kind": result.source_kind, **result.source_options, **tables}
    return SkeletonsSource(SkeletonsConfig.model_validate(plain))


def read_dropped(root: Path) -> dict[str, str]:
    """Location of each dropped row and its reason."""
    path = root / "out" / "dropped.tsv"
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return {row.split("\t")[1]: row.split("\t")[2] for row in rows}


def texts_of(result: PreparationResult, split: str = "train") -> dict[str, tuple[str, ...]]:
    return {clip.id: clip.texts for clip in open_source(result).list_clips(split)}


def read_by_hand(root: Path, name: str, fps: float, shortest: int) -> Clips:
    """The clips of a motion as the published loaders find them: motion, first and last frame."""
    found: Clips = defaultdict(list)
    frames = len(np.load(root / "new_joints" / f"{name}.npy"))
    if not shortest <= frames < 200:
        return found
    for line in (root / "texts" / f"{name}.txt").read_text(encoding="utf-8-sig").split("\n"):
        match = re.fullmatch(r"(.*)#[^#]*#([^#]*)#([^#]*)", line.strip())
        if match is None:
            continue
        start, end = (0.0 if bound == "nan" else float(bound) for bound in match.groups()[1:])
        part = range(frames)
        if (start, end) != (0, 0):
            part = part[int(start * fps) : int(end * fps)]
        if shortest <= len(part) < 200 and match[1]:
            found[name, part[0], part[-1] + 1].append(match[1])
    return found


@pytest.mark.parametrize("corpus", ["humanml3d", "kit_ml"])
def test_every_line_is_in_the_clip_of_its_frames(corpus: str, tmp_path: Path) -> None:
    write_walkers(tmp_path, corpus)
    lists = {"train": "train", "validation": "val", "test": "test"}
    write_motion(tmp_path, "000020", 150, {"humanml3d": 22, "kit_ml": 21}[corpus])
    lines = [
        f"one#{TAIL}#0.0#0.0",
        f"two#{TAIL}#2.3#6.9",
        f"three#{TAIL}#2.3#6.9",
        f"four#{TAIL}#nan#nan",
        f"five#{TAIL}#4.35#99",
        f"six#{TAIL}#0.0#4.1",
        f"seven#{TAIL}#0.05#0.1",
    ]
    write_captions(tmp_path, "000020", lines)
    with (tmp_path / "train.txt").open("a") as file:
        file.write("000020\n")
    result = prepare(tmp_path, corpus, min_frames=None)
    source, (fps, shortest) = open_source(result), RATES[corpus]
    for split, name in lists.items():
        wanted: Clips = {}
        for motion in (tmp_path / f"{name}.txt").read_text().split():
            wanted |= read_by_hand(tmp_path, motion, fps, shortest)
        clips = {}
        for clip in source.list_clips(split):
            x_TJC = np.load(tmp_path / "new_joints" / clip.media)
            start, end = clip.span.to_frame_range(fps, len(x_TJC))
            clips[clip.media.removesuffix(".npy"), start, end] = list(clip.texts)
            assert np.array_equal(source.read(clip).pose.points_TPJC[:, 0], x_TJC[start:end])
            assert clip.document == clip.media.removesuffix(".npy").removeprefix("M")
        assert clips == wanted
    num_lines = sum(len(texts) for texts in read_by_hand(tmp_path, "000020", fps, 1).values())
    assert num_lines == 7 and read_dropped(tmp_path)["texts/000020.txt:7"] == "too_short"
    assert "1 captions end after their motion" in result.warnings[0]


@pytest.mark.parametrize(("corpus", "points"), [("humanml3d", 22), ("kit_ml", 21)])
def test_graph_encoders_know_the_skeleton(corpus: str, points: int, tmp_path: Path) -> None:
    source = open_source(prepare(write_walkers(tmp_path, corpus), corpus))
    pose = source.read(source.list_clips("train")[0]).pose
    config = SkeletonFeaturesConfig(kind="skeleton", scale="bone")
    motion = normalize_motion(pose, config)
    assert motion.x_TJC.shape == (60, points, 3) and motion.skeleton.num_points == points
    # One root, and the mirror image of the mirror image is the point itself.
    assert len(motion.skeleton.bones) == points - 1
    mirror = motion.skeleton.mirror
    assert [mirror[index] for index in mirror] == list(range(points)) != list(mirror)


def test_frames_of_times_by_hand(tmp_path: Path) -> None:
    lines = [f"{bounds}#{TAIL}#{bounds}" for bounds in ("0.0#1.25", "1.15#2.3", "2.0#90.0")]
    write_captioned_corpus(tmp_path, {"000001": lines})
    assert list(texts_of(prepare(tmp_path))) == ["000001@0-25", "000001@23-46", "000001@40-80"]
    write_captioned_corpus(tmp_path / "kit", {"00001": lines}, "kit_ml")
    kit = texts_of(prepare(tmp_path / "kit", "kit_ml"))
    assert list(kit) == ["00001@0-15", "00001@14-28", "00001@25-80"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("only a caption", "malformed_line"),
        (f"three#{TAIL}#0.0", "malformed_line"),
        (f"words#{TAIL}#now#later", "bad_time"),
        (f"negative#{TAIL}#-1#2", "bad_time"),
        (f"endless#{TAIL}#0#inf", "bad_time"),
        (f"no times#{TAIL}##", "bad_time"),
        (f"#{TAIL}#0.0#0.0", "empty_text"),
        (f"  #{TAIL}#0.0#0.0", "empty_text"),
        (f"backwards#{TAIL}#3.0#1.0", "end_before_start"),
        (f"no end#{TAIL}#1.0#0.0", "end_before_start"),
        (f"same#{TAIL}#1.0#1.0", "end_before_start"),
        (f"beyond#{TAIL}#4.0#9.0", "span_beyond_file"),
        (f"aeons#{TAIL}#1e308#1e308", "span_beyond_file"),
    ],
)
def test_a_line_without_a_clip_is_dropped_alone(line: str, reason: str, tmp_path: Path) -> None:
    write_captioned_corpus(tmp_path, {"000001": [f"before#{TAIL}#0#0", line, f"after#{TAIL}#0#0"]})
    result = prepare(tmp_path)
    assert texts_of(result) == {"000001": ("before", "after")}
    assert read_dropped(tmp_path) == {"texts/000001.txt:2": reason}
    assert result.dropped == {"train": {reason: 1}}


def test_an_end_after_all_time_is_cut_at_the_end_of_the_motion(tmp_path: Path) -> None:
    write_captioned_corpus(tmp_path, {"000001": [f"from here on#{TAIL}#1.0#1e308"]})
    assert list(texts_of(prepare(tmp_path))) == ["000001@20-80"]


def test_odd_files_of_captions(tmp_path: Path) -> None:
    write_captioned_corpus(tmp_path, {name: [] for name in tuple("12345678")})
    texts = tmp_path / "texts"
    crlf = f"\r\nnumber #1 # of 2#{TAIL}#0.0#0.0\r\n\r\n \r\nb\u2028c\ttab#{TAIL}# 0.0 #nan\r\n"
    (texts / "1.txt").write_bytes(b"\xef\xbb\xbf" + crlf.encode())
    (texts / "2.txt").write_bytes(b"bad \xff byte#a/DET#0#0\ncaf\xc3\xa9#a/DET#0#0")
    (texts / "3.txt").write_bytes(f"utf16#{TAIL}#0#0\n".encode("utf-16"))
    (texts / "4.txt").write_bytes(b"\n \n")
    (texts / "5.txt").write_bytes(b'"quoted" start#a//PUNCT  /X bare and/or/CCONJ#0#0\n')
    (texts / "6.txt").unlink()
    (texts / "7.txt").write_bytes(b"cr#a/DET#0#0\rmac#a/DET#0#0\r")
    (texts / "8.txt").write_bytes(b"nul\0#a/DET#0#0\nok#a/DET#0#0\n")
    result = prepare(tmp_path)
    assert texts_of(result) == {
        "1": ("number #1 # of 2", "b c tab"),
        "2": ("café",),
        "5": ('"quoted" start',),
        "7": ("cr", "mac"),
        "8": ("ok",),
    }
    assert read_dropped(tmp_path) == {
        "texts/2.txt:1": "unreadable_text",
        "texts/3.txt": "unreadable_text",
        "texts/8.txt:1": "unreadable_text",
        "train.txt:4": "no_captions",
    }
    missing = (tmp_path / "out/missing.tsv").read_text().splitlines()
    assert missing[1:] == ["train\t6\ttexts/6.txt"] and result.missing == {"train": 1}


def test_words_are_those_of_the_tokens(tmp_path: Path) -> None:
    lines = ["He walked - to the left!#he/PRON walk/VERB to/ADP left/NOUN#0#0", "No tail##0#0"]
    write_captioned_corpus(tmp_path, {"1": lines, "2": ["x#a//PUNCT /X bare and/or/CC#0#0"]})
    result = prepare(tmp_path, texts="words")
    assert texts_of(result) == {"1": ("he walk to left",), "2": ("a/ bare and/or",)}
    assert read_dropped(tmp_path) == {"texts/1.txt:2": "no_words"}


def test_odd_motions(tmp_path: Path) -> None:
    names = [
        *("short", "longest", "long", "single", "shape", "whole", "object", "text"),
        *("hole", "pack", "gone", "../up", ".", "x" * 201, "empty", "folder", "huge"),
    ]
    write_captioned_corpus(tmp_path, {name: [f"a#{TAIL}#0#0"] for name in names[:11]}, frames=50)
    write_lists(tmp_path, train=names)
    joints, rng = tmp_path / "new_joints", np.random.default_rng(0)
    x_TJC = rng.normal(size=(200, 22, 3))
    arrays = {
        "short": x_TJC[:39],
        "longest": x_TJC[:199].astype(np.float16),
        "long": x_TJC,
        "single": x_TJC[0],
        "shape": x_TJC[:50, :21],
        "whole": np.ones((50, 22, 3), np.int64),
        "hole": np.where(np.arange(100)[:, None, None] == 70, np.nan, x_TJC[:100]),
        "empty": x_TJC[:0],
        "huge": x_TJC[:50] * 1e39,
    }
    for name, x in arrays.items():
        np.save(joints / f"{name}.npy", x)
    np.save(joints / "object.npy", np.array([{}]), allow_pickle=True)
    (joints / "text.npy").write_text("no numbers")
    np.savez(joints / "pack", data=x_TJC)
    (joints / "pack.npz").rename(joints / "pack.npy")
    (joints / "gone.npy").unlink()
    (joints / "folder.npy").mkdir()
    for name in ("empty", "huge"):
        write_captions(tmp_path, name, [f"a#{TAIL}#0#0"])
    write_captions(tmp_path, "hole", [f"{b}#{TAIL}#{b}" for b in ("0#0", "0#3.5", "1#3.55", "4#9")])
    result = prepare(tmp_path, min_frames=None)
    assert set(texts_of(result)) == {"longest", "hole@0-70"}
    assert read_dropped(tmp_path) == {
        "train.txt:1": "too_short",
        "train.txt:3": "too_long",
        "train.txt:4": "too_short",
        "train.txt:5": "wrong_shape",
        "train.txt:6": "wrong_dtype",
        "train.txt:7": "pickled",
        "train.txt:8": "unreadable",
        "texts/hole.txt:1": "nan_frames",
        "texts/hole.txt:3": "nan_frames",
        "texts/hole.txt:4": "too_short",
        "train.txt:10": "wrong_shape",
        "train.txt:12": "bad_id",
        "train.txt:13": "bad_id",
        "train.txt:14": "bad_id",
        "train.txt:15": "too_short",
        # Its values are beyond the 32 bits that sources read.
        "texts/huge.txt:1": "nan_frames",
    }
    assert result.missing == {"train": 2}
    assert "single" in texts_of(prepare(tmp_path, min_frames=1, max_frames=10))


def test_a_motion_and_its_mirror_image_lie_in_one_split(tmp_path: Path) -> None:
    names = ["000001", "M000001", "000002", "M000002", "000003", "Marching", "M0a"]
    write_captioned_corpus(tmp_path, {name: [f"{name}#{TAIL}#0#0"] for name in names})
    lists = {
        "train": ["000001", "M000002", "000003", "000003", "Marching"],
        "val": ["M000001", "M0a", "000002"],
        "test": ["000002", "M000001"],
    }
    write_lists(tmp_path, **lists)
    result = prepare(tmp_path)
    assert list(texts_of(result)) == ["000003", "Marching"]
    assert list(texts_of(result, "validation")) == ["M0a"]
    assert list(texts_of(result, "test")) == ["000002", "M000001"]
    assert read_dropped(tmp_path) == {
        "train.txt:1": "other_split",
        "train.txt:2": "other_split",
        "train.txt:4": "duplicate",
        "val.txt:1": "other_split",
        "val.txt:3": "other_split",
    }
    assert "4 motions are listed in several splits" in result.warnings[0]
    single = prepare(tmp_path, mirrored=False)
    assert list(texts_of(single, "test")) == ["000002"]
    assert single.dropped["test"] == {"mirrored": 1}


def test_references_are_limited_where_texts_are_scored(tmp_path: Path) -> None:
    lines = [f"{number}#{TAIL}#0#0" for number in range(5)]
    write_captioned_corpus(tmp_path, {"1": lines, "2": lines[:2], "3": lines})
    write_lists(tmp_path, train=["1"], val=["2"], test=["3"])
    result = prepare(tmp_path, max_references=3)
    assert texts_of(result) == {"1": tuple("01234")}
    assert texts_of(result, "validation") == {"2": tuple("01")}
    assert texts_of(result, "test") == {"3": tuple("012")}
    assert texts_of(prepare(tmp_path), "test") == {"3": tuple("01234")}


@pytest.mark.parametrize("corpus", ["humanml3d", "kit_ml"])
def test_feature_vectors(corpus: str, tmp_path: Path) -> None:
    write_walkers(tmp_path, corpus)
    result = prepare(tmp_path, corpus, features="vecs")
    tables = {split: str(path) for split, path in result.files.items()}
    plain = {"kind": result.source_kind, **result.source_options, **tables}
    source = FeatureTsvSource(FeatureTsvConfig.model_validate(plain))
    by_split = {split: source.list_clips(split) for split in tables}
    joints = open_source(prepare(tmp_path, corpus))
    for split, clips in by_split.items():
        assert [(clip.id, clip.texts, clip.document) for clip in clips] == [
            (clip.id, clip.texts, clip.document) for clip in joints.list_clips(split)
        ]
        for clip in clips:
            x_TD = np.load(tmp_path / "new_joint_vecs" / clip.media)
            start, end = clip.span.to_frame_range(source.config.fps, len(x_TD))
            assert np.array_equal(source.read(clip).x_TD, x_TD[start:end])
            assert ("@" in clip.id) == ((start, end) != (0, len(x_TD)))


def test_folders_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        prepare(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no folder `new_joints`"):
        prepare(tmp_path)
    root = write_captioned_corpus(tmp_path, {"1": [f"a#{TAIL}#0#0"]})
    (root / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        prepare_motion_corpus("humanml3d", root, root / "file")
    with pytest.raises(InputError, match=r"file` is a file; give a folder .* not `.*/file/out`"):
        prepare_motion_corpus("humanml3d", root, root / "file" / "out")
    with pytest.raises(InputError, match="40, above `--max-frames`, which is 20"):
        prepare(root, min_frames=None, max_frames=20)
    with pytest.raises(InputError, match="`--max-references` must be at least 1"):
        prepare(root, max_references=0)
    with pytest.raises(InputError, match=r"1 wrong_shape; the first problem: .* \(80, 22, 3\)"):
        prepare(root, "kit_ml")
    prepare(root)
    with pytest.raises(InputError, match="`--overwrite`"):
        prepare_motion_corpus("humanml3d", root, root / "out")
    table = (root / "out" / "train.tsv").read_text()
    write_lists(root, train=["nowhere"])
    with pytest.raises(InputError, match=r"1 missing_file; looked for .*new_joints/nowhere.npy"):
        prepare(root)
    (root / "train.txt").write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(InputError, match=r"`.*train.txt` cannot be read: is UTF-16"):
        prepare(root)
    assert (root / "out" / "train.tsv").read_text() == table
    (root / "train.txt").write_text("\n")
    with pytest.raises(InputError, match=r"the lists of .* are empty"):
        prepare(root)
    (root / "train.txt").unlink()
    with pytest.raises(InputError, match=r"no list of ids; expected `train.txt`"):
        prepare(root)


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["prepare", *map(str, words)])
    return done.exit_code, done.output


def test_the_command_prints_the_keys_of_a_recipe(tmp_path: Path) -> None:
    root = write_walkers(tmp_path / "corpus", "kit_ml")
    code, output = run("kit_ml", root, tmp_path / "out", "--no-mirrored", "--texts", "words")
    assert code == 0 and "train: dropped 8 rows: 8 mirrored" in output
    keys = f"source.motions={root / 'new_joints'} source.skeleton=kit_ml_21 source.fps=12.5"
    assert f"source.kind=skeletons {keys}" in output
    assert "\ta person walk\t" in (tmp_path / "out/train.tsv").read_text()
    assert run("kit_ml", root, tmp_path / "out")[0] == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("humanml3d", "A"), "`humanml3d` takes FOLDER OUT"),
        (("humanml3d", "A", "B", "C"), "`humanml3d` takes FOLDER OUT"),
        (("humanml3d", "A", "B", "--media", "videos"), "not to `humanml3d` and `kit_ml`"),
        (("humanml3d", "A", "B", "--languages", "en"), "not to `humanml3d` and `kit_ml`"),
        (("generic", "A", "B", "C", "--min-frames", "3"), "`--min-frames` belongs to `humanml3d`"),
        (("generic", "A", "B", "C", "--no-mirrored"), "belongs to `humanml3d` and `kit_ml`"),
        (("how2sign", "A", "B", "C", "--features", "vecs"), "`--features` belongs to `humanml3d`"),
        (("humanml", "A", "B", "C"), "did you mean `humanml3d`?"),
        (("humanml3d", "A", "B"), "`A` is not a folder"),
        (("humanml3d", "A", "B", "--max-frames", "many"), "should be a valid integer"),
        (("humanml3d", "A", "B", "--texts", "tokens"), "'captions', 'words'"),
    ],
)
def test_wrong_commands(words: tuple[str, ...], problem: str) -> None:
    code, output = run(*words)
    assert code == 2 and problem in " ".join(output.replace("│", " ").split())
