"""Augmentation: drawn from seed, epoch and clip alone; it varies what it says and nothing else."""

from typing import Any

import numpy as np
import pytest

from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.core.errors import InputError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.augmentation import Augmentation, build_augmentation

HANDS = PointLayout((("LEFT_HAND", ("a", "b")), ("RIGHT_HAND", ("a", "b"))))
SCHEMA = StoreSchema({"pose": StreamSchema(12, 25.0, "float16", HANDS)})
CLIP = np.arange(1, 12 * 20 + 1, dtype=np.float16).reshape(20, 12) / 16


def build(longest: int = 1000, seed: int = 1, **config: Any) -> Augmentation:
    found = build_augmentation(AugmentationConfig(**config), SCHEMA, seed, longest)
    assert found is not None
    return found


def vary(augmentation: Augmentation, clip: str = "c", epoch: int = 0) -> Any:
    return augmentation({"pose": CLIP}, clip, epoch)["pose"]


ALL = {"drop_frames": 0.2, "speed": 0.3, "mirror": 0.5, "rotation_deg": 10, "noise": 0.05}


def test_seed_epoch_and_clip_decide() -> None:
    first = vary(build(**ALL))
    np.testing.assert_array_equal(vary(build(**ALL)), first)
    for other in (vary(build(**ALL), "d"), vary(build(**ALL), epoch=1), vary(build(seed=2, **ALL))):
        assert other.shape != first.shape or not np.array_equal(other, first)
    assert CLIP[0, 0] == np.float16(1 / 16), "the stored clip itself stays"


@pytest.mark.parametrize("kind", list(ALL))
def test_each_kind_is_drawn_from_seed_epoch_and_clip(kind: str) -> None:
    config = {kind: ALL[kind]}
    clips, numbers = [f"clip {n}" for n in range(8)], range(8)
    for drawn in (
        [vary(build(**config), clip) for clip in clips],
        [vary(build(**config), epoch=number) for number in numbers],
        [vary(build(seed=number, **config)) for number in numbers],
    ):
        assert len({x_TD.tobytes() for x_TD in drawn}) >= 2


def test_nothing_to_do_is_nothing() -> None:
    assert build_augmentation(AugmentationConfig(), SCHEMA, 1, 1000) is None


@pytest.mark.parametrize("config", [{"drop_frames": 0.3}, {"speed": 0.5}, ALL])
def test_lengths_are_known_beforehand(config: dict[str, float]) -> None:
    varied = build(**config)
    lengths = [varied.compute_lengths({"pose": 20}, f"clip {n}", 3)["pose"] for n in range(40)]
    assert [len(vary(varied, f"clip {n}", 3)) for n in range(40)] == lengths
    assert min(lengths) < 20
    if "speed" in config:
        assert len(set(lengths)) > 3


def test_dropped_frames_keep_their_order() -> None:
    kept = vary(build(drop_frames=0.25))
    assert len(kept) == 15
    rows = [np.flatnonzero((row == CLIP).all(axis=1)).item() for row in kept.astype(np.float16)]
    assert rows == sorted(set(rows))


def test_one_frame_is_always_left() -> None:
    varied = build(drop_frames=0.9, speed=0.9)
    for n in range(20):
        assert len(varied({"pose": CLIP[:1]}, f"clip {n}", 0)["pose"]) == 1


def test_speed_stretches_and_never_beyond_the_longest() -> None:
    free, bound = build(speed=0.5), build(speed=0.5, longest=22)
    lengths = [len(vary(free, f"clip {n}")) for n in range(100)]
    assert 13 <= min(lengths) <= 15 and 35 <= max(lengths) <= 40
    assert max(len(vary(bound, f"clip {n}")) for n in range(100)) == 22
    slow = vary(free, f"clip {int(np.argmax(lengths))}")
    assert (np.diff(slow[:, 0]) >= 0).all() and slow[0, 0] == CLIP[0, 0]
    assert slow[-1, 0] == CLIP[-1, 0]


def test_the_mirror_swaps_hands_and_turns_x() -> None:
    mirrored = vary(build(mirror=1.0)).reshape(20, 4, 3)
    plain = CLIP.astype(np.float32).reshape(20, 4, 3)[:, [2, 3, 0, 1]]
    np.testing.assert_array_equal(mirrored[..., 0], -plain[..., 0])
    np.testing.assert_array_equal(mirrored[..., 1:], plain[..., 1:])
    shares = [vary(build(mirror=0.3), f"clip {n}")[0, 0] < 0 for n in range(300)]
    assert 0.2 < np.mean(shares) < 0.4


