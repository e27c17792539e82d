"""Padding of clips that differ in everything: what is real, what fills, and which is which."""

import numpy as np
import pytest

from kinesweep.core.batch import IGNORE, Batch
from kinesweep.data.collate import BatchItem, ClipTokens, collate

PAD = 9


def rows() -> list[BatchItem]:
    long = ClipTokens(prompt=(1, 2), forced=(3,), labels=(3, 4, 5), suffix=(6,))
    short = ClipTokens(
        prompt=(), forced=(), labels=(7,), suffix=(), alternative_labels=((8, 8), ())
    )
    frames = {"pose": np.full((3, 2), 5.0), "dino": np.full((1, 1), 6.0)}
    fewer = {"pose": np.full((1, 2), 7.0), "dino": np.full((2, 1), 8.0)}
    return [BatchItem("a", frames, long), BatchItem("b", fewer, short)]


@pytest.fixture
def batch() -> Batch:
    return collate(rows(), PAD)


def test_frames_are_padded_on_the_right(batch: Batch) -> None:
    assert batch.clip_ids == ("a", "b")
    pose, dino = batch.streams["pose"], batch.streams["dino"]
    assert pose[..., 0].tolist() == [[5, 5, 5], [7, 0, 0]]
    assert dino[..., 0].tolist() == [[6, 0], [8, 8]]
    assert batch.frame_masks["pose"].tolist() == [[True, True, True], [True, False, False]]
    assert batch.frame_masks["dino"].tolist() == [[True, False], [True, True]]


def test_tokens_are_padded_on_the_right(batch: Batch) -> None:
    assert batch.prompt_ids_BP.tolist() == [[1, 2], [PAD, PAD]]
    assert batch.prompt_mask_BP.tolist() == [[True, True], [False, False]]
    assert batch.suffix_ids_BA.tolist() == [[6], [PAD]]
    assert batch.suffix_mask_BA.tolist() == [[True], [False]]
    assert batch.forced_ids_BF.tolist() == [[3], [PAD]]
    assert batch.forced_mask_BF.tolist() == [[True], [False]]
    assert batch.labels_BL.tolist() == [[3, 4, 5], [7, IGNORE, IGNORE]]


def test_further_references_stand_behind_the_first(batch: Batch) -> None:
    none = [IGNORE] * 3
    assert batch.labels_BRL is not None
    assert batch.labels_BRL.tolist() == [
        [[3, 4, 5], none, none],
        [[7, IGNORE, IGNORE], [8, 8, IGNORE], none],
    ]
    assert collate(rows()[:1], PAD).labels_BRL is None


def test_a_blank_batch_keeps_its_masks(batch: Batch) -> None:
    blank = collate(rows(), PAD, zero_features=True)
    assert all(not x.any() for x in blank.streams.values())
    assert all((blank.frame_masks[n] == batch.frame_masks[n]).all() for n in batch.frame_masks)
