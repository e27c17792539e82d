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
from kinesweep.core.seeds import create_generator
from kinesweep.features.augmentation import build_augmentation
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

Pair = tuple[int, int]


@dataclass(frozen=True)
class PaddedClips:
    """One of the two clips of each pair, padded.

    Attributes:
        x_BTD: Features, float32.
        mask_BT: True for real frames.
        time_BT: Index of each frame in its clip.
    """

    x_BTD: Tensor
    mask_BT: Tensor
    time_BT: Tensor

    def to(self, device: torch.device) -> "PaddedClips":
        """Return a copy of the tensors on another device."""
        return PaddedClips(self.x_BTD.to(device), self.mask_BT.to(device), self.time_BT.to(device))


def get_motion_label(clip: Clip) -> str:
    """Return the label of a clip's motion: its gloss, else its reference, else its own id."""
    # A clip's id is the fallback because references point to clips by id: a clip that serves as
    # reference is paired with those compared with it.
    return clip.gloss or clip.reference or clip.id


def group_by_motion(records: Sequence[ClipRecord]) -> list[list[int]]:
    """Group clip indices by motion label; motions with a single clip are left out."""
    indices_by_motion: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        indices_by_motion.setdefault(get_motion_label(record.clip), []).append(index)
    return [indices for indices in indices_by_motion.values() if len(indices) > 1]


def plan_pairs(groups: Sequence[Sequence[int]], seed: int, epoch: int) -> list[Pair]:
    """Plan the pairs of an epoch: every clip with another one of the same motion.

    If a motion has an odd number of clips, one clip occurs in two pairs.

    Args:
        groups: Indices of the clips of each motion.
        seed: Random seed of the run.
        epoch: Number of the epoch.
    """
    rng = create_generator(seed, "pairs", epoch)
    pairs: list[Pair] = []
    for indices in groups:
        order = [indices[i] for i in rng.permutation(len(indices))]
        if len(order) % 2:
            order.append(order[0])
        # Every second neighboring pair: (0, 1), (2, 3), …
        pairs += list(pairwise(order))[::2]
    return [pairs[i] for i in rng.permutation(len(pairs))]


