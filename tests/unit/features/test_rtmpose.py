"""RTMPose with tiny ONNX models: points in pixels, missing people, models of other kinds."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import tiny_recipe
from environments import cached_environment, imports
from joints import write_frames
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.pose import PoseFeaturesConfig
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.config.recipe.sources.estimated_points import check_estimated_points
from kinesweep.config.recipe.sources.estimators import EstimatorFile
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.features.estimators.rtmpose import (
    RTMPOSE_REQUIREMENTS,
    Rtmpose,
    _build_pose,
    _check_detector_outputs,
    _count_classes,
)
from kinesweep.features.estimators.smpl.configured import build_estimator_spec
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.features.estimators.virtualenv import BASE_REQUIREMENTS, get_environment_python
from kinesweep.features.pose import PoseFeatures
from kinesweep.sources.pose_format.pose_file import read_pose
from onnx_models import BINS, POSE_SIZE, write_detector, write_pose_model


def make_spec(section: dict[str, Any]) -> EstimatorSpec:
    values = {"estimator": {"kind": "rtmpose", **section}}
    return build_estimator_spec(validate_config(EstimatorFile, values, "test").estimator)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Any]:
    box = (8, 8, 32, 40)
    return {
        "detector": str(write_detector(tmp_path / "detector.onnx", box)),
        "pose": str(write_pose_model(tmp_path / "pose.onnx")),
    }


def test_files_identify_the_estimator_and_folders_do_not(
    models: dict[str, Any], tmp_path: Path
) -> None:
    spec = make_spec(models)
    assert (spec.name, spec.requirements) == ("rtmpose", RTMPOSE_REQUIREMENTS)
    assert find_estimator("rtmpose").requirements == RTMPOSE_REQUIREMENTS
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    copies = {
        key: str(shutil.copy(path, moved / f"model-{key}.onnx")) for key, path in models.items()
    }
    assert make_spec(copies).fingerprint == spec.fingerprint
    assert make_spec({**models, "people": 2}).fingerprint != spec.fingerprint
    write_pose_model(Path(copies["pose"]), unsure=6)
    assert make_spec(copies).fingerprint != spec.fingerprint
    with pytest.raises(InputError, match=r"needs `.*none.onnx`, which does not exist"):
        make_spec({**models, "pose": "none.onnx"})
    with pytest.raises(ConfigError, match=r"mode.*'lightweight', 'balanced' or 'performance'"):
        make_spec({"mode": "best"})
    assert make_spec({"python": "python3", **models}).requirements == ()


def test_a_recipe_names_one_estimator_for_its_videos(tmp_path: Path) -> None:
    source = {"estimator": {"kind": "rtmpose"}, "videos": "films", "root": "poses"}
    recipe = tiny_recipe(tmp_path, tmp_path, source=source, features={"points": "uni_sign_69"})
    assert recipe.source.estimator.kind == "rtmpose"
    with pytest.raises(ConfigError, match="`estimator` needs `videos`"):
        tiny_recipe(tmp_path, tmp_path, source={**source, "videos": None})
    with pytest.raises(ConfigError, match=r"`features.estimator` .mediapipe. both name"):
        tiny_recipe(tmp_path, tmp_path, source=source, features={"estimator": "mediapipe"})


@pytest.mark.parametrize(
    ("estimator", "features", "said"),
    [
        ({"kind": "rtmpose"}, {}, "`features.points` is holistic_178, but .* rtmpose, writes COCO"),
        ({"kind": "rtmpose"}, {"points": "youtube_asl_85"}, "set it to uni_sign_69 or all"),
        ({"kind": "plugin", "name": "rtmpose"}, {}, "rtmpose, writes COCO-WholeBody"),
        ({"kind": "hybrik", "folder": "h"}, {"points": "uni_sign_69"}, "joints of SMPL; .* to all"),
        (
            None,
            {"points": "uni_sign_69"},
            "mediapipe, writes MediaPipe Holistic; .* or use another",
        ),
    ],
)
def test_points_that_the_estimator_does_not_write_are_refused(
    estimator: dict[str, Any] | None, features: dict[str, Any], said: str, tmp_path: Path
) -> None:
    source = {"estimator": estimator, "videos": "films", "root": "poses"}
    with pytest.raises(ConfigError, match=said):
        tiny_recipe(tmp_path, tmp_path, source=source, features=features)
    # Any estimator serves all of its points, and one of another package may write anything.
    other = {"kind": "plugin", "name": "of_a_package"}
    tiny_recipe(tmp_path, tmp_path, source={**source, "estimator": other}, features=features)
    tiny_recipe(tmp_path, tmp_path, source=source, features={"points": "all"})
    # Poses that exist already may come from anywhere.
    kept = {"root": "poses", "videos": None, "estimator": None}
    tiny_recipe(tmp_path, tmp_path, source=kept, features=features)


def test_features_of_another_package_are_not_checked() -> None:
    corpus = PoseTsvConfig(train="a.tsv", videos="films", root="poses")
    check_estimated_points(corpus, SkeletonFeaturesConfig(kind="skeleton"))


def test_motions_of_videos_have_the_points_of_their_estimator(tmp_path: Path) -> None:
    source = {"videos": "films", "motions": "m", "fps": 25, "estimator": {"kind": "rtmpose"}}
    values = tiny_recipe(tmp_path, tmp_path).model_dump(mode="json")
    values |= {"features": {"kind": "skeleton"}}
    values["source"] = {"kind": "skeletons", "train": "a.tsv", "skeleton": "smpl_22", **source}
    with pytest.raises(ConfigError, match=r"but `source.skeleton` is smpl_22; set it to coco_"):
        validate_config(Recipe, values, "test")
    values["source"]["skeleton"] = "rtmpose_133"
    validate_config(Recipe, values, "test")


class Tool:
    """A detector of rtmlib, as far as its outputs are checked."""

    def __init__(self, *shape: object, found: Any = ()) -> None:
        self.session, self.model_input_size, self.det_mode = self, (640, 640), "human"
        self.shape, self.found = list(shape), found

    def get_outputs(self) -> list["Tool"]:
        return [self]

    def __call__(self, image: object) -> Any:
        return self.found


@pytest.mark.parametrize(
    ("shape", "num_classes"),
    [
        ((1, 100, 5), 0),
        ((1, "boxes", 5), 0),
        (("n", "boxes", "values"), 0),
        ((), 0),
        ((1, 8400, 85), 80),
        ((1, 8400, 6), 1),
        ((1, 133, 96), None),
        ((1, 100, 4), None),
        ((1, 1000), None),
    ],
)
def test_a_detector_returns_boxes(shape: tuple[object, ...], num_classes: int | None) -> None:
    if num_classes is None:
        with pytest.raises(RuntimeError, match=r"`detector` returns .*; YOLOX returns boxes"):
            _check_detector_outputs(Tool(*shape))
    else:
        _check_detector_outputs(Tool(*shape))
        assert _count_classes(Tool(*shape)) == num_classes


def test_boxes_of_other_things_are_not_followed() -> None:
    estimator = object.__new__(Rtmpose)
    boxes = [[0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 7, 7]]
    estimator._detector = Tool(1, 8400, 85, found=(boxes, [56, 0, 16]))
    estimator._detector.det_mode = "multiclass"
    assert estimator._find_people(np.zeros((4, 4, 3), np.uint8)).tolist() == [[1, 1, 5, 5]]
    estimator._detector.found = (np.array([]), np.array([]))
    assert estimator._find_people(np.zeros((4, 4, 3), np.uint8)).shape == (0, 4)


def test_points_below_the_least_score_are_missing(models: dict[str, Any]) -> None:
    pytest.importorskip("pose_format")
    scores = np.full(133, 0.9)
    scores[:4] = 0.3, 0.31, np.nan, -0.1
    found: list[list[tuple[Any, Any] | None]] = [[(np.ones((133, 2)), scores)]]
    pose = _build_pose(found, 25.0, (64, 48), 0.3)
    assert (np.asarray(pose.body.confidence)[0, 0, :4] > 0).tolist() == [False, True, False, False]
    pose = _build_pose(found, 25.0, (64, 48), 0.0)
    assert (np.asarray(pose.body.confidence)[0, 0, :4] > 0).tolist() == [True, True, False, False]
    # The default leaves poses of earlier versions valid.
    settings = make_spec(models).identity["settings"]
    assert "min_score" not in settings
    assert make_spec({**models, "min_score": 0.3}).identity["settings"]["min_score"] == 0.3


@pytest.fixture(scope="module")
def environment() -> Path:
    """An environment with rtmlib as the package makes it, kept between runs."""
    spec = find_estimator("rtmpose")

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KINESWEEP_HOME", str(folder))
            get_environment_python(spec.name, spec.requirements)

    def works(folder: Path) -> bool:
        made = [path.parent for path in folder.glob("environments/*/ready.json")]
        return bool(made) and imports(made[0] / "bin/python", ["rtmlib", "pose_format", "av"])

    return cached_environment(spec.name, [*BASE_REQUIREMENTS, *spec.requirements], make, works)


@pytest.fixture
def home(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINESWEEP_HOME", str(environment))
    return environment


def make_film(folder: Path) -> Path:
    """Five frames of 128 × 96; nobody is in the second, which is red, and the last, which is black.

    The detector sees people where the channel is bright that OpenCV has first, blue.
    """
    frames = np.zeros((5, 96, 128, 3), np.uint8)
    frames[[0, 2, 3], :, :, 2] = 120
    frames[1, :, :, 0] = 120
    write_frames(folder / "film", frames)
    return folder / "film"


@pytest.mark.slow
def test_points_are_in_pixels_of_the_film(
    home: Path, models: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "film.pose"
    with EstimatorProcess(make_spec(models)) as estimate:
        made = estimate(make_film(tmp_path), output, 25.0)
        again = estimate(tmp_path / "film", tmp_path / "again.pose", 25.0)
    assert (made["frames"], made["points"]) == (5, 133)
    assert again["frames"] == 5 and output.read_bytes() == (tmp_path / "again.pose").read_bytes()
    pose = read_pose(output)
    found_TJ = pose.confidence_TPJ[:, 0] > 0
    wanted_TJ = np.ones((5, 133), bool)
    wanted_TJ[[1, 4]], wanted_TJ[:, 5] = False, False
    np.testing.assert_array_equal(found_TJ, wanted_TJ)
    # The film is twice as large as the detector's image: the box is 48 × 64 pixels from (16, 16).
    # RTMPose pads it by a quarter, to 60 × 80 around (40, 48), which its image of 48 × 64 shows.
    index = np.arange(133)
    bins_JC = np.stack([index * 7 % BINS[0], index * 11 % BINS[1]], axis=1)
    wanted_JC = bins_JC / 2 / POSE_SIZE * (60, 80) + (40 - 30, 48 - 40)
    points_JC = pose.points_TPJC[0, 0]
    np.testing.assert_allclose(points_JC[found_TJ[0]], wanted_JC[found_TJ[0]], atol=1e-3)
    np.testing.assert_allclose(
        pose.confidence_TPJ[0, 0][found_TJ[0]], (0.4 + index / 1000)[found_TJ[0]], atol=1e-6
    )
    assert pose.frame_size == (128, 96)
    assert pose.layout.num_points == 133 and len(pose.layout.components) > 3
    features = PoseFeatures(PoseFeaturesConfig(points="uni_sign_69")).compute_features(pose)["pose"]
    assert features.x_TD.shape == (5, 69 * 3) and not features.x_TD[1].any()


@pytest.mark.slow
def test_models_of_other_kinds_are_named(
    home: Path, models: dict[str, Any], tmp_path: Path
) -> None:
    film = make_film(tmp_path)
    body = str(write_pose_model(tmp_path / "body.onnx", num_points=17))
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    for changes, said in (
        ({"pose": body}, "returns .*17.*RTMPose of the whole body returns two arrays"),
        ({"pose": models["detector"]}, "RTMPose of the whole body returns two arrays"),
        ({"detector": models["pose"]}, "`detector` returns .*; YOLOX returns boxes"),
        ({"detector": str(text)}, "`text.onnx` cannot be used; give `detector` and `pose`"),
    ):
        spec = make_spec({**models, **changes})
        with EstimatorProcess(spec) as estimate, pytest.raises(Exception, match=said):
            estimate(film, tmp_path / "out.pose", 25.0)
