"""References brought to a clip's frames: each method's frames, speed, embeddings, fingerprints."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from kinesweep.config.recipe.alignment import AlignmentConfig
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.errors import CheckpointError, ClipError, InputError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.skeleton.skeleton import SKELETONS, SMPL_22
from kinesweep.features import build_features
from kinesweep.features.alignment import (
    apply_alignment,
    compute_alignment,
    compute_alignment_fingerprint,
)
from kinesweep.features.frame_embedder_io import write_embedder
from kinesweep.sources.base import SkeletonMotion

Frames = NDArray[np.float32]
METHODS = ("window", "dtw", "soft_dtw", "none")
STEPS = [
    ["aten.linear.default", [{"input": 0}, {"weight": "matrix"}], {}],
    ["aten.linalg_vector_norm.default", [{"step": 0}, 2.0, [1], True], {}],
    ["aten.div.Tensor", [{"step": 0}, {"step": 1}], {}],
]
"""Frames times a matrix, to length 1."""


def align(x_TD: Frames, r_RD: Frames, config: AlignmentConfig) -> Frames:
    """The reference at the clip's frames, all of it found."""
    return apply_alignment(
        compute_alignment(x_TD, r_RD, config), r_RD, np.ones(r_RD.shape, np.bool_)
    )[0]


def config(method: str, **more: object) -> AlignmentConfig:
    return AlignmentConfig.model_validate({"method": method, **more})


def column(*values: float) -> Frames:
    return np.array(values, np.float32)[:, None]


def path_of(frames: int) -> Frames:
    """Frames that are all apart, in order."""
    return np.random.default_rng(0).normal(size=(frames, 66)).astype(np.float32).cumsum(axis=0)


def embedder(folder: Path, seen: list[int], width: int = 66, **described: object) -> str:
    """One that sees some values of a frame alone, with a constant so that lengths count."""
    matrix = torch.zeros(len(seen), width)
    matrix[range(len(seen)), seen] = 1
    plain = {"stream": "pose", "width": width, "size": len(seen), "layout": None, "score": {}}
    write_embedder(folder, {**plain, **described}, STEPS, {"matrix": matrix})
    return str(folder)


def motion(x_TJC: Frames, fps: float = 20.0) -> PoseSequence:
    ones_TPJ = np.ones((len(x_TJC), 1, x_TJC.shape[1]), np.float32)
    return PoseSequence(x_TJC[:, None].astype(np.float32), ones_TPJ, fps, SMPL_22.layout)


def body(frames: int, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).normal(size=(frames, 22, 3)).astype(np.float32)


def features(**more: object) -> SkeletonFeaturesConfig:
    return SkeletonFeaturesConfig.model_validate({"kind": "skeleton", **more})


def test_a_window_moves_as_a_whole_and_its_ends_are_held() -> None:
    r_RD = column(0, 1, 2, 3, 4)
    assert align(column(2, 3), r_RD, config("window"))[:, 0].tolist() == [2, 3]
    x_TD = column(9, 9, 0.1, 1.1, 2, 9, 9)
    found = align(x_TD, column(0, 1, 2), config("window"))[:, 0].tolist()
    assert found == [0, 0, 0, 1, 2, 2, 2]


def test_another_speed_is_undone_by_dtw() -> None:
    r_RD = path_of(40)
    for x_TD in (r_RD[::2], np.repeat(r_RD, 3, axis=0), r_RD):
        np.testing.assert_array_equal(align(x_TD, r_RD, config("dtw")), x_TD)
    softly = align(r_RD[::2], r_RD, config("soft_dtw", gamma=1e-4))
    # Every second frame of the reference lies between two of the clip and weighs a little.
    assert np.abs(softly - r_RD[::2]).mean() < 0.5 * np.abs(r_RD[1:] - r_RD[:-1]).mean()


def test_of_several_frames_the_nearest_is_taken_and_of_equal_ones_the_first() -> None:
    assert align(column(5), column(1, 4, 6, 5.5), config("dtw"))[:, 0].tolist() == [5.5]
    assert align(column(5), column(1, 4, 6, 9), config("dtw"))[:, 0].tolist() == [4]


