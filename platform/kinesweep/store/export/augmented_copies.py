"""The specification of augmented copies of the clips of train, for exports in SSVP-SLT's layout.

SSVP-SLT extracts each clip once per epoch, with other random augmentations each time. The copies
are those that a training run of Kinesweep sees in its first epochs; `export_ssvp` computes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.core.errors import InputError
from kinesweep.features.augmentation import Augmentation, build_augmentation
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class AugmentedCopiesSpec:
    """The specification of augmented copies that an export writes instead of the clips of train.

    Attributes:
        augmentation: Augmentation that creates the copies.
        num_copies: Number of copies of each clip.
    """

    augmentation: Augmentation
    num_copies: int


def build_augmented_copies_spec(
    store: Store,
    config: AugmentationConfig,
    seed: int,
    augmentation_pairs: Mapping[str, str],
    num_copies: int,
) -> AugmentedCopiesSpec:
    """Build the specification of copies that match the first epochs of a training run.

    No copy is computed; the export does this clip by clip.

    Args:
        store: Store with the clips of train.
        config: Augmentation of the run, `batch.augmentation` of its recipe.
        seed: Random seed of the run, `training.seed` of its recipe.
        augmentation_pairs: Stream of a reference motion → stream of its motion, which both get the
            same augmentation (`Recipe.augmentation_pairs`).
        num_copies: Number of copies of each clip.

    Raises:
        InputError: If no augmentation is enabled, or the augmentation cannot handle these features.
        StoreError: If the store has no split `train`.
    """
    # The stream of a reference motion follows its motion frame by frame, so it does not count
    # towards the length of a clip.
    max_num_frames = max(
        sum(
            num_frames
            for stream, num_frames in record.lengths.items()
            if stream not in augmentation_pairs
        )
        for record in store.get_records("train")
    )
    augmentation = build_augmentation(
        config, store.schema, seed, max_num_frames, augmentation_pairs
    )
    if augmentation is None:
        raise InputError(
            "`batch.augmentation` of the recipe enables no augmentation, so all copies would be"
            " identical; set for example batch.augmentation.speed=0.2"
        )
    return AugmentedCopiesSpec(augmentation, num_copies)
