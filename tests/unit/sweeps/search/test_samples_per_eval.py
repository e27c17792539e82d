"""Samples from one evaluation to the next, the unit of rungs."""

from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.clip import Clip
from kinesweep.store.format.index import ClipRecord
from kinesweep.sweeps.search.samples_per_eval import compute_samples_per_eval
from records import memory_store

CLIPS = [ClipRecord(Clip(str(n), "train", ""), {"pose": 10 + n % 3}) for n in range(30)]


@pytest.mark.parametrize(
    ("batch", "clips"), [({"batch_size": 8}, 8), ({"batch_size": None, "max_frames": 110}, 10)]
)
def test_all_clips_of_all_workers_count(
    tmp_path: Path, batch: dict[str, int | None], clips: int
) -> None:
    training = {"eval_steps": 5, "gradient_accumulation_steps": 2}
    recipe = tiny_recipe(tmp_path, tmp_path, batch=batch, training=training)
    found = compute_samples_per_eval(
        recipe.effective_batch, recipe.training, memory_store(*CLIPS), ResourcesConfig(workers=3)
    )
    assert found == clips * 5 * 2 * 3


def test_only_the_frames_that_are_read_count(tmp_path: Path) -> None:
    """Clips beyond the limits are not trained on, and truncated ones take less of the budget."""
    long_clips = [ClipRecord(Clip(f"long{n}", "train", ""), {"pose": 1000}) for n in range(30)]
    store, training = memory_store(*CLIPS, *long_clips), {"eval_steps": 1}
    for batch, clips in (
        ({"max_clip_frames": 100}, 10),
        ({"truncate_frames": {"pose": 5}}, 22),
        ({"max_clip_frames": 100, "truncate_frames": {"pose": 5}}, 22),
    ):
        sizes = {"batch_size": None, "max_frames": 110}
        recipe = tiny_recipe(tmp_path, tmp_path, batch={**sizes, **batch}, training=training)
        found = compute_samples_per_eval(
            recipe.effective_batch, recipe.training, store, ResourcesConfig()
        )
        assert found == clips
