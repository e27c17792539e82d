"""Bucketing: the assignment of an epoch's clips to batches.

Clips are shuffled, sorted by length within windows of about fifty batches and split into batches
that fit the frame budget; the batches are then shuffled again. The clips of a batch have nearly
equal lengths (about 2 % padding, without bucketing 32 %), and short and long batches still occur in
random order. Every clip occurs once per epoch. Planning 100,000 clips takes well under a second.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.seeds import create_generator

# Frame budget of a batch, including padding, if the recipe sets neither `max_frames` nor
# `batch_size`.
DEFAULT_MAX_FRAMES = 4096
# Approximate number of batches in a window. Larger windows leave less padding, but make the
# composition of batches less random.
_WINDOW_BATCHES = 50


def plan_epoch(
    lengths: Sequence[int],
    config: BatchConfig,
    seed: int,
    epoch: int,
    weights: NDArray[np.float64] | None = None,
) -> list[tuple[int, ...]]:
    """Plan the batches of an epoch and return the clip indices of each batch, in training order.

    The result is a pure function of the arguments; it is empty if `drop_last` leaves no batch.

    Args:
        lengths: Number of frames of each clip.
        config: Batch config with the frame budget or the number of clips of a batch.
        seed: Random seed for the order of the clips and of the batches.
        epoch: Index of the epoch, counted from 0.
        weights: Average number of times that each clip occurs in an epoch; None if every clip
            occurs once.
    """
    rng = create_generator(seed, "order", epoch)
    clip_indices = rng.permutation(len(lengths))
    if weights is not None:
        clip_indices = _sample_by_weight(clip_indices, weights, rng)
    if config.drop_last and config.batch_size is not None:
        # Before the clips are sorted: of sorted clips, always the longest would be left out.
        clip_indices = clip_indices[: len(clip_indices) // config.batch_size * config.batch_size]
    lengths_array = np.asarray(lengths)
    window_size = _compute_window_size(lengths_array, config)
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(clip_indices), window_size):
        window = clip_indices[start : start + window_size]
        window_by_length = window[np.argsort(lengths_array[window], kind="stable")]
        batches += split_into_batches(window_by_length.tolist(), lengths, config)
    # Without this shuffle, training would go from short to long clips within each window.
    return [batches[i] for i in rng.permutation(len(batches))]


def _sample_by_weight(
    clip_indices: NDArray[np.intp], weights: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Sample clips by weight and return their indices in random order, at least one.

    A clip of weight 2.3 occurs two times, and a third time with probability 0.3.

    Args:
        clip_indices: Permutation of all clip indices.
        weights: Average number of occurrences of each clip, by clip index.
        rng: Random number generator.
    """
    num_copies = np.floor(weights).astype(int)
    has_extra_copy = rng.random(len(weights)) < weights - num_copies
    repeated = np.repeat(clip_indices, (num_copies + has_extra_copy)[clip_indices])
    # At least one clip, so that every epoch has a batch.
    sampled = repeated if len(repeated) else clip_indices[:1]
    return sampled[rng.permutation(len(sampled))]


def split_into_batches(
    clip_indices: Sequence[int], lengths: Sequence[int], config: BatchConfig
) -> list[tuple[int, ...]]:
    """Split clips, without changing their order, into batches that fit the frame budget.

    The budget includes padding: a batch takes up as many frames as its longest clip has, times its
    number of clips. A clip that exceeds the budget forms its own batch. With `batch_size`, there is
    no budget: every batch has this number of clips, and only the last one may have fewer.

    Args:
        clip_indices: Indices of the clips to split.
        lengths: Number of frames of each clip, by clip index.
        config: Batch config with the frame budget (`max_frames`; `DEFAULT_MAX_FRAMES` if unset) or
            the number of clips of a batch (`batch_size`).

    Returns:
        Clip indices of each batch.
    """
    if config.batch_size is not None:
        size = config.batch_size
        return [tuple(clip_indices[i : i + size]) for i in range(0, len(clip_indices), size)]
    budget = config.max_frames or DEFAULT_MAX_FRAMES
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    longest = 0
    for index in clip_indices:
        longest = max(longest, lengths[index])
        # The cost includes padding: the number of clips times the longest.
        if current and longest * (len(current) + 1) > budget:
            batches.append(tuple(current))
            current, longest = [], lengths[index]
        current.append(index)
    if current:
        batches.append(tuple(current))
    return batches


def _compute_window_size(lengths: NDArray[np.int_], config: BatchConfig) -> int:
    """Compute the number of clips that are sorted by length together, about 50 batches.

    With a fixed batch size, windows are whole batches, so only the last batch can be smaller.
    """
    if config.batch_size is not None:
        return config.batch_size * _WINDOW_BATCHES
    budget = config.max_frames or DEFAULT_MAX_FRAMES
    return max(1, int(budget / max(1.0, float(lengths.mean())))) * _WINDOW_BATCHES
