"""Training data of frame embedders: batches of pairs of clips, or of two views of each clip.

The pairs of an epoch, the frames drawn from each clip and the augmentation of its points are pure
functions of (seed, epoch, clip id), so a resumed run continues with the same batches. A batch is
computed from the training step alone; planning an epoch of 10,000 clips takes 10 ms.

Shapes: B pairs, T frames, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinesweep.config.embedding_recipe import CarlConfig, EmbeddingRecipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.schema import StoreSchema
from kinesweep.core.seeds import create_generator
from kinesweep.features.augmentation import build_augmentation
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

# Indices of two clips, which are equal if the pair consists of two views of one clip.
Pair = tuple[int, int]


@dataclass(frozen=True)
class PaddedClips:
    """The first or the second clip of each pair of a batch, padded.

    Attributes:
        x_BTD: Features, float32.
        mask_BT: True at real frames.
        frame_index_BT: Index of each frame in its clip, float32.
    """

    x_BTD: Tensor
    mask_BT: Tensor
    frame_index_BT: Tensor

    def to(self, device: torch.device) -> "PaddedClips":
        """Return a copy of the tensors on another device."""
        return PaddedClips(
            self.x_BTD.to(device), self.mask_BT.to(device), self.frame_index_BT.to(device)
        )


def get_motion_label(clip: Clip) -> str:
    """Return the label by which clips are paired.

    It is the gloss, else the name of the reference motion, else the clip's own id.
    """
    # A clip's id is the fallback because reference motions are named by clip ids: a clip that
    # serves as a reference motion is paired with the clips that are compared with it.
    return clip.gloss or clip.reference or clip.id


def group_by_motion(records: Sequence[ClipRecord]) -> list[list[int]]:
    """Group the indices of the clips by motion label; labels with a single clip are left out."""
    indices_by_motion: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        indices_by_motion.setdefault(get_motion_label(record.clip), []).append(index)
    return [indices for indices in indices_by_motion.values() if len(indices) > 1]


def plan_pairs(groups: Sequence[Sequence[int]], seed: int, epoch: int) -> list[Pair]:
    """Plan the pairs of an epoch: pair every clip with another clip of the same motion.

    If a motion has an odd number of clips, one clip occurs in two pairs.

    Args:
        groups: Indices of the clips of each motion, at least two per motion.
        seed: Random seed of the run.
        epoch: Index of the epoch, counted from 0.

    Returns:
        The pairs in random order.
    """
    rng = create_generator(seed, "pairs", epoch)
    pairs: list[Pair] = []
    for indices in groups:
        shuffled = [indices[i] for i in rng.permutation(len(indices))]
        if len(shuffled) % 2:
            shuffled.append(shuffled[0])
        # Every second neighboring pair: (0, 1), (2, 3), …
        pairs += list(pairwise(shuffled))[::2]
    return [pairs[i] for i in rng.permutation(len(pairs))]


def draw_frame_indices(
    num_frames: int, max_frames: int, min_fraction: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw the indices of frames from a random part of a clip.

    The part is a section of consecutive frames with a random start and a random length between
    `min_fraction` and 1 of the clip, and at least two frames if the clip has them.

    Args:
        num_frames: Number of frames of the clip.
        max_frames: Maximum number of frames to draw. A part with more frames is subsampled at
            random; otherwise all of its frames are returned.
        min_fraction: Minimum length of the part, as a share of the clip.
        rng: Random number generator.

    Returns:
        Indices of the frames, ascending.
    """
    part_length = max(min(2, num_frames), round(num_frames * rng.uniform(min_fraction, 1)))
    start = int(rng.integers(0, num_frames - part_length + 1))
    if part_length <= max_frames:
        return np.arange(start, start + part_length)
    return start + np.sort(rng.choice(part_length, max_frames, replace=False))