def test_rotation_keeps_distances_and_depth() -> None:
    turned = [vary(build(rotation_deg=20), f"clip {n}").reshape(20, 4, 3) for n in range(50)]
    plain = CLIP.astype(np.float32).reshape(20, 4, 3)
    angles = []
    for x_TJC in turned:
        np.testing.assert_array_equal(x_TJC[..., 2], plain[..., 2])
        length = np.linalg.norm(x_TJC[..., :2], axis=-1)
        np.testing.assert_allclose(length, np.linalg.norm(plain[..., :2], axis=-1), rtol=1e-5)
        angle = np.arctan2(x_TJC[..., 1], x_TJC[..., 0]) - np.arctan2(plain[..., 1], plain[..., 0])
        assert np.ptp(angle) < 1e-5
        angles.append(np.rad2deg(angle.mean()))
    assert 10 < max(angles) <= 20 and -20 <= min(angles) < -10


def test_noise_has_its_deviation_and_points_not_found_stay_zero() -> None:
    clip = np.full((400, 12), 2, np.float16)
    clip[::2, 3:6] = 0
    noisy = build(noise=0.1, rotation_deg=5, mirror=0.5)({"pose": clip}, "c", 0)["pose"]
    lost = noisy.reshape(400, 4, 3)[::2]
    assert not lost[:, [1, 3]].any(axis=(0, 2)).all()
    assert (lost.reshape(200, 4, 3) == 0).all(axis=2).sum() == 200
    blurred = build(noise=0.1)({"pose": clip}, "c", 0)["pose"]
    found = blurred[clip != 0] - 2
    assert abs(found.std() - 0.1) < 0.01 and abs(found.mean()) < 0.01


def test_noise_is_the_same_for_points_with_high_and_low_scores() -> None:
    """Scores say which points were found; they are no weights, and stay as they are."""
    layout = PointLayout((("BODY", ("nose", "neck", "mid")),))
    stream = StreamSchema(9, 25.0, "float16", layout, has_mask=True)
    clip = np.tile(np.float16([1, 1, 0.25, 1, 1, 1, 0, 0, 0]), (4000, 1))
    augmentation = build_augmentation(
        AugmentationConfig(noise=0.1), StoreSchema({"pose": stream}), seed=1, max_frames=4000
    )
    assert augmentation is not None
    moved_TJC = (augmentation({"pose": clip}, "c", 0)["pose"] - clip).reshape(-1, 3, 3)
    assert moved_TJC[:, :2, :2].std(axis=(0, 2)) == pytest.approx([0.1, 0.1], rel=0.05)
    assert not moved_TJC[..., 2].any() and not moved_TJC[:, 2].any()


def test_streams_of_one_clip_stay_in_step() -> None:
    schema = StoreSchema({name: StreamSchema(2, 25.0, "float16") for name in ("a", "b")})
    varied = build_augmentation(AugmentationConfig(speed=0.5), schema, 1, 1000)
    assert varied is not None
    for n in range(10):
        streams = {"a": np.ones((40, 2)), "b": np.ones((20, 2))}
        found = varied(streams, f"clip {n}", 0)
        assert abs(len(found["a"]) - 2 * len(found["b"])) <= 1
        lengths = {name: len(x_TD) for name, x_TD in streams.items()}
        assert varied.compute_lengths(lengths, f"clip {n}", 0) == {
            k: len(x) for k, x in found.items()
        }


def test_a_stream_without_points_cannot_be_moved() -> None:
    schema = StoreSchema({"dino": StreamSchema(4, 25.0, "float16")})
    with pytest.raises(InputError, match="`dino` holds none"):
        build_augmentation(AugmentationConfig(noise=0.1), schema, 1, 10)
    assert build_augmentation(AugmentationConfig(drop_frames=0.1), schema, 1, 10) is not None


PAIR = StoreSchema(dict.fromkeys(("pose", "reference"), SCHEMA.streams["pose"]))
ALIKE = {"reference": "pose"}


