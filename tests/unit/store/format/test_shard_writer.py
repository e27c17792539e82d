"""Shards of frames are written clip by clip; the memory holds one clip."""

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kinesweep.store.format.mapped_shard import MappedShard
from kinesweep.store.format.shard_writer import ShardWriter

CLIP_BYTES = 2_000_000


def make_clip(number: int) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """A clip of 4 to 8 frames whose bytes differ."""
    values = np.random.default_rng(number).integers(0, 256, CLIP_BYTES, np.uint8)
    return {"video": values.reshape(4 if number % 2 else 8, -1)}


def test_clips_are_not_collected(tmp_path: Path) -> None:
    path = tmp_path / "shards" / "train-00000.arrow"
    tracemalloc.start()
    with ShardWriter(path, ["video"]) as shard:
        rows = [shard.add(make_clip(number), is_large=True) for number in range(12)]
        checksum = shard.finish()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Random numbers are drawn and reshaped: one clip, and the next one while it is made.
    assert peak_bytes < 3 * CLIP_BYTES
    assert rows == list(range(12))
    content = path.read_bytes()
    assert checksum is not None and checksum.num_bytes == len(content)
    assert checksum.sha256 == hashlib.sha256(content).hexdigest()
    mapped = MappedShard(path)
    for row in reversed(rows):
        expected = make_clip(row)["video"].reshape(-1)
        np.testing.assert_array_equal(mapped.get_values(row)["video"], expected)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_error_leaves_no_shard(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        ShardWriter(tmp_path / "a.arrow", ["video"]) as shard,
    ):
        shard.add(make_clip(0), is_large=True)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_one_batch(tmp_path: Path) -> None:
    clips = [{"pose": np.full((count, 2), count, np.float16)} for count in (3, 1, 4)]
    with ShardWriter(tmp_path / "a.arrow", ["pose"]) as shard:
        for clip in clips:
            shard.add(clip, is_large=False)
        shard.finish()
    mapped = MappedShard(tmp_path / "a.arrow")
    for row, clip in enumerate(clips):
        np.testing.assert_array_equal(mapped.get_values(row)["pose"], clip["pose"].reshape(-1))
    with ShardWriter(tmp_path / "b.arrow", ["pose"]) as empty:
        assert empty.finish() is None
