"""How much a run sees: the unit in which trials are compared."""

from kinesweep.batches.limits import counted
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.store import Store

_DEFAULT_FRAMES = 4096


def evaluation_samples(recipe: Recipe, store: Store, resources: ResourcesConfig) -> float:
    """Clips seen from one evaluation to the next under the recipe's own settings."""
    batch, training = recipe.taken_batch, recipe.training
    clips = batch.clips
    if clips is None:
        lengths = [counted(r.lengths, batch) for r in store.records("train")]
        frames = batch.max_frames or _DEFAULT_FRAMES
        clips = max(1, frames * len(lengths) // max(1, sum(lengths)))
    steps = training.eval_steps * training.gradient_accumulation_steps
    return float(clips * steps * resources.workers)
