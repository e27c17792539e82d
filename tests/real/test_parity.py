"""Pose features of real files: the published figures, pose-format's own chain, its speed."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pose_format import Pose
from pose_format.utils.generic import pose_hide_legs, reduce_holistic

from kinesweep.config.recipe.source import PoseFeaturesConfig, PoseTsvConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.features import build_features
from kinesweep.sources import build_source, read_pose
from kinesweep.sources.splitting.split_overlap import compute_overlaps

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / os.environ.get("KINESWEEP_REAL_DATA", "../shared/data")

pytestmark = pytest.mark.skipif(
    not (DATA / "pose-files").is_dir(), reason=f"no real data in {DATA} ($KINESWEEP_REAL_DATA)"
)

FILES = sorted(DATA.rglob("*.pose"))
STEP = build_features(PoseFeaturesConfig())


def name_of(path: Path) -> str:
    return path.stem


def their_chain(path: Path) -> NDArray[np.float32]:
    pose = reduce_holistic(pose_hide_legs(Pose.read(path.read_bytes()))).normalize()
    zeroed = pose.body.torch().zero_filled().data[:, 0]
    return np.asarray(zeroed.reshape(len(zeroed), -1).numpy())


def test_the_published_figures() -> None:
    folder = DATA / "pose-files" / "multimodalhugs"
    clips = [STEP(read_pose(folder / f"sample_0{number}.pose")) for number in (1, 2)]
    batch_BTD = np.zeros((2, 22, 534), np.float32)
    for row, features in enumerate(clips):
        batch_BTD[row, : len(features)] = features
    numbers = batch_BTD.astype(np.float64)
    assert numbers.mean() == pytest.approx(-0.13826458, abs=1e-7)
    assert numbers.std(ddof=1) == pytest.approx(0.27876493, abs=1e-7)
    assert numbers.min() == pytest.approx(-0.89541119, abs=1e-6)
    assert numbers.max() == pytest.approx(1.43342054, abs=1e-6)
    assert numbers.sum() == pytest.approx(-3248.665, abs=0.002)


OTHERS = {
    *("openpose", "example_example"),  # OpenPose, two dimensions
    *("mediapipe_hand_normalized", "mediapipe_long_hand_normalized"),  # one hand alone
    *("SbTU6uS4cc1tZpqCnE3g", "Ui9Nq58yYSgkJslO02za"),  # NaN with confidence 1
}
HOLISTIC_FILES = [path for path in FILES if path.stem not in OTHERS]


@pytest.mark.parametrize("path", HOLISTIC_FILES, ids=name_of)
def test_every_holistic_file_equals_pose_format(path: Path) -> None:
    ours, theirs = STEP(read_pose(path)), their_chain(path)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=3e-6)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_is_read_as_pose_format_reads_it(path: Path) -> None:
    theirs = Pose.read(path.read_bytes()).body
    try:
        ours = read_pose(path)
    except ClipError as error:  # hands that were not found, written as NaN with confidence 1
        found = np.isnan(theirs.data.data).any(-1) & (theirs.confidence > 0)
        assert error.reason == "nan_frames" and found.any()
        return
    np.testing.assert_array_equal(ours.points_TPJC, theirs.data.data)
    np.testing.assert_array_equal(ours.confidence_TPJ, theirs.confidence)
    assert ours.fps == pytest.approx(theirs.fps)


def test_all_seven_layouts_give_features() -> None:
    step = build_features(PoseFeaturesConfig(points="all", normalize="none"))
    widths = {}
    for path in FILES:
        try:
            pose = read_pose(path)
        except ClipError:
            # Frames 25 to 28 of this one have both hands.
            if path.stem != "SbTU6uS4cc1tZpqCnE3g":
                continue
            pose = read_pose(path, Span.from_frames(25, 29))
        widths[pose.layout.num_points] = step(pose).shape[1]
    assert widths == {586: 1758, 576: 1728, 553: 1659, 543: widths[543], 178: 534, 137: 274, 21: 63}
    assert widths[543] in (1629, 2172)  # one of these files has a depth besides x, y, z


LAYOUTS = {  # points → a file of theirs, and the frames in which no hand is NaN
    586: ("multimodalhugs/sample_01", None),
    576: ("pose/0ff215ef4f1f111e217e2cefee0adc77", None),
    553: ("pose-evaluation/SbTU6uS4cc1tZpqCnE3g", (25, 29)),
    543: ("datasets/25October_2010_Monday_tagesschau-17", None),
    178: ("pose/mediapipe", None),
    137: ("pose/openpose", None),
}


@pytest.mark.parametrize("num_points", LAYOUTS)
def test_every_layout_equals_pose_format(num_points: int) -> None:
    name, frames = LAYOUTS[num_points]
    path = DATA / "pose-files" / f"{name}.pose"
    theirs = pose_hide_legs(Pose.read(path.read_bytes()))
    assert sum(len(part.points) for part in theirs.header.components) == num_points
    if frames is not None:
        theirs.body = theirs.body[slice(*frames)]
    zeroed = theirs.normalize().body.torch().zero_filled().data[:, 0].numpy()
    ours = build_features(PoseFeaturesConfig(points="all"))(
        read_pose(path, Span.from_frames(*frames)) if frames else read_pose(path)
    )
    np.testing.assert_allclose(ours, zeroed.reshape(len(zeroed), -1), atol=1e-5)


def test_one_hand_alone_equals_pose_format() -> None:
    path = DATA / "pose-files" / "pose" / "mediapipe_hand_normalized.pose"
    step = build_features(PoseFeaturesConfig(points="all", normalize="none"))
    theirs = Pose.read(path.read_bytes()).body.torch().zero_filled().data[:, 0].numpy()
    ours = step(read_pose(path))
    assert ours.shape[1] == 63 and ours.any()
    # Where no hand was found theirs stays NaN although it is filled with zeros.
    np.testing.assert_array_equal(ours, np.nan_to_num(theirs.reshape(len(theirs), -1)))


def test_the_how2sign_clips_have_no_problem() -> None:
    folder = DATA / "how2sign-clips"
    paths = {split: str(folder / f"{split}.tsv") for split in ("train", "validation", "test")}
    source = build_source(PoseTsvConfig(**paths))
    assert [len(source.list_clips(split)) for split in source.list_splits()] == [21, 2, 3]
    assert source.check_clips() == []
    for split in source.list_splits():
        for clip in source.list_clips(split):
            assert STEP(source.read(clip)).shape[1] == 534


def test_phoenix_has_25_validation_sentences_in_train(tmp_path: Path) -> None:
    paths = {}
    for split, name in (("train", "train"), ("validation", "dev")):
        texts = (DATA / "phoenix-text" / f"phoenix2014T.{name}.de").read_text(encoding="utf-8")
        lines = ["id\tsignal\toutput"]
        lines += [f"{name}{n}\tx.pose\t{t}" for n, t in enumerate(texts.strip().split("\n"))]
        paths[split] = str(tmp_path / f"{split}.tsv")
        Path(paths[split]).write_text("\n".join(lines), encoding="utf-8")
    sentences, _ = compute_overlaps(build_source(PoseTsvConfig(**paths))).overlaps
    assert (sentences.num_clips, sentences.of_clips) == (25, 519)


def test_three_times_as_fast_as_pose_format() -> None:
    """Reading included, one thread, best of five each, by turns."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    files = sorted((DATA / "how2sign-clips" / "pose").glob("*.pose"))
    ours, theirs = [], []
    for _ in range(5):
        start = time.perf_counter()
        for path in files:
            STEP(read_pose(path))
        middle = time.perf_counter()
        for path in files:
            their_chain(path)
        ours.append(middle - start)
        theirs.append(time.perf_counter() - middle)
    ratio = min(theirs) / min(ours)
    print(f"{1000 * min(ours) / len(files):.2f} ms a clip, {ratio:.1f} times as fast")
    assert ratio >= 3
