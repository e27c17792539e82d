"""Windows of clips: each is a function of its index, and its pixels are those of its clip."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kinesweep.config.pretraining.windows import PretrainingBatchConfig
from kinesweep.config.recipe.features.pixel_augmentation import (
    PixelAugmentationConfig,
    RandomResizedCropConfig,
)
from kinesweep.core.clip import Clip
from kinesweep.core.units import Span
from kinesweep.data.windows.pixel_augmentation import augment_window, resize_frames
from kinesweep.data.windows.window_dataset import WindowDataset
from kinesweep.data.windows.window_plan import (
    PlannedWindow,
    TrainingWindowPlan,
    plan_validation_windows,
)
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.format.index import ClipRecord
from pretraining import pretraining_recipe
from vision import film_corpus

BATCH = PretrainingBatchConfig(windows=4, repeats=2, num_frames=4, sampling_rate=3)
LENGTHS = (40, 9, 10, 1, 23)
FLIP = PixelAugmentationConfig(rand_augment=None, horizontal_flip=1)


def record(number: int, length: int) -> ClipRecord:
    clip = Clip(f"clip{number}", "train", "", Span.from_ms(0, 1000), ("a", "b"))
    return ClipRecord(clip, {"video": length})


def records() -> list[ClipRecord]:
    return [record(number, length) for number, length in enumerate(LENGTHS)]


def test_an_epoch_has_every_clip_once_with_its_repeats() -> None:
    plan = TrainingWindowPlan(records(), "video", BATCH, seed=7)
    assert plan.windows_per_epoch == 10
    ids = [plan.get_window(index).record.clip.id for index in range(30)]
    assert ids[::2] == ids[1::2], "both windows of a clip follow each other"
    for epoch in range(3):
        assert Counter(ids[10 * epoch : 10 * epoch + 10]) == dict.fromkeys(
            {record.clip.id for record in records()}, 2
        )
    assert len({tuple(ids[10 * epoch : 10 * epoch + 10]) for epoch in range(3)}) > 1
    # Whatever was asked for before.
    assert plan.get_window(13) == plan.get_window(13)
    assert TrainingWindowPlan(records(), "video", BATCH, seed=8).get_window(13).seed != (
        plan.get_window(13).seed
    )


def test_windows_lie_in_their_clip_and_reach_both_ends() -> None:
    plan = TrainingWindowPlan(records(), "video", BATCH, seed=7)
    starts: dict[int, set[int]] = {}
    for index in range(1500):
        window = plan.get_window(index)
        length = window.record.lengths["video"]
        frames = np.array(window.frames)
        real = frames[: window.num_real_frames]
        assert (np.diff(real) == 3).all() and real[-1] < length
        assert (frames[window.num_real_frames :] == length - 1).all()
        starts.setdefault(length, set()).add(int(frames[0]))
        assert window.num_real_frames == min(4, -(-length // 3))
    # A window spans 10 frames.
    assert starts == {40: set(range(31)), 9: {0}, 10: {0}, 1: {0}, 23: set(range(14))}


def test_validation_windows_tile_the_clips_whatever_the_seed_of_the_run() -> None:
    windows = plan_validation_windows(records(), "video", BATCH)
    found = [(w.record.lengths["video"], w.frames[0], w.num_real_frames) for w in windows]
    assert found == [
        *[(40, 0, 4), (40, 12, 4), (40, 24, 4), (40, 36, 2)],
        *[(9, 0, 3), (10, 0, 4), (1, 0, 1), (23, 0, 4), (23, 12, 4)],
    ]
    assert len({window.seed for window in windows}) == len(windows)
    limited = BATCH.model_copy(update={"max_validation_windows": 3})
    assert plan_validation_windows(records(), "video", limited) == [windows[i] for i in (0, 4, 8)]


def test_later_frames_are_not_read() -> None:
    batch = BATCH.model_copy(update={"max_clip_frames": 12})
    plan = TrainingWindowPlan(records(), "video", batch, seed=7)
    assert max(max(plan.get_window(index).frames) for index in range(300)) == 11
    windows = plan_validation_windows(records(), "video", batch)
    assert len(windows) == 5 and max(max(window.frames) for window in windows) < 12


def test_pixels_are_those_of_the_clip(tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=2, validation=1)
    recipe = pretraining_recipe(corpus, tmp_path / "stores", features={"size": 32})
    store = extract_locally(recipe.corpus_recipe)
    clips = store.get_records("train")
    windows = [
        PlannedWindow(clips[0], (1, 3, 5, 5), 3, 11),
        PlannedWindow(clips[0], (0, 2, 4, 6), 4, 12),
        PlannedWindow(clips[1], (7, 8, 9, 10), 4, 13),
    ]
    batch = WindowDataset(store, "video", 32, lambda _: windows, None)[0]
    for row, window in enumerate(windows):
        stored = store.get_features(window.record)["video"].reshape(-1, 32, 32, 3)
        assert np.array_equal(batch.pixels_BFHWC[row].numpy(), stored[list(window.frames)])
    assert batch.num_real_frames_B == (3, 4, 4) and batch.seeds_B == (11, 12, 13)
    assert batch.clip_ids_B == tuple(window.record.clip.id for window in windows)
    assert batch.texts_B[2] == clips[1].clip.texts != ()
    flipped = WindowDataset(store, "video", 32, lambda _: windows, FLIP)[0]
    assert np.array_equal(flipped.pixels_BFHWC.flip(3), batch.pixels_BFHWC)
    smaller = WindowDataset(store, "video", 16, lambda _: windows, None)[0]
    assert smaller.pixels_BFHWC.shape == (3, 4, 16, 16, 3)


def test_all_frames_of_a_window_are_augmented_alike() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3), np.uint8)
    pixels = np.repeat(frame, 5, axis=0)
    config = PixelAugmentationConfig(random_resized_crop=RandomResizedCropConfig(scale=(0.2, 0.5)))
    found = augment_window(pixels, 16, config, seed=3)
    assert found.shape == (5, 16, 16, 3) and (found == found[:1]).all()
    assert np.array_equal(found, augment_window(pixels, 16, config, seed=3))
    others = [augment_window(pixels, 16, config, seed=seed)[0] for seed in range(4, 10)]
    assert all(not np.array_equal(found[0], other) for other in others)
    cropped = augment_window(
        pixels, 16, PixelAugmentationConfig(rand_augment=None, random_crop_from=24), seed=3
    )
    places = [
        np.array_equal(frame[0, top : top + 16, left : left + 16][:, ::step], cropped[0])
        for top in range(9)
        for left in range(9)
        for step in (1, -1)
    ]
    assert sum(places) == 1


def test_scaling_averages() -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[:, :, :2] = 200
    halved = resize_frames(pixels, 2)
    assert (halved[0, :, 0] > 150).all() and (halved[0, :, 1] < 50).all()
    assert resize_frames(pixels, 4) is pixels


@pytest.mark.parametrize("windows", [1, 3])
def test_a_worker_draws_whole_repetitions(windows: int) -> None:
    with pytest.raises(ValueError, match="must be a multiple of `repeats`"):
        PretrainingBatchConfig(windows=windows, repeats=2)