def test_a_reference_is_varied_like_what_is_held_against_it() -> None:
    """Frames, sides and turns are the same; a clip that is its own reference stays that."""
    config = AugmentationConfig(**{**ALL, "noise": 0})
    alike = build_augmentation(config, PAIR, 1, 1000, ALIKE)
    apart = build_augmentation(config, PAIR, 1, 1000)
    assert alike is not None and apart is not None
    clip = {"pose": CLIP, "reference": CLIP}
    same = {True: 0, False: 0}
    for number in range(20):
        for held, augmentation in ((True, alike), (False, apart)):
            varied = augmentation(clip, f"clip {number}", 0)
            same[held] += np.array_equal(varied["pose"], varied["reference"])
        np.testing.assert_array_equal(
            alike(clip, f"clip {number}", 0)["pose"],
            vary(build(**{**ALL, "noise": 0}), f"clip {number}"),
        )
    assert same == {True: 20, False: 0}
    other = CLIP + np.float16(0.25)
    varied = alike({"pose": CLIP, "reference": other}, "c", 0)
    moved = np.linalg.norm((varied["reference"] - varied["pose"]).reshape(-1, 4, 3), axis=2)
    np.testing.assert_allclose(moved, 0.25 * 3**0.5, rtol=1e-3)


def test_noise_is_each_stream_s_own() -> None:
    """The same of both would be none of their difference."""
    config = AugmentationConfig(mirror=0.5, noise=0.1)
    augmentation = build_augmentation(config, PAIR, 1, 1000, ALIKE)
    assert augmentation is not None
    clip = {"pose": CLIP, "reference": CLIP}
    varied = augmentation(clip, "c", 0)
    apart = varied["pose"] - varied["reference"]
    assert 0.12 < apart.std() < 0.16, "of two, each 0.1"
    np.testing.assert_array_equal(augmentation(clip, "c", 0)["reference"], varied["reference"])


def test_what_is_varied_alike_is_in_step() -> None:
    augmentation = build_augmentation(AugmentationConfig(drop_frames=0.5), PAIR, 1, 1000, ALIKE)
    assert augmentation is not None
    with pytest.raises(InputError, match="`c` has 20 frames of `pose`, but 19 of `reference`"):
        augmentation({"pose": CLIP, "reference": CLIP[1:]}, "c", 0)
    augmentation({"pose": CLIP}, "c", 0)


FRAMES = StoreSchema({"video": StreamSchema(4 * 4 * 3, 25.0, "uint8", frame_size=4)})


def test_frames_are_mirrored_and_stay_bytes() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (20, 48), np.uint8)
    found = {}
    for mirror in (0.0, 1.0):
        config = AugmentationConfig(mirror=mirror, drop_frames=0.25, speed=0.2)
        varied = build_augmentation(config, FRAMES, 1, 1000)
        assert varied is not None
        found[mirror] = varied({"video": frames}, "c", 0)["video"]
        assert found[mirror].dtype == np.uint8
        assert len(found[mirror]) == varied.compute_lengths({"video": 20}, "c", 0)["video"]
    plain, mirrored = (x_TD.reshape(-1, 4, 4, 3) for x_TD in found.values())
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])
    assert {frame.tobytes() for frame in plain} < {
        frame.tobytes() for frame in frames.reshape(-1, 4, 4, 3)
    }


@pytest.mark.parametrize("kind", ["rotation_deg", "noise"])
def test_frames_beside_poses_do_not_follow_moved_points(kind: str) -> None:
    schema = StoreSchema({**SCHEMA.streams, **FRAMES.streams})
    with pytest.raises(InputError, match="frames of videos, which would not follow them"):
        build_augmentation(AugmentationConfig(**{kind: ALL[kind]}), schema, 1, 1000)
    assert build_augmentation(AugmentationConfig(mirror=0.5), schema, 1, 1000) is not None


def test_the_streams_of_a_clip_are_mirrored_together() -> None:
    """A clip that has one of them is the clip of a recipe that has no other."""
    config = AugmentationConfig(mirror=0.3)
    schema = StoreSchema({**SCHEMA.streams, **FRAMES.streams, "pose2": SCHEMA.streams["pose"]})
    both, alone = (build_augmentation(config, found, 1, 1000) for found in (schema, SCHEMA))
    assert both is not None and alone is not None
    frames = np.random.default_rng(1).integers(0, 256, (20, 48), np.uint8)
    sides = []
    for clip in (f"clip {number}" for number in range(100)):
        varied = both({"pose": CLIP, "video": frames, "pose2": CLIP}, clip, 0)
        sides.append(bool(varied["pose"][0, 0] < 0))
        assert np.array_equal(varied["video"], frames) is not sides[-1]
        assert bool(varied["pose2"][0, 0] < 0) is sides[-1]
        expected = alone({"pose": CLIP}, clip, 0)["pose"]
        np.testing.assert_array_equal(both({"pose": CLIP}, clip, 0)["pose"], expected)
    assert 0.2 < np.mean(sides) < 0.4