class PairBatches:
    """The training batches of a frame embedder; calling it with a step returns the batch.

    Args:
        store: Store of the features.
        recipe: Recipe of the embedder; its objective defines the pairs.
        stream: Name of the stream that the embedder is trained on.

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
    def num_unpaired_clips(self) -> int:
        """Return the number of training clips whose motion no other training clip shows.

        These clips are not used. For CARL it is 0, because each clip is paired with itself.
        """
        num_paired = sum(map(len, self._groups))
        return 0 if isinstance(self._objective, CarlConfig) else len(self._records) - num_paired

    def __call__(self, step: int) -> tuple[PaddedClips, PaddedClips]:
        """Return the batch of a training step: the first and the second clip of each pair.

        Args:
            step: Index of the training step, counted from 0.
        """
        # A pair of different clips takes two of `batch.batch_size`, two views of a clip take one.
        num_pairs = (
            self._batch.batch_size if not self._groups else max(1, self._batch.batch_size // 2)
        )
        batches_per_epoch = -(-len(self._get_pairs(0)) // num_pairs)
        epoch, batch_index = divmod(step, batches_per_epoch)
        start = batch_index * num_pairs
        pairs = self._get_pairs(epoch)[start : start + num_pairs]
        return self._build_side(pairs, 0, epoch), self._build_side(pairs, 1, epoch)

    def _get_pairs(self, epoch: int) -> list[Pair]:
        """Return the pairs of an epoch; those of the epoch requested last are cached."""
        if self._cached_pairs is None or self._cached_pairs[0] != epoch:
            self._cached_pairs = epoch, self._draw_pairs(epoch)
        return self._cached_pairs[1]

    def _draw_pairs(self, epoch: int) -> list[Pair]:
        """Draw the pairs of an epoch in random order; for CARL, each clip is paired with itself."""
        if self._groups:
            return plan_pairs(self._groups, self._seed, epoch)
        rng = create_generator(self._seed, "order", epoch)
        return [(int(i), int(i)) for i in rng.permutation(len(self._records))]

    def _build_side(self, pairs: Sequence[Pair], side: int, epoch: int) -> PaddedClips:
        """Build one side of a batch: draw frames of one clip of each pair, augment and pad them.

        Args:
            pairs: Pairs of the batch.
            side: Position of the clip in its pair, 0 or 1.
            epoch: Index of the epoch, counted from 0.
        """
        features, frame_indices = [], []
        min_fraction = self._objective.crop if isinstance(self._objective, CarlConfig) else 1.0
        for pair in pairs:
            record = self._records[pair[side]]
            # The side is part of the key, so two views of one clip differ.
            view = f"{record.clip.id}/{side}"
            streams = self._store.get_features(record.at_epoch(epoch))
            x_TD = np.asarray(streams[self._stream], np.float32)
            rng = create_generator(self._seed, "view", epoch, view)
            indices_T = draw_frame_indices(len(x_TD), self._batch.frames, min_fraction, rng)
            x_TD = x_TD[indices_T]
            if self._augmentation is not None:
                x_TD = self._augmentation({self._stream: x_TD}, view, epoch)[self._stream]
            features.append(x_TD)
            frame_indices.append(indices_T)
        return pad_clips(features, frame_indices)


def pad_clips(
    features: Sequence[NDArray[np.float32]], frame_indices: Sequence[NDArray[np.intp]]
) -> PaddedClips:
    """Pad the features of clips and the indices of their frames on the right with zeros.

    Args:
        features: Features of each clip, (T, D).
        frame_indices: Index of each frame in its clip, (T,), for each clip.
    """
    longest = max(map(len, features))
    x_BTD = np.zeros((len(features), longest, features[0].shape[1]), np.float32)
    mask_BT = np.zeros(x_BTD.shape[:2], np.bool_)
    time_BT = np.zeros(x_BTD.shape[:2], np.float32)
    for row, (x_TD, indices_T) in enumerate(zip(features, frame_indices, strict=True)):
        x_BTD[row, : len(x_TD)] = x_TD
        mask_BT[row, : len(x_TD)] = True
        time_BT[row, : len(x_TD)] = indices_T
    return PaddedClips(
        torch.from_numpy(x_BTD), torch.from_numpy(mask_BT), torch.from_numpy(time_BT)
    )


def format_no_pairs_error(split: str, num_clips: int) -> str:
    """Format the error message for a split in which no two clips show the same motion."""
    return (
        f"No two of the {num_clips} clips of {split} show the same motion. Name the motion in the"
        " corpus's column `gloss` (or map a column: `source.columns.gloss`), or set references. For"
        " train, `embedding.kind: carl` needs neither."
    )