def test_a_soft_alignment_is_a_weighted_mean() -> None:
    x_TD, r_RD = path_of(12)[3:], path_of(12)[::-1].copy()
    wide, narrow = (align(x_TD, r_RD, config("soft_dtw", gamma=g)) for g in (1e6, 1e-5))
    hard = align(x_TD, r_RD, config("dtw"))
    assert np.abs(narrow - hard).mean() < np.abs(wide - hard).mean()
    assert wide.min() >= r_RD.min() and wide.max() <= r_RD.max()
    still = align(column(1, 1, 1), column(1, 1), config("soft_dtw"))
    assert still[:, 0].tolist() == [1, 1, 1]
    scaled = align(x_TD * 100, r_RD * 100, config("soft_dtw"))
    np.testing.assert_allclose(scaled / 100, align(x_TD, r_RD, config("soft_dtw")), atol=1e-4)


def test_none_stretches_evenly() -> None:
    assert align(column(*range(5)), column(0, 2, 4), config("none"))[:, 0].tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert align(column(7), column(3, 4), config("none"))[:, 0].tolist() == [3]
    assert align(column(7, 7), column(3), config("none"))[:, 0].tolist() == [3, 3]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("frames", "others"), [(1, 1), (1, 9), (9, 1), (7, 12), (12, 7)])
def test_as_many_frames_as_the_clip(method: str, frames: int, others: int) -> None:
    found = align(path_of(frames), path_of(others), config(method))
    assert found.shape == (frames, 66) and found.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
def test_a_hundred_pairs_take_less_than_a_second(method: str) -> None:
    rng = np.random.default_rng(0)
    some = rng.normal(size=(100, 2, 100, 66)).astype(np.float32)
    begin = time.process_time()
    for x_TD, r_RD in some:
        align(x_TD, r_RD, config(method))
    # Measured: 0.01 to 0.45 s. A double loop in Python takes 1 s and, softly, 10 s.
    assert time.process_time() - begin < 1.5


def test_embeddings_are_compared_and_frames_given(tmp_path: Path) -> None:
    x_TD, r_RD = np.zeros((3, 66), np.float32), np.ones((3, 66), np.float32)
    x_TD[:, :2], r_RD[:, :2] = [[1, 0], [0, 1], [0, 1]], [[5, 0], [5, 0.1], [0, 5]]
    r_RD[:, 9] = [10, 11, 12]
    folder = embedder(tmp_path / "e", [0, 1])
    found = align(x_TD, r_RD, config("dtw", on="embeddings", embedder=folder))
    assert found[:, 9].tolist() == [10, 12, 12]
    embedder(tmp_path / "e", [1, 0, 9])  # another in its place is read anew
    found = align(x_TD, r_RD, config("dtw", on="embeddings", embedder=folder))
    assert found[:, 9].tolist() != [10, 12, 12]


def test_fingerprints_name_networks_not_places(tmp_path: Path) -> None:
    one, moved = (embedder(tmp_path / name, [0, 1]) for name in ("one", "moved"))
    other = embedder(tmp_path / "other", [0, 2])
    found = [
        compute_alignment_fingerprint(config("dtw", on="embeddings", embedder=folder))
        for folder in (one, moved, other)
    ]
    assert found[0] == found[1] != found[2]
    methods = {compute_alignment_fingerprint(config(method)) for method in METHODS}
    assert len({*methods, *found}) == 6
    soft = [config("soft_dtw", gamma=gamma) for gamma in (None, 0.01, 0.02)]
    found = [compute_alignment_fingerprint(one) for one in soft]
    assert found[0] == found[1] != found[2]
    with pytest.raises(CheckpointError, match="does not contain an embedder"):
        compute_alignment_fingerprint(config("dtw", on="embeddings", embedder=str(tmp_path)))


