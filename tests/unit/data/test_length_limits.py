"""Frames read of each stream: the same in plans, in training and in what is scored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.config.recipe.model.motion_reference import MotionReferenceConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.data.length_limits import (
    StreamTruncationStats,
    compute_truncation_stats,
    count_clip_frames,
    filter_clips_by_length,
    truncate_streams,
)
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.features.augmentation import build_augmentation
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord

CAP = 12
VARIED = {"drop_frames": 0.1, "speed": 0.4}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("limits")
    return tiny_store(tiny_recipe(tiny_corpus(folder), folder / "stores"))


@pytest.fixture(scope="module")
def text(store: Store) -> TextTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=256)
    return build_tokenizer(config, store.get_records("train"), None)


def config(**keys: Any) -> BatchConfig:
    return BatchConfig.model_validate({"truncate_frames": {"pose": CAP}, **keys})


def record(name: str, **lengths: int) -> ClipRecord:
    return ClipRecord(Clip(id=name, split="train", media=""), lengths)


CLIPS = [record("a", pose=9, dino=20), record("b", pose=30, dino=5), record("c", pose=13, dino=40)]


def test_each_stream_is_cut_by_itself_and_counted() -> None:
    limits = config(
        truncate_frames={
            "pose": 12,
            "dino": 30,
        }
    )
    assert [count_clip_frames(clip) for clip in CLIPS] == [29, 35, 53]
    assert [count_clip_frames(clip, limits) for clip in CLIPS] == [29, 12 + 5, 12 + 30]
    assert compute_truncation_stats(CLIPS, limits) == {
        "pose": StreamTruncationStats(2, 18 + 1),
        "dino": StreamTruncationStats(1, 10),
    }
    assert compute_truncation_stats(CLIPS[:1], limits) == {}
    streams = {"pose": np.arange(30.0)[:, None], "dino": np.ones((5, 2))}
    cut = truncate_streams(streams, limits)
    assert cut["pose"][:, 0].tolist() == list(range(12)) and len(cut["dino"]) == 5
    assert all(truncate_streams(streams, None)[name] is not None for name in streams)
    assert len(truncate_streams(streams, None)["pose"]) == 30


def test_who_takes_part_does_not_depend_on_cuts() -> None:
    limits = config(max_clip_frames=35, truncate_frames={"dino": 1, "pose": 1})
    kept, dropped = filter_clips_by_length(CLIPS, limits, "train")
    assert [clip.clip.id for clip in kept] == ["a", "b"] and dropped == {"too_long": 1}
    with pytest.raises(InputError, match="min_clip_frames"):
        filter_clips_by_length(CLIPS, config(min_clip_frames=60), "train")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_streams_that_are_not_there_are_named(
    store: Store, text: TextTokenizer, split: str
) -> None:
    wrong = config(truncate_frames={"pos": 3})
    with pytest.raises(InputError, match=r"`pos`.*did you mean `pose`\?; available: `pose`"):
        build_eval_batches(store, split, text, 100, batch_config=wrong)
    with pytest.raises(InputError, match="`pos`"):
        TrainDataset(store, text, wrong, seed=1)


def test_a_limit_is_a_number_of_frames(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch\.truncate_frames\.pose"):
        tiny_recipe(tmp_path, tmp_path, batch={"truncate_frames": {"pose": 0}})


def test_training_reads_the_first_frames_and_counts_the_rest(
    store: Store, text: TextTokenizer
) -> None:
    by_id = {clip.clip.id: clip for clip in store.get_records("train")}
    longer = [clip.lengths["pose"] - CAP for clip in by_id.values() if clip.lengths["pose"] > CAP]
    assert longer, "no clip is cut in this test"
    # A budget that no whole clip of the corpus fits into.
    stream = TrainDataset(store, text, config(max_frames=CAP), seed=1)
    assert stream.truncation_stats == {"pose": StreamTruncationStats(len(longer), sum(longer))}
    batch = stream[0]
    whole = store.get_features(by_id[batch.clip_ids[0]])["pose"]
    assert batch.num_frames == min(CAP, len(whole))
    np.testing.assert_array_equal(batch.streams["pose"][0], whole[:CAP].astype(np.float32))


def test_what_is_scored_is_cut_too_test_included(store: Store, text: TextTokenizer) -> None:
    for split in store.splits:
        whole = [clip.lengths["pose"] for clip in store.get_records(split)]
        batches = build_eval_batches(store, split, text, 4 * CAP, batch_config=config())
        assert sum(b.num_clips for b in batches) == len(whole)
        assert sum(b.num_frames for b in batches) == sum(min(CAP, frames) for frames in whole)
        assert all(b.num_padded_frames <= 4 * CAP for b in batches)
        assert max(b.num_clips for b in batches) >= 4, "the budget counts what is left"


class Two:
    """A store of two streams: one clip is long in one of them, one in the other."""

    schema = StoreSchema({name: StreamSchema(2, 25, "float32") for name in ("pose", "dino")})

    def get_records(self, split: str) -> list[ClipRecord]:
        return [record("a", pose=CAP, dino=4), record("b", pose=6, dino=40)]

    def get_features(self, clip: ClipRecord) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        return {name: np.ones((frames, 2), np.float32) for name, frames in clip.lengths.items()}


def test_a_stream_that_became_longer_is_cut_again(text: TextTokenizer) -> None:
    limits = config(batch_size=1, augmentation={"speed": 0.4})
    stream = TrainDataset(Two(), text, limits, seed=1)  # type: ignore[arg-type]
    frames = [
        (int(b.frame_masks["pose"].sum()), int(b.frame_masks["dino"].sum()))
        for b in (stream[position] for position in range(40))
    ]
    slower = [pose for pose, dino in frames if 4 < dino < 10]
    assert slower and set(slower) == {CAP}, "a slower clip `a` has as many of `pose` as before"


def test_varied_clips_keep_to_the_plan(store: Store, text: TextTokenizer) -> None:
    stream = TrainDataset(store, text, config(max_frames=3 * CAP, augmentation=VARIED), seed=1)
    lengths = set()
    for position in range(30):
        batch = stream[position]
        assert batch.num_padded_frames <= 3 * CAP
        lengths |= set(batch.frame_masks["pose"].sum(1).tolist())
    assert max(lengths) <= CAP and len(lengths) > 2
    real = sum(stream[p].num_frames for p in range(10)) / sum(
        stream[p].num_padded_frames for p in range(10)
    )
    assert stream.compute_padding_share(10) == pytest.approx(1 - real), "the plan knows the lengths"


def test_frames_of_references_are_none_of_the_clips(tmp_path: Path) -> None:
    """So the limits of a stage without references leave the same clips in one with them."""
    recipe = tiny_recipe(tmp_path, tmp_path, batch={"batch_size": 8, "max_clip_frames": 13})
    model = recipe.model.model_copy(update={"reference": MotionReferenceConfig()})
    held = recipe.model_copy(update={"model": model})
    plain = [record(clip.clip.id, pose=clip.lengths["pose"]) for clip in CLIPS]
    pairs = [record(one.clip.id, **one.lengths, reference=one.lengths["pose"]) for one in plain]
    alone, dropped = filter_clips_by_length(plain, recipe.effective_batch, "train")
    beside, also_dropped = filter_clips_by_length(pairs, held.effective_batch, "train")
    assert [one.clip.id for one in alone] == [one.clip.id for one in beside] == ["a", "c"]
    assert dropped == also_dropped == {"too_long": 1}
    assert [count_clip_frames(one, held.effective_batch) for one in pairs] == [9, 30, 13]
    with pytest.raises(InputError, match="'too_long': 3"):
        filter_clips_by_length(
            pairs, recipe.effective_batch, "train"
        )  # where it is a stream as others are


def test_a_clip_with_a_reference_may_become_as_slow_as_without() -> None:
    point = StreamSchema(3, 25.0, "float16")
    schema = StoreSchema({"pose": point, "reference": point})
    slower = AugmentationConfig(speed=0.5)
    varied = build_augmentation(slower, schema, 1, 1000, {"reference": "pose"})
    plain = build_augmentation(slower, StoreSchema({"pose": point}), 1, 1000)
    assert varied is not None and plain is not None
    for n in range(10):
        x_TD = np.ones((700, 3))
        both = varied({"pose": x_TD, "reference": x_TD}, f"clip {n}", 0)
        assert len(both["reference"]) == len(both["pose"])
        assert len(both["pose"]) == len(plain({"pose": x_TD}, f"clip {n}", 0)["pose"])


def test_a_cut_of_a_batch_knows_what_it_counts(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, tmp_path)
    assert (
        isinstance(recipe.effective_batch, EffectiveBatchConfig)
        and recipe.effective_batch.reference_streams == ()
    )
    assert recipe.effective_batch.truncate_frames == recipe.batch.truncate_frames
