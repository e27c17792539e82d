"""The planner of epochs: clip lengths, batch settings, a seed and an epoch give batches of clips.

No features are read, and no tokenizer is needed, so the batches of an epoch can be counted before
anything of a run is built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.errors import InputError
from kinesweep.core.schema import StoreSchema
from kinesweep.data.bucketing import plan_epoch
from kinesweep.data.length_limits import count_clip_frames, count_frames, truncate_lengths
from kinesweep.features.augmentation import Augmentation, build_augmentation
from kinesweep.store.format.index import ClipRecord


@dataclass(frozen=True)
class EpochPlan:
    """The plan of an epoch.

    Attributes:
        epoch: Index of the epoch, counted from 0.
        lengths: Number of frames of each clip in this epoch.
        batches: Clip indices of each batch, over all ranks.
    """

    epoch: int
    lengths: Sequence[int]
    batches: Sequence[tuple[int, ...]]


class EpochPlanner:
    """A planner of the batches of each epoch; it caches the plan that was requested last.

    Args:
        records: Clips of the training examples; a clip may occur more than once.
        config: Batch config: frame budget or batch size, length limits and augmentation.
        schema: Schema of the feature store.
        seed: Random seed for order and augmentation.
        weights: Corpus name → average number of times that its clips occur per epoch; 1 if missing.
        augmentation_pairs: Stream → stream whose random augmentation it shares.

    Attributes:
        lengths: Number of frames of each clip without augmentation; that of its longest variant.
        augmentation: Augmentation of training clips; None if it would change nothing.

    Raises:
        InputError: If clips cannot be augmented, or if `drop_last` leaves no batch.
    """

    def __init__(
        self,
        records: Sequence[ClipRecord],
        config: BatchConfig,
        schema: StoreSchema,
        seed: int,
        weights: Mapping[str, float] | None = None,
        augmentation_pairs: Mapping[str, str] | None = None,
    ) -> None:
        self._records, self._config, self._seed = records, config, seed
        self.lengths = [
            max(count_frames(truncate_lengths(item, config), config) for item in record.all_lengths)
            for record in records
        ]
        self._has_variants = any(record.epoch_lengths for record in records)
        self._weights = _compute_clip_weights(records, weights or {})
        self.augmentation: Augmentation | None = build_augmentation(
            config.augmentation, schema, seed, max(self.lengths), augmentation_pairs
        )
        self._cached_plan: EpochPlan | None = None
        self._check_last_batch()

    def plan(self, epoch: int) -> EpochPlan:
        """Return the plan of an epoch, counted from 0; a pure function of the arguments."""
        if self._cached_plan is None or self._cached_plan.epoch != epoch:
            lengths: Sequence[int] = self.lengths
            # Batches must fit the budget with the variants of this epoch, and after augmentation
            # has changed their lengths.
            is_temporal = self._config.augmentation.has_temporal_augmentation
            if self._has_variants or (self.augmentation is not None and is_temporal):
                lengths = [self._count_epoch_frames(record, epoch) for record in self._records]
            batches = plan_epoch(lengths, self._config, self._seed, epoch, self._weights)
            self._cached_plan = EpochPlan(epoch, lengths, batches)
        return self._cached_plan

    def count_batches(self) -> int:
        """Return the number of batches in an epoch, over all ranks, without planning if possible.

        With a frame budget or weighted corpora, the number varies between epochs, usually by less
        than a percent; that of the first epoch is returned.
        """
        size = self._config.batch_size
        if size is None or self._weights is not None:
            return len(self.plan(0).batches)
        num_full_batches, num_left = divmod(len(self._records), size)
        return num_full_batches + (num_left > 0 and not self._config.drop_last)

    def _count_epoch_frames(self, record: ClipRecord, epoch: int) -> int:
        """Count the frames of a clip in an epoch after truncation and augmentation.

        No features are loaded. Frames are summed over streams, without those of reference motions.
        """
        record = record.at_epoch(epoch)
        if self.augmentation is None:
            return count_clip_frames(record, self._config)
        lengths = truncate_lengths(record.lengths, self._config)
        augmented_lengths = self.augmentation.compute_lengths(lengths, record.clip.id, epoch)
        return count_frames(truncate_lengths(augmented_lengths, self._config), self._config)

    def _check_last_batch(self) -> None:
        """Check that the first epoch has a batch although `drop_last` may leave batches out.

        Raises:
            InputError: If no batch is left.
        """
        if self._config.drop_last and not self.count_batches():
            raise InputError(
                f"an epoch has no batch: `batch.drop_last` leaves out batches with fewer than"
                f" `batch.batch_size` ({self._config.batch_size}) clips, but train has only"
                f" {len(self._records)}; lower `batch.batch_size` or set `batch.drop_last: false`"
            )


def _compute_clip_weights(
    records: Sequence[ClipRecord], weights: Mapping[str, float]
) -> NDArray[np.float64] | None:
    """Compute the average number of times that each clip occurs per epoch.

    Args:
        records: Clips.
        weights: Corpus name → average number of times that its clips occur; 1 if missing.

    Returns:
        One value per clip, or None if every clip occurs exactly once.
    """
    clip_weights = np.array([weights.get(record.clip.corpus, 1.0) for record in records])
    return None if (clip_weights == 1).all() else clip_weights
