"""Real How2Sign films cropped around their signer, by the poses beside them.

The four shortest films have 110 frames; the long form takes all eight, 434 frames.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from frames import frames_recipe
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment
from kinesweep.features import build_features
from kinesweep.pipelines.corpus_check import check_corpus
from kinesweep.sources.pose_format.pose_file import read_frame_size, read_pose
from kinesweep.sources.video.frame_reader import FrameReader
from kinesweep.store.extraction.build import extract_locally

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("KINESWEEP_REAL_DATA", ROOT.parent / "shared" / "data")).absolute()
CLIPS = DATA / "how2sign-clips"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CLIPS / "video").is_dir(), reason=f"no real data in {DATA}"),
]
LEGS = range(23, 33)
"""Hips and legs among the 33 points of MediaPipe's body."""


def films(count: int) -> list[Path]:
    """The shortest films, each with a `.pose` file of its name."""
    found = sorted((CLIPS / "video").glob("*.mp4"), key=lambda path: path.stat().st_size)
    assert len(found) == 8
    return found[:count]


@pytest.mark.parametrize("count", [4, pytest.param(8, marks=pytest.mark.proof)])
def test_the_square_holds_the_signer_and_equals_one_by_hand(count: int) -> None:
    shares, sides = [], []
    for film in films(count):
        path = CLIPS / "pose" / f"{film.stem}.pose"
        segment = VideoSegment(film, Span(), None, path)
        reader = FrameReader(segment, None)
        pose = read_pose(path)
        width, height = read_frame_size(path)
        points = pose.points_TPJC[:, 0, :, :2] * (reader.width / width, reader.height / height)
        num_image_points = pose.layout.num_points - 33  # the last component is in meters
        kept = [index for index in range(num_image_points) if index not in LEGS]
        found = pose.confidence_TPJ[:, 0, kept] > 0
        points = points[:, kept].clip(0, (reader.width, reader.height))
        # By hand: quantiles of the edges of all frames, a tenth more on each side, a square.
        lows = np.array([row[mask].min(0) for row, mask in zip(points, found, strict=True)])
        highs = np.array([row[mask].max(0) for row, mask in zip(points, found, strict=True)])
        low, high = np.quantile(lows, 0.05, axis=0), np.quantile(highs, 0.95, axis=0)
        extent = 1.2 * (high - low)
        side = int(extent.max() + 0.5)
        corner = np.floor((low + high) / 2 - side / 2 + 0.5).astype(int)
        config = FramesFeaturesConfig(kind="frames", size=side, target_fps=reader.fps, crop={})
        frames = build_features(config).compute_features(segment)["video"].x_TD
        first = next(iter(reader))
        wide = np.pad(first, ((side, side), (side, side), (0, 0)))
        left, top = corner + side
        np.testing.assert_array_equal(
            frames[0].reshape(side, side, 3), wide[top : top + side, left : left + side]
        )
        inside = ((points >= corner) & (points <= corner + side)).all(axis=2)[found]
        shares.append(float(inside.mean()))
        sides.append(side / min(reader.width, reader.height))
    print(f"inside: {min(shares):.4f} … {max(shares):.4f}; side: {min(sides):.2f}…{max(sides):.2f}")
    assert min(shares) > 0.99


def test_extraction_and_check_agree(tmp_path: Path) -> None:
    names = [film.name for film in films(2)]
    for split in ("train", "validation"):
        rows = [f"{split}{n}\t{name}\tHi." for n, name in enumerate(names)]
        (tmp_path / f"{split}.tsv").write_text("id\tsignal\toutput\n" + "\n".join(rows) + "\n")
    source = {"root": str(CLIPS / "video"), "poses": str(CLIPS / "pose")}
    features = {"crop": {"movement": "smoothed"}, "size": 64}
    recipe = frames_recipe(tmp_path, tmp_path / "stores", source=source, features=features)
    assert not check_corpus(recipe).problems
    store = extract_locally(recipe)
    assert store.manifest["dropped"]["total"] == 0
    for record in store.get_records("train"):
        assert store.get_features(record)["video"].std() > 10
