"""`source.third`: the meaning of the third value of a point in arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig, SkeletonsConfig
from kinesweep.features.skeleton import SkeletonFeatures
from kinesweep.sources.skeletons.skeletons import SkeletonsSource


def source_of(folder: Path, x: Any, **config: Any) -> SkeletonsSource:
    np.save(folder / "a.npy", x)
    (folder / "train.tsv").write_text("motion\ttext\na.npy\tA text.\n")
    settings = {"kind": "skeletons", "fps": 20, "train": str(folder / "train.tsv")}
    return SkeletonsSource(
        SkeletonsConfig.model_validate({**settings, "skeleton": "coco_17", **config})
    )


def motion(frames: int = 6) -> Any:
    x_TJC = np.random.default_rng(0).uniform(10, 90, (frames, 17, 3)).astype(np.float32)
    x_TJC[..., 2] = np.linspace(0.2, 1.0, 17)
    return x_TJC


def test_points_with_confidence_0_are_not_detected(tmp_path: Path) -> None:
    x_TJC = motion()
    x_TJC[2, 5] = 400, 400, 0
    source = source_of(tmp_path, x_TJC, third="confidence")
    media = source.read(source.list_clips("train")[0])
    assert media.pose.confidence_TPJ[2, 0, 5] == 0 and (media.pose.confidence_TPJ > 0).sum() == 101
    step = SkeletonFeatures(SkeletonFeaturesConfig.model_validate({"kind": "skeleton"}))
    features = step.compute_features(media)["pose"].x_TD.reshape(6, 17, 2)
    assert (features[2, 5] == 0).all() and (features[1, 5] != 0).all()


def test_coordinates_of_points_that_were_not_found_may_be_anything(tmp_path: Path) -> None:
    x_TJC = motion()
    x_TJC[0, 3] = np.nan, np.inf, 0
    source = source_of(tmp_path, x_TJC, third="confidence")
    assert source.check_clips() == []
    x_TJC[0, 3, 2] = 0.5
    (row,) = source_of(tmp_path, x_TJC, third="confidence").check_clips()
    assert row.reason == "nan_frames"


@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf])
def test_a_third_value_that_is_no_confidence_is_refused(tmp_path: Path, value: float) -> None:
    x_TJC = motion()
    x_TJC[1, 1, 2] = value
    (row,) = source_of(tmp_path, x_TJC, third="confidence").check_clips()
    assert row.reason == "bad_confidence" and "`source.third`" in row.message


def test_two_values_have_no_third(tmp_path: Path) -> None:
    (row,) = source_of(tmp_path, motion()[..., :2], third="confidence").check_clips()
    assert row.reason == "no_confidence"
    assert source_of(tmp_path, motion()[..., :2]).check_clips() == []


@pytest.mark.parametrize(("third", "num_dims"), [("z", 3), ("none", 2)])
def test_without_confidences_every_point_counts(tmp_path: Path, third: str, num_dims: int) -> None:
    source = source_of(tmp_path, motion(), third=third)
    pose = source.read(source.list_clips("train")[0]).pose
    assert pose.points_TPJC.shape == (6, 1, 17, num_dims)
    assert (pose.confidence_TPJ == 1).all() and not pose.has_confidence


def test_only_a_changed_meaning_changes_the_fingerprint(tmp_path: Path) -> None:
    options = {"source": "skeletons", "fps": 20, "skeleton": "coco_17"}
    assert source_of(tmp_path, motion()).get_read_options() == options
    assert source_of(tmp_path, motion(), third="z").get_read_options() == options
    changed = source_of(tmp_path, motion(), third="confidence").get_read_options()
    assert changed == {**options, "third": "confidence"}
