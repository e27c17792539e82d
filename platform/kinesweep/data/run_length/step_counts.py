"""Numbers of steps from epochs and ratios, as Hugging Face's Trainer counts them.

Each rank reads every `num_workers`-th batch and accumulates gradients over some of them; a last,
incomplete accumulation of an epoch counts as a step. The training data is an endless stream, in
which accumulation goes on across the end of an epoch, so a run with accumulation or several workers
sees up to one step of clips more per epoch than the number of epochs says; `epochs` in the result
of the run is the exact number of passes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.core.errors import InputError
from kinesweep.data.length_limits import filter_clips_by_length
from kinesweep.data.run_length.epoch_planner import EpochPlanner
from kinesweep.data.task_sampling import ExampleSampler
from kinesweep.store.format.reader import Store

# Any seed will do, but all seeds of a configuration must get the same number of steps.
_COUNTING_SEED = 0


def resolve_training(recipe: Recipe, store: Store, num_workers: int) -> ResolvedTrainingConfig:
    """Resolve the epochs and ratios of a recipe to steps; the result does not depend on its seed.

    Args:
        recipe: Recipe of the run.
        store: Feature store, whose training clips make up an epoch.
        num_workers: Number of data-parallel workers that train.

    Raises:
        InputError: If an epoch has no step for each worker, or if the clips cannot be used as the
            `batch` section requires.
    """
    return TrainingResolver(lambda _: store, num_workers)(recipe)


def count_epoch_batches(recipe: Recipe, store: Store) -> int:
    """Count the batches in the first epoch of a run, over all ranks.

    Args:
        recipe: Recipe of the run.
        store: Feature store.

    Raises:
        InputError: If no training clip is left within the length limits, or if the clips cannot be
            used as the `batch` section requires.
    """
    config = recipe.effective_batch
    records, _ = filter_clips_by_length(store.get_records("train"), config, "train")
    # An example is a clip, or with `reference_choice: each` a reference of a clip.
    examples = ExampleSampler(records, config, recipe.prompt, _COUNTING_SEED).records
    planner = EpochPlanner(
        examples,
        config,
        store.schema,
        _COUNTING_SEED,
        recipe.corpus_weights,
        recipe.motion_stream_by_reference,
    )
    return planner.count_batches()


def count_steps_per_epoch(
    batch: BatchConfig, gradient_accumulation_steps: int, num_batches: int, num_workers: int
) -> int:
    """Count the optimizer steps in an epoch.

    Args:
        batch: The `batch` section.
        gradient_accumulation_steps: Number of batches of a worker per optimizer step.
        num_batches: Number of batches in an epoch, over all ranks.
        num_workers: Number of data-parallel workers.

    Raises:
        InputError: If `batch.drop_last` leaves a worker without a batch.
    """
    # Without `drop_last`, every rank has as many batches as the one that has most.
    batches_per_worker = (
        num_batches // num_workers if batch.drop_last else -(-num_batches // num_workers)
    )
    if not batches_per_worker:
        raise InputError(
            f"an epoch has 0 steps: with `batch.drop_last`, {num_batches} batches are too few for"
            f" {num_workers} workers (`resources.workers`); lower `batch.batch_size` or set"
            " `batch.drop_last: false`"
        )
    return -(-batches_per_worker // gradient_accumulation_steps)


def resolve_steps(
    training: TrainingConfig, steps_per_epoch: int | None = None
) -> ResolvedTrainingConfig:
    """Resolve epochs and ratios to steps, always rounded up.

    Args:
        training: The `training` section.
        steps_per_epoch: Number of optimizer steps in an epoch; not needed if no setting counts
            epochs.
    """
    max_steps, eval_steps = training.max_steps, training.eval_steps
    if training.num_train_epochs is not None:
        assert steps_per_epoch is not None
        max_steps = math.ceil(training.num_train_epochs * steps_per_epoch)
    if training.eval_epochs is not None:
        assert steps_per_epoch is not None
        # Rounded, because 1.1 epochs of 70 steps are 77 and not 77.00000000000001 steps.
        eval_steps = math.ceil(round(training.eval_epochs * steps_per_epoch, 6))
    assert max_steps is not None
    warmup_steps = training.warmup_steps
    if training.warmup_ratio is not None:
        warmup_steps = math.ceil(max_steps * training.warmup_ratio)
    settings = {name: getattr(training, name) for name in TrainingConfig.model_fields}
    settings |= {
        "max_steps": max_steps,
        "warmup_steps": warmup_steps,
        "eval_steps": max(1, eval_steps or 1),
        "steps_per_epoch": steps_per_epoch,
    }
    # The values come from a validated section, so they are not validated again.
    return ResolvedTrainingConfig.model_construct(**settings)


@dataclass
class TrainingResolver:
    """A callable that resolves the `training` sections of many recipes; it counts each epoch once.

    Attributes:
        get_store: Function that returns the feature store of a recipe.
        num_workers: Number of data-parallel workers that train.
    """

    get_store: Callable[[Recipe], Store]
    num_workers: int
    _batch_counts: dict[str, int] = field(default_factory=dict)

    def __call__(self, recipe: Recipe) -> ResolvedTrainingConfig:
        """Resolve the epochs and ratios of a recipe to steps; see `resolve_training`."""
        if not recipe.training.counts_epochs:
            return resolve_steps(recipe.training)
        store = self.get_store(recipe)
        # Everything that the batches of an epoch depend on; all other settings share a count.
        sections = (recipe.effective_batch, recipe.prompt, recipe.model.reference)
        key = "\n".join(
            (
                store.fingerprint,
                repr(recipe.corpus_weights),
                *("" if section is None else section.model_dump_json() for section in sections),
            )
        )
        if key not in self._batch_counts:
            self._batch_counts[key] = count_epoch_batches(recipe, store)
        steps_per_epoch = count_steps_per_epoch(
            recipe.batch,
            recipe.training.gradient_accumulation_steps,
            self._batch_counts[key],
            self.num_workers,
        )
        return resolve_steps(recipe.training, steps_per_epoch)
