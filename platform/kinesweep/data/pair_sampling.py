"""Training data of frame embedders: batches of pairs of clips, or of two views of each clip.

The pairs of an epoch, the frames drawn from each clip and the augmentation of its points are pure
functions of (seed, epoch, clip id), so a resumed run continues with the same batches. A batch is
computed from its step; planning an epoch of 10,000 clips takes 10 ms.

Shapes: B pairs, T frames, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinesweep.config.recipe.embedding import CarlConfig, EmbeddingRecipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.schema import StoreSchema
from kinesweep.core.seeds import generator
from kinesweep.features.augmentation import build_augmentation
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

Pair = tuple[int, int]


@dataclass(frozen=True)
class Side:
    """One of the two clips of each pair, padded.

    Attributes:
        x_BTD: Features, float32.
        mask_BT: True for real frames.
        time_BT: Index of each frame in its clip.
    """

    x_BTD: Tensor
    mask_BT: Tensor
    time_BT: Tensor

    def to(self, device: torch.device) -> "Side":
        """Return a copy on another device."""
        return Side(self.x_BTD.to(device), self.mask_BT.to(device), self.time_BT.to(device))


def pair_label(clip: Clip) -> str:
    """Return the motion that a clip shows: its gloss, else its reference, else its own id."""
    # A clip's id is the fallback because references point to clips by id: a clip that serves as
    # reference is paired with those compared with it.
    return clip.gloss or clip.reference or clip.id


def by_kind(records: Sequence[ClipRecord]) -> list[list[int]]:
    """Return the indices of the clips of each kind with at least two clips, in order."""
    found: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        found.setdefault(pair_label(record.clip), []).append(place)
    return [places for places in found.values() if len(places) > 1]


def plan_pairs(kinds: Sequence[Sequence[int]], seed: int, epoch: int) -> list[Pair]:
    """Pair every clip with another of its kind, once per epoch.

    If a kind has an odd number of clips, one clip occurs in two pairs.
    """
    rng = generator(seed, "pairs", epoch)
    pairs: list[Pair] = []
    for places in kinds:
        order = [places[i] for i in rng.permutation(len(places))]
        if len(order) % 2:
            order.append(order[0])
        # Every second neighboring pair: (0, 1), (2, 3), …
        pairs += list(pairwise(order))[::2]
    return [pairs[i] for i in rng.permutation(len(pairs))]


def draw_frames(
    num_frames: int, most: int, least_share: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw frames from a random part of a clip: all of them, or a random subset, in order.

    Args:
        num_frames: Number of frames of the clip.
        most: Maximum number of frames to draw; a shorter part is returned whole.
        least_share: Minimum length of the part, as a share of the clip.
        rng: Random number generator.

    Returns:
        Indices of the frames, ascending.
    """
    part = max(min(2, num_frames), round(num_frames * rng.uniform(least_share, 1)))
    first = int(rng.integers(0, num_frames - part + 1))
    if part <= most:
        return np.arange(first, first + part)
    return first + np.sort(rng.choice(part, most, replace=False))


class PairStream:
    """The training batches of a run, by step.

    Args:
        store: Store of the features.
        recipe: Recipe of the embedder; its objective defines the pairs.
        stream: Name of the stream.

    Raises:
        InputError: If there are no pairs, or augmentation needs points that the stream lacks.
    """

    def __init__(self, store: Store, recipe: EmbeddingRecipe, stream: str) -> None:
        self._store, self._stream, self._batch = store, stream, recipe.batch
        self._records = store.records("train")
        self._seed = recipe.training.seed
        self._objective = recipe.embedding
        kinds = by_kind(self._records)
        self._kinds = [] if isinstance(self._objective, CarlConfig) else kinds
        if not isinstance(self._objective, CarlConfig) and not kinds:
            raise InputError(no_pairs("train", len(self._records)))
        schema = StoreSchema({stream: store.schema.streams[stream]})
        varied = recipe.batch.augmentation
        # `longest` has no effect: the recipe rejects augmentation that changes the length of clips.
        self._vary = build_augmentation(varied, schema, self._seed, longest=1)
        self._planned: tuple[int, list[Pair]] | None = None

    @property
    def left_out(self) -> int:
        """Number of training clips without a pair, because no other clip is of their kind."""
        taken = sum(map(len, self._kinds))
        return 0 if isinstance(self._objective, CarlConfig) else len(self._records) - taken

    def __call__(self, step: int) -> tuple[Side, Side]:
        """Return the two sides of a step's batch; steps count from 0."""
        # A pair of different clips takes two of `batch.batch_size`, two views of a clip take one.
        size = self._batch.batch_size if not self._kinds else max(1, self._batch.batch_size // 2)
        per_epoch = -(-len(self._pairs(0)) // size)
        epoch, number = divmod(step, per_epoch)
        pairs = self._pairs(epoch)[number * size : (number + 1) * size]
        return self._side(pairs, 0, epoch), self._side(pairs, 1, epoch)

    def _pairs(self, epoch: int) -> list[Pair]:
        """Return the pairs of an epoch; the last epoch is cached."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1]

    def _plan(self, epoch: int) -> list[Pair]:
        """Draw the pairs of an epoch; for CARL, each clip with itself, in random order."""
        if self._kinds:
            return plan_pairs(self._kinds, self._seed, epoch)
        rng = generator(self._seed, "order", epoch)
        return [(int(i), int(i)) for i in rng.permutation(len(self._records))]

    def _side(self, pairs: Sequence[Pair], side: int, epoch: int) -> Side:
        """Return the first or second clip of each pair as a padded batch."""
        clips, times = [], []
        share = self._objective.crop if isinstance(self._objective, CarlConfig) else 1.0
        for pair in pairs:
            record = self._records[pair[side]]
            # The side is part of the key, so two views of one clip differ.
            view = f"{record.clip.id}/{side}"
            x_TD = np.asarray(self._store.features(record)[self._stream], np.float32)
            rng = generator(self._seed, "view", epoch, view)
            frames = draw_frames(len(x_TD), self._batch.frames, share, rng)
            x_TD = x_TD[frames]
            if self._vary is not None:
                x_TD = self._vary({self._stream: x_TD}, view, epoch)[self._stream]
            clips.append(x_TD)
            times.append(frames)
        return pad_pairs(clips, times)


def pad_pairs(clips: Sequence[NDArray[np.float32]], times: Sequence[NDArray[np.intp]]) -> Side:
    """Pad clips (T, D) and the timestamps of their frames (T,) on the right."""
    longest = max(map(len, clips))
    x_BTD = np.zeros((len(clips), longest, clips[0].shape[1]), np.float32)
    mask_BT = np.zeros(x_BTD.shape[:2], np.bool_)
    time_BT = np.zeros(x_BTD.shape[:2], np.float32)
    for row, (x_TD, time_T) in enumerate(zip(clips, times, strict=True)):
        x_BTD[row, : len(x_TD)] = x_TD
        mask_BT[row, : len(x_TD)] = True
        time_BT[row, : len(x_TD)] = time_T
    return Side(torch.from_numpy(x_BTD), torch.from_numpy(mask_BT), torch.from_numpy(time_BT))


def no_pairs(split: str, clips: int) -> str:
    """Return the error message for a split without two clips of the same motion."""
    return (
        f"No two of the {clips} clips of {split} show the same motion. Name the motion in the"
        " corpus's column `gloss` (or map a column: `source.columns.gloss`), or set references. For"
        " train, `embedding.kind: carl` needs neither."
    )
