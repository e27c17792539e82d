"""Number of samples between two evaluations, the unit in which pruners compare trials."""

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.data.length_limits import count_frames
from kinesweep.store import Store

_DEFAULT_MAX_FRAMES = 4096
"""Default of `batch.max_frames`; must equal `DEFAULT_MAX_FRAMES` in `data.bucketing`."""


def compute_samples_per_eval(recipe: Recipe, store: Store, resources: ResourcesConfig) -> float:
    """Return the number of clips that all workers see between two evaluations.

    Args:
        recipe: Recipe with its own settings; trials with other batch sizes share this unit.
        store: Feature store, which gives the clip lengths of `train`.
        resources: Resources of one run.
    """
    batch, training = recipe.effective_batch, recipe.training
    clips = batch.batch_size
    if clips is None:
        # With a frame budget the batch size varies; the mean clip length gives its average.
        lengths = [count_frames(r.lengths, batch) for r in store.get_records("train")]
        frames = batch.max_frames or _DEFAULT_MAX_FRAMES
        clips = max(1, frames * len(lengths) // max(1, sum(lengths)))
    steps = training.eval_steps * training.gradient_accumulation_steps
    return float(clips * steps * resources.workers)
