"""Pairs of clips, or of views of a clip, side by side: what embedders are trained on.

Which clips meet in an epoch, which frames are drawn of them and how their points are varied are
pure functions of (seed, epoch, clip id): a run that was killed goes on with the same batches. A
batch is found by its step; an epoch of 10,000 clips is planned in 10 ms.

Shapes: B pairs, T frames, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.embedding import CarlConfig, EmbeddingRecipe
from kinesweep.core.schema import StoreSchema
from kinesweep.core.seeds import generator
from kinesweep.features.augmentation import build_augmentation
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store

Pair = tuple[int, int]


@dataclass(frozen=True)
class Side:
    """One of the two clips of each pair, padded.

    Attributes:
        x_BTD: float32 frames.
        mask_BT: True for frames.
        time_BT: where each was, in frames of its clip.
    """

    x_BTD: Tensor
    mask_BT: Tensor
    time_BT: Tensor

    def to(self, device: torch.device) -> "Side":
        """The same on another device."""
        return Side(self.x_BTD.to(device), self.mask_BT.to(device), self.time_BT.to(device))


def kind_of(clip: Clip) -> str:
    """What a clip shows: its gloss; else what it is compared with; else itself, as a reference."""
    return clip.gloss or clip.reference or clip.id


def by_kind(records: Sequence[ClipRecord]) -> list[list[int]]:
    """Places of the clips of each kind of which there are two or more, in order."""
    found: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        found.setdefault(kind_of(record.clip), []).append(place)
    return [places for places in found.values() if len(places) > 1]


def plan_pairs(kinds: Sequence[Sequence[int]], seed: int, epoch: int) -> list[Pair]:
    """Every clip with another of its kind, once an epoch; an odd one meets a second partner."""
    rng = generator(seed, "pairs", epoch)
    pairs: list[Pair] = []
    for places in kinds:
        order = [places[i] for i in rng.permutation(len(places))]
        if len(order) % 2:
            order.append(order[0])
        pairs += list(pairwise(order))[::2]
    return [pairs[i] for i in rng.permutation(len(pairs))]


def draw_frames(
    num_frames: int, most: int, least_share: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Frames of a clip, in order: of a part of it, evenly spread or fewer at random.

    Args:
        num_frames: of the clip.
        most: how many are drawn; a shorter part gives all.
        least_share: the part is so much of the clip at least.
        rng: draws.
    """
    part = max(min(2, num_frames), round(num_frames * rng.uniform(least_share, 1)))
    first = int(rng.integers(0, num_frames - part + 1))
    if part <= most:
        return np.arange(first, first + part)
    return first + np.sort(rng.choice(part, most, replace=False))


class PairStream:
    """The batches of a run, by step.

    Args:
        store: the features.
        recipe: says what pairs are.
        stream: which features.

    Raises:
        InputError: there is nothing to pair, or points are to vary that are none.
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
        self._vary = build_augmentation(varied, schema, self._seed, longest=1)
        self._planned: tuple[int, list[Pair]] | None = None

    @property
    def left_out(self) -> int:
        """Clips of train that are in no pair, because they are the only ones of their kind."""
        taken = sum(map(len, self._kinds))
        return 0 if isinstance(self._objective, CarlConfig) else len(self._records) - taken

    def __call__(self, step: int) -> tuple[Side, Side]:
        """The batch of a step, from 0."""
        size = self._batch.clips if not self._kinds else max(1, self._batch.clips // 2)
        per_epoch = -(-len(self._pairs(0)) // size)
        epoch, number = divmod(step, per_epoch)
        pairs = self._pairs(epoch)[number * size : (number + 1) * size]
        return self._side(pairs, 0, epoch), self._side(pairs, 1, epoch)

    def _pairs(self, epoch: int) -> list[Pair]:
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1]

    def _plan(self, epoch: int) -> list[Pair]:
        if self._kinds:
            return plan_pairs(self._kinds, self._seed, epoch)
        rng = generator(self._seed, "order", epoch)
        return [(int(i), int(i)) for i in rng.permutation(len(self._records))]

    def _side(self, pairs: Sequence[Pair], side: int, epoch: int) -> Side:
        clips, times = [], []
        share = self._objective.crop if isinstance(self._objective, CarlConfig) else 1.0
        for pair in pairs:
            record = self._records[pair[side]]
            view = f"{record.clip.id}/{side}"
            x_TD = np.asarray(self._store.features(record)[self._stream], np.float32)
            rng = generator(self._seed, "view", epoch, view)
            frames = draw_frames(len(x_TD), self._batch.frames, share, rng)
            x_TD = x_TD[frames]
            if self._vary is not None:
                x_TD = self._vary({self._stream: x_TD}, view, epoch)[self._stream]
            clips.append(x_TD)
            times.append(frames)
        return put_together(clips, times)


def put_together(clips: Sequence[NDArray[np.float32]], times: Sequence[NDArray[np.intp]]) -> Side:
    """Clips (T, D) and their frames' times (T,), padded on the right."""
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
    """What to say where no two clips show the same motion."""
    return (
        f"No two of the {clips} clips of {split} show the same kind of motion. Name it in the"
        " corpus's column `gloss` (or map one: `source.columns.gloss`), or name references; for"
        " train, `embedding.kind: carl` needs none."
    )