def test_an_embedder_of_other_frames_is_refused(tmp_path: Path) -> None:
    trained = {"features": {"kind": "skeleton", "centre": "each", "scale": "none"}}
    folder = embedder(tmp_path / "e", [0, 1], recipe=trained)
    reference = {"method": "dtw", "on": "embeddings", "embedder": folder}
    assert build_features(features(centre="each", reference=reference)).fingerprint
    with pytest.raises(InputError, match=r"`features\.centre: each`, but the recipe has `first`"):
        _ = build_features(features(reference=reference)).fingerprint
    # Embedders of earlier versions were trained on zeros, and a mask is not embedded.
    assert build_features(features(centre="each", missing="mask", reference=reference)).fingerprint
    with pytest.raises(InputError, match=r"`features\.missing: zero`, but the recipe has `interp"):
        filled = features(centre="each", missing="interpolate", reference=reference)
        _ = build_features(filled).fingerprint
    narrow = embedder(tmp_path / "narrow", [0, 1], width=3)
    step = build_features(features(reference={**reference, "embedder": narrow}))
    with pytest.raises(InputError, match=r"expects \(T, 3\) frames"):
        step.compute_features(SkeletonMotion(motion(body(4)), motion(body(5))))


def test_an_embedder_of_other_points_of_the_same_width_is_refused(tmp_path: Path) -> None:
    pair = SkeletonMotion(motion(body(4)), motion(body(5)))
    reference = {"method": "dtw", "on": "embeddings", "embedder": str(tmp_path)}
    step = build_features(features(reference=reference))
    embedder(tmp_path, [5, 9], layout=SMPL_22.layout.to_json())
    assert "reference" in step.compute_features(pair)
    other = SKELETONS["holistic_33"].layout
    embedder(tmp_path, [5, 9], layout=other.to_json())
    with pytest.raises(InputError, match=r"trained on points of `POSE_LANDMARKS` \(33\), but the"):
        step.compute_features(pair)


def test_vectors_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """A length of zero in a program that does not expect one."""
    reference = {"method": "dtw", "on": "embeddings", "embedder": embedder(tmp_path, [0, 1])}
    step = build_features(features(reference=reference))  # the root begins at 0
    with pytest.raises(InputError, match="returns vectors with non-finite values"):
        step.compute_features(SkeletonMotion(motion(body(4)), motion(body(5))))


def test_a_reference_is_a_stream_beside_the_clip_normalised_alike() -> None:
    clip, reference = body(7), body(11, seed=1)
    step = build_features(features(scale="bone", reference={"method": "none"}))
    found = step.compute_features(SkeletonMotion(motion(clip), motion(reference)))
    alone = build_features(features(scale="bone"))
    r_RD = alone.compute_features(SkeletonMotion(motion(reference)))["pose"].x_TD
    assert step.streams == tuple(found) == ("pose", "reference")
    np.testing.assert_array_equal(
        found["pose"].x_TD, alone.compute_features(SkeletonMotion(motion(clip)))["pose"].x_TD
    )
    np.testing.assert_array_equal(
        found["reference"].x_TD, align(found["pose"].x_TD, r_RD, config("none"))
    )
    assert {name: one.x_TD.shape for name, one in found.items()} == step.estimate_shapes(
        SkeletonMotion(motion(clip))
    )
    assert found["reference"].layout == SMPL_22.layout and found["reference"].rate_hz == 20


def test_a_clip_without_a_reference_is_its_own() -> None:
    step = build_features(features(stride=2, reference={}))
    found = step.compute_features(SkeletonMotion(motion(body(7))))
    np.testing.assert_array_equal(found["pose"].x_TD, found["reference"].x_TD)


def test_reasons_of_references() -> None:
    step = build_features(features(scale="bone", reference={"method": "window"}))
    with pytest.raises(ClipError, match="its reference: no bone has a length") as caught:
        step.compute_features(
            SkeletonMotion(motion(body(4)), motion(np.ones((4, 22, 3), np.float32)))
        )
    assert caught.value.reason == "reference_no_bones"
    with pytest.raises(ClipError, match="20 frames per second, its reference 30") as caught:
        step.compute_features(SkeletonMotion(motion(body(4)), motion(body(4), fps=30)))
    assert caught.value.reason == "reference_rate"
    warped = build_features(features(reference={"method": "dtw"}))
    warped.compute_features(SkeletonMotion(motion(body(4)), motion(body(4), fps=30)))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"on": "embeddings"}, "belong together"),
        ({"embedder": "e"}, "belong together"),
        ({"method": "none", "on": "embeddings", "embedder": "e"}, "compares nothing"),
        ({"gamma": 0.1}, r"belongs to `method: soft_dtw`, not to `dtw`"),
    ],
)
def test_settings_that_do_nothing_are_refused(parts: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AlignmentConfig.model_validate(parts)
