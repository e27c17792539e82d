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

DEFAULT_MAX_FRAMES = 4096
# Larger windows leave less padding, but make the composition of batches less random.
_WINDOW_BATCHES = 50


def plan_epoch(
    lengths: Sequence[int],
    config: BatchConfig,
    seed: int,
    epoch: int,
    weights: NDArray[np.float64] | None = None,
) -> list[tuple[int, ...]]:
    """Plan the batches of an epoch: return the clip indices of each batch.

    The result is a pure function of the arguments.

    Args:
        lengths: Number of frames of each clip.
        config: Batch config with the frame budget or the number of clips.
        seed: Random seed for the order.
        epoch: Number of the epoch.
        weights: Average number of times each clip occurs per epoch; None: once.
    """
    rng = create_generator(seed, "order", epoch)
    order = rng.permutation(len(lengths))
    if weights is not None:
        order = _sample_by_weight(order, weights, rng)
    sizes = np.asarray(lengths)
    window = _compute_window_size(sizes, config)
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        by_length = part[np.argsort(sizes[part], kind="stable")]
        batches += split_into_batches(by_length.tolist(), lengths, config)
    # Without this shuffle, training would go from short to long clips within each window.
    return [batches[i] for i in rng.permutation(len(batches))]


def _sample_by_weight(
    order: NDArray[np.intp], weights: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Sample clips by their weights, which are average numbers of occurrences.

    For the fractional part of a weight, a different random share of the clips occurs each epoch.
    """
    num_copies = np.floor(weights).astype(int)
    extra = rng.random(len(weights)) < weights - num_copies
    repeated = np.repeat(order, (num_copies + extra)[order])
    # At least one clip, so that every epoch has a batch.
    sampled = repeated if len(repeated) else order[:1]
    return sampled[rng.permutation(len(sampled))]


def split_into_batches(
    order: Sequence[int], lengths: Sequence[int], config: BatchConfig
) -> list[tuple[int, ...]]:
    """Split clips into consecutive batches within the frame budget.

    A clip that exceeds the budget forms its own batch.
    """
    if config.batch_size is not None:
        size = config.batch_size
        return [tuple(order[i : i + size]) for i in range(0, len(order), size)]
    budget = config.max_frames or DEFAULT_MAX_FRAMES
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        # The cost includes padding: the number of clips times the longest.
        if current and longest * (len(current) + 1) > budget:
            batches.append(tuple(current))
            current, longest = [], lengths[index]
        current.append(index)
    if current:
        batches.append(tuple(current))
    return batches


def _compute_window_size(sizes: np.ndarray, config: BatchConfig) -> int:
    """Compute the number of clips that are sorted by length together.

    With a fixed batch size, windows are whole batches, so only the last batch can be smaller.
    """
    if config.batch_size is not None:
        return config.batch_size * _WINDOW_BATCHES
    budget = config.max_frames or DEFAULT_MAX_FRAMES
    return max(1, int(budget / max(1.0, float(sizes.mean())))) * _WINDOW_BATCHES