def draw_frame_indices(
    num_frames: int, max_frames: int, min_fraction: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw frame indices from a random part of a clip: all of them, or a random subset.

    Args:
        num_frames: Number of frames of the clip.
        max_frames: Maximum number of frames to draw; a shorter part is returned whole.
        min_fraction: Minimum length of the part, as a share of the clip.
        rng: Random number generator.

    Returns:
        Indices of the frames, ascending.
    """
    part = max(min(2, num_frames), round(num_frames * rng.uniform(min_fraction, 1)))
    first = int(rng.integers(0, num_frames - part + 1))
    if part <= max_frames:
        return np.arange(first, first + part)
    return first + np.sort(rng.choice(part, max_frames, replace=False))


class PairBatches:
    """The training batches of a frame embedder; calling it with a step returns two padded sides.

    Args:
        store: Store of the features.
        recipe: Recipe of the embedder; its objective defines the pairs.
        stream: Name of the stream.

    Raises:
        InputError: If there are no pairs, or augmentation needs points that the stream lacks.
    """

    def __init__(self, store: Store, recipe: EmbeddingRecipe, stream: str) -> None:
        self._store, self._stream, self._batch = store, stream, recipe.batch
        self._records = store.get_records("train")
        self._seed = recipe.training.seed
        self._objective = recipe.embedding
        groups = group_by_motion(self._records)
        self._groups = [] if isinstance(self._objective, CarlConfig) else groups
        if not isinstance(self._objective, CarlConfig) and not groups:
            raise InputError(format_no_pairs_error("train", len(self._records)))
        schema = StoreSchema({stream: store.schema.streams[stream]})
        augmentation_config = recipe.batch.augmentation
        # `max_frames` has no effect: the recipe rejects augmentation that changes clip lengths.
        self._augmentation = build_augmentation(
            augmentation_config, schema, self._seed, max_frames=1
        )
        self._cached_pairs: tuple[int, list[Pair]] | None = None

    @property
    def num_unpaired(self) -> int:
        """Number of training clips without a pair, because no other clip shows their motion."""
        num_paired = sum(map(len, self._groups))
        return 0 if isinstance(self._objective, CarlConfig) else len(self._records) - num_paired

    def __call__(self, step: int) -> tuple[PaddedClips, PaddedClips]:
        """Return the two sides of a step's batch; steps count from 0."""
        # A pair of different clips takes two of `batch.batch_size`, two views of a clip take one.
        size = self._batch.batch_size if not self._groups else max(1, self._batch.batch_size // 2)
        per_epoch = -(-len(self._get_pairs(0)) // size)
        epoch, number = divmod(step, per_epoch)
        pairs = self._get_pairs(epoch)[number * size : (number + 1) * size]
        return self._build_side(pairs, 0, epoch), self._build_side(pairs, 1, epoch)

    def _get_pairs(self, epoch: int) -> list[Pair]:
        """Return the pairs of an epoch; the last epoch is cached."""
        if self._cached_pairs is None or self._cached_pairs[0] != epoch:
            self._cached_pairs = epoch, self._draw_pairs(epoch)
        return self._cached_pairs[1]

    def _draw_pairs(self, epoch: int) -> list[Pair]:
        """Draw the pairs of an epoch; for CARL, each clip with itself, in random order."""
        if self._groups:
            return plan_pairs(self._groups, self._seed, epoch)
        rng = create_generator(self._seed, "order", epoch)
        return [(int(i), int(i)) for i in rng.permutation(len(self._records))]

    def _build_side(self, pairs: Sequence[Pair], side: int, epoch: int) -> PaddedClips:
        """Build one side of a batch: the first or second clip of each pair, padded."""
        clips, times = [], []
        min_fraction = self._objective.crop if isinstance(self._objective, CarlConfig) else 1.0
        for pair in pairs:
            record = self._records[pair[side]]
            # The side is part of the key, so two views of one clip differ.
            view = f"{record.clip.id}/{side}"
            x_TD = np.asarray(self._store.get_features(record)[self._stream], np.float32)
            rng = create_generator(self._seed, "view", epoch, view)
            frames = draw_frame_indices(len(x_TD), self._batch.frames, min_fraction, rng)
            x_TD = x_TD[frames]
            if self._augmentation is not None:
                x_TD = self._augmentation({self._stream: x_TD}, view, epoch)[self._stream]
            clips.append(x_TD)
            times.append(frames)
        return pad_clips(clips, times)


def pad_clips(
    clips: Sequence[NDArray[np.float32]], times: Sequence[NDArray[np.intp]]
) -> PaddedClips:
    """Pad clips (T, D) and the timestamps of their frames (T,) on the right."""
    longest = max(map(len, clips))
    x_BTD = np.zeros((len(clips), longest, clips[0].shape[1]), np.float32)
    mask_BT = np.zeros(x_BTD.shape[:2], np.bool_)
    time_BT = np.zeros(x_BTD.shape[:2], np.float32)
    for row, (x_TD, time_T) in enumerate(zip(clips, times, strict=True)):
        x_BTD[row, : len(x_TD)] = x_TD
        mask_BT[row, : len(x_TD)] = True
        time_BT[row, : len(x_TD)] = time_T
    return PaddedClips(
        torch.from_numpy(x_BTD), torch.from_numpy(mask_BT), torch.from_numpy(time_BT)
    )


def format_no_pairs_error(split: str, num_clips: int) -> str:
    """Format the error message for a split without two clips of the same motion."""
    return (
        f"No two of the {num_clips} clips of {split} show the same motion. Name the motion in the"
        " corpus's column `gloss` (or map a column: `source.columns.gloss`), or set references. For"
        " train, `embedding.kind: carl` needs neither."
    )
