"""What a sweep must know of the runs that it trains, by the kind of its recipe.

Everything else in this package is the same for translation and for pretraining.
"""

from collections.abc import Callable

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.data.length_limits import filter_clips_by_length
from kinesweep.data.run_length.step_counts import TrainingResolver
from kinesweep.data.windows.window_plan import select_records
from kinesweep.evaluation.tokenization.protocol import resolve_evaluation
from kinesweep.store import Store
from kinesweep.sweeps.results.pretraining_scorer import PretrainingScorer
from kinesweep.sweeps.results.scorer import Scorer
from kinesweep.sweeps.results.translation_scorer import TranslationScorer
from kinesweep.sweeps.search.samples_per_eval import compute_samples_per_eval
from kinesweep.training.pretraining.schedule import resolve_schedule

ResolveTraining = Callable[[AnyRecipe], ResolvedTrainingConfig]
"""Function from a recipe to its training settings, resolved to steps."""


def build_scorer(metric: str, recipe: AnyRecipe, store: Store) -> Scorer:
    """Build the scorer by which the finals of a sweep are compared.

    Args:
        metric: Name of the deciding objective.
        recipe: Recipe that the sweep tunes.
        store: Feature store of the recipe.

    Raises:
        InputError: If texts in several scripts need a setting that `evaluation` lacks.
    """
    if isinstance(recipe, PretrainingRecipe):
        return PretrainingScorer(metric, store)
    return TranslationScorer(metric, resolve_evaluation(recipe.evaluation, store), store)


def build_training_resolver(
    get_store: Callable[[AnyRecipe], Store], num_workers: int
) -> ResolveTraining:
    """Build the function from recipes to training settings in steps.

    Args:
        get_store: Function that returns the feature store of a recipe.
        num_workers: Number of data-parallel workers of a run.
    """
    resolve_translation = TrainingResolver(get_store, num_workers)

    def resolve(recipe: AnyRecipe) -> ResolvedTrainingConfig:
        """Resolve the epochs and ratios of a recipe to steps."""
        if not isinstance(recipe, PretrainingRecipe):
            return resolve_translation(recipe)
        # Trials may differ in the length limits, and so in the number of clips of an epoch.
        batch = recipe.batch
        records = select_records(get_store(recipe), "train", recipe.features.stream, batch)
        per_worker = batch.windows * recipe.training.gradient_accumulation_steps
        schedule = resolve_schedule(
            recipe.training, per_worker * num_workers, len(records) * batch.repeats
        )
        # Only the numbers of steps are used, for which the metric does not matter.
        return schedule.as_run_config("masked_loss")

    return resolve


def count_samples_per_eval(
    recipe: AnyRecipe, training: ResolvedTrainingConfig, store: Store, num_workers: int
) -> float:
    """Return the number of clips or windows that a run sees between two evaluations.

    Args:
        recipe: Recipe that the sweep tunes.
        training: Training settings of the recipe in steps.
        store: Feature store of the recipe.
        num_workers: Number of data-parallel workers of a run.
    """
    if isinstance(recipe, PretrainingRecipe):
        accumulated = recipe.training.gradient_accumulation_steps
        return float(recipe.batch.windows * accumulated * num_workers * training.eval_steps)
    return compute_samples_per_eval(recipe.effective_batch, training, store, recipe.resources)


def list_scored_clips(store: Store, split: str, recipe: AnyRecipe) -> set[str]:
    """Return the ids of the clips of a split that are scored; empty without the split.

    Args:
        store: Feature store of the recipe.
        split: Name of the split.
        recipe: Recipe with the length limits.

    Raises:
        InputError: If no clip is within the limits, or a limited stream does not exist.
    """
    # A corpus without a test split is allowed; validation is checked elsewhere.
    if split not in store.splits:
        return set()
    if isinstance(recipe, PretrainingRecipe):
        records = select_records(store, split, recipe.features.stream, recipe.batch)
    else:
        records, _ = filter_clips_by_length(store.get_records(split), recipe.effective_batch, split)
    return {record.clip.id for record in records}
