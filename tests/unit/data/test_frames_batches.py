"""Batches of frames: bytes, the same from a store of pixels and from the videos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frames import SIZE, frames_recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import ConfigError, InputError, StoreError
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.baselines import predict_nearest_neighbors
from kinesweep.store import Store
from kinesweep.store.extraction.build import extract_locally
from kinesweep.store.inspect.statistics import compute_frame_statistics
from vision import film_corpus

pytestmark = pytest.mark.integration
WIDTH = SIZE * SIZE * 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_corpus(tmp_path_factory.mktemp("films") / "corpus", train=6, validation=2)


@pytest.fixture(scope="module")
def stores(corpus: Path) -> dict[str, Store]:
    return {
        storage: extract_locally(frames_recipe(corpus, corpus.parent / "stores", storage))
        for storage in ("decoded", "video")
    }


@pytest.fixture(scope="module")
def text(stores: Mapping[str, Store]) -> TextTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=256)
    return build_tokenizer(config, stores["decoded"].get_records("train"), None)


def assert_equal(first: Batch, second: Batch) -> None:
    assert first.clip_ids == second.clip_ids
    for name, x_BTD in first.streams.items():
        assert x_BTD.dtype == second.streams[name].dtype == torch.uint8
        assert torch.equal(x_BTD, second.streams[name])
        assert torch.equal(first.frame_masks[name], second.frame_masks[name])
    assert torch.equal(first.labels_BL, second.labels_BL)


def test_a_batch_holds_the_pixels_of_its_clips(
    stores: Mapping[str, Store], text: TextTokenizer
) -> None:
    store = stores["decoded"]
    batch = TrainDataset(store, text, BatchConfig(batch_size=3), seed=1)[0]
    records = {record.clip.id: record for record in store.get_records("train")}
    lengths = [records[clip_id].lengths["video"] for clip_id in batch.clip_ids]
    assert batch.streams["video"].shape == (3, max(lengths), WIDTH)
    assert batch.frame_masks["video"].sum(1).tolist() == lengths
    for clip_id, length, pixels_TD in zip(
        batch.clip_ids, lengths, batch.streams["video"], strict=True
    ):
        expected = store.get_features(records[clip_id])["video"]
        np.testing.assert_array_equal(pixels_TD[:length].numpy(), expected)
        assert not pixels_TD[length:].any()


@pytest.mark.parametrize(
    "config",
    [
        {"batch_size": 4},
        {"max_frames": 130, "max_clip_frames": 50},
        {"batch_size": 4, "truncate_frames": {"video": 12}},
        {
            "batch_size": 4,
            "augmentation": {"mirror": 0.5, "speed": 0.3, "drop_frames": 0.2},
            "tasks": {"reversed": 0.5},
        },
    ],
)
def test_both_storages_give_the_same_batches(
    stores: Mapping[str, Store], text: TextTokenizer, config: dict[str, Any]
) -> None:
    decoded, video = (
        TrainDataset(store, text, BatchConfig.model_validate(config), seed=3)
        for store in stores.values()
    )
    for position in range(5):
        assert_equal(decoded[position], video[position])
    batch_config = BatchConfig.model_validate(config)
    for split in ("train", "validation"):
        pairs = [
            build_eval_batches(store, split, text, 100, batch_config=batch_config)
            for store in stores.values()
        ]
        assert len(pairs[0]) == len(pairs[1]) > 0
        for first, second in zip(*pairs, strict=True):
            assert_equal(first, second)


@pytest.mark.parametrize("storage", ["decoded", "video"])
def test_loader_workers_read_frames_ahead(
    stores: Mapping[str, Store], text: TextTokenizer, storage: str
) -> None:
    plain = TrainDataset(stores["decoded"], text, BatchConfig(batch_size=4), seed=1)
    config = BatchConfig(batch_size=4, loader_workers=2)
    loaded = TrainDataset(stores[storage], text, config, seed=1).build_loader(1, 5)
    for batch, position in zip(loaded, range(1, 5), strict=True):
        assert_equal(batch, plain[position])


def test_a_loader_worker_says_which_film_changed(text: TextTokenizer, tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=2, validation=1)
    store = extract_locally(frames_recipe(corpus, tmp_path / "stores", "video"))
    for film in (corpus / "films").glob("[01].mp4"):
        film.unlink()
    config = BatchConfig(batch_size=2, loader_workers=1)
    with pytest.raises(
        StoreError, match=r"^the video of clip `\d` cannot be read any more"
    ) as caught:
        next(iter(TrainDataset(store, text, config, seed=1).build_loader(0, 1)))
    assert "Traceback" not in str(caught.value)


def test_lengths_are_those_of_frames(stores: Mapping[str, Store], text: TextTokenizer) -> None:
    """Films of 10, 27, 44, 11, 28 and 45 frames."""
    config = BatchConfig(max_frames=60, min_clip_frames=11, max_clip_frames=44)
    data = TrainDataset(stores["video"], text, config, seed=1)
    assert data.dropped_counts == {"too_short": 1, "too_long": 1}
    seen = [data[position].streams["video"].shape for position in range(6)]
    assert max(batch * frames for batch, frames, _ in seen) <= 60
    with pytest.raises(InputError, match=r"has 45 frames, more than `batch.max_frames` \(40\)"):
        TrainDataset(stores["video"], text, BatchConfig(max_frames=40), seed=1)


def test_zeros_are_black_frames(stores: Mapping[str, Store], text: TextTokenizer) -> None:
    plain, zeros = (
        TrainDataset(stores["decoded"], text, BatchConfig(batch_size=3, ablation=ablation), seed=1)[
            0
        ]
        for ablation in ("none", "zeros")
    )
    assert zeros.streams["video"].dtype == torch.uint8
    assert not zeros.streams["video"].any() and plain.streams["video"].any()
    assert torch.equal(zeros.frame_masks["video"], plain.frame_masks["video"])


def test_pixels_have_no_statistics(stores: Mapping[str, Store]) -> None:
    assert compute_frame_statistics(stores["decoded"]) == {}


@pytest.mark.parametrize("storage", ["decoded", "video"])
def test_the_nearest_film_of_train_is_itself(stores: Mapping[str, Store], storage: str) -> None:
    # In the other films, the block does not reach the middle, so they are all black.
    train = [record for record in stores[storage].get_records("train") if record.clip.id in "125"]
    found = predict_nearest_neighbors(stores[storage], train, train[::-1])
    assert found == {record.clip.id: record.clip.texts[0] for record in train}
    assert len(found) == 3


def test_augmentation_that_moves_points_is_refused(corpus: Path, tmp_path: Path) -> None:
    for key in ("rotation_deg", "noise"):
        with pytest.raises(ValueError, match=r"move points, which `features.kind: frames` does"):
            frames_recipe(corpus, tmp_path, batch={"augmentation": {key: 0.1}})
    frames_recipe(corpus, tmp_path, batch={"augmentation": {"mirror": 0.5, "speed": 0.2}})


def test_a_source_of_poses_has_no_frames(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ValueError), match="a source of kind pose_tsv needs"):
        frames_recipe(corpus, tmp_path, source={"kind": "pose_tsv"})
