"""Number of samples between two evaluations, the unit in which pruners compare trials."""

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.data.bucketing import DEFAULT_MAX_FRAMES
from kinesweep.data.length_limits import count_clip_frames, filter_clips_by_length
from kinesweep.store import Store


def compute_samples_per_eval(
    batch: BatchConfig,
    training: ResolvedTrainingConfig,
    store: Store,
    resources: ResourcesConfig,
) -> float:
    """Return the number of clips that all workers of a run see between two evaluations.

    It is estimated from the mean clip length if batches have a frame budget instead of a size.
    Trials with other batch sizes than the recipe share this unit.

    Args:
        batch: Effective batch settings of the recipe.
        training: Resolved training settings of the recipe.
        store: Feature store, which gives the clip lengths of `train`.
        resources: Resources of one run.
    """
    clips_per_batch = batch.batch_size
    if clips_per_batch is None:
        # With a frame budget the batch size varies; the mean clip length gives its average. Clips
        # that the limits exclude are not trained on, and of others only what is read counts.
        records, _ = filter_clips_by_length(store.get_records("train"), batch, "train")
        clip_frames = [count_clip_frames(record, batch) for record in records]
        max_frames = batch.max_frames or DEFAULT_MAX_FRAMES
        clips_per_batch = max(1, max_frames * len(clip_frames) // max(1, sum(clip_frames)))
    num_batches = training.eval_steps * training.gradient_accumulation_steps
    return float(clips_per_batch * num_batches * resources.workers)
