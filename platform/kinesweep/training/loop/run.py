"""Training of one run, from a feature store to the best model, without Ray.

A call after a kill resumes from the newest complete checkpoint and produces the same bits; a call
on a finished folder returns its result. In distributed training each process calls `train_run` as
one rank of torch's process group. A kill between an evaluation and its checkpoint repeats the
evaluation, so `report` may receive it twice and must tolerate that.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from kinesweep.checkpoints.checkpoints import Checkpoint, recover_newest_checkpoint
from kinesweep.checkpoints.model_dir import write_model_folder_with_callback
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.sources.required_texts import check_texts_are_required
from kinesweep.core.collectives import get_rank_and_world_size, is_rank_zero, run_on_rank_zero
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.system.kernels import configure_kernels
from kinesweep.evaluation.metrics.preflight import check_metrics
from kinesweep.evaluation.wordnet import check_wordnet_folder
from kinesweep.store.format.reader import Store, open_store
from kinesweep.training.loop.batch_parts import resolve_batch_parts
from kinesweep.training.loop.components import (
    RunComponents,
    build_components,
    build_train_dataset,
    build_trainer,
)
from kinesweep.training.loop.finalization import (
    FinalizationContext,
    build_run_result,
    count_limited_clips,
    finish_run,
    remove_run_checkpoints,
)
from kinesweep.training.loop.length_checks import check_clips_fit_model, iter_tokenized_clips
from kinesweep.training.loop.performance import compile_layers, describe_resolved
from kinesweep.training.loop.resource_checks import check_batches_fit_memory, check_disk_space
from kinesweep.training.loop.run_callbacks import ReportCallback, RunCallbacks
from kinesweep.training.loop.text_checks import check_texts
from kinesweep.training.reproducibility.determinism import seed_dropout
from kinesweep.training.reproducibility.step_trace import write_start_trace
from kinesweep.training.run_records.metrics import MetricsRecorder, MetricsWriter
from kinesweep.training.run_records.result import RunResult, RunSpec, read_run_result
from kinesweep.training.run_records.run_identity import (
    METRICS_FILE,
    RESULT_FILE,
    build_run_identity,
    claim_run_dir,
    lock_run_dir,
)

__all__ = ["RunResult", "RunSpec", "read_run_result", "train_run"]


def _never_stop() -> bool:
    """Return False, so that the run is never stopped; the default of `should_stop`."""
    return False


def train_run(
    spec: RunSpec,
    log: RunLogger,
    report: ReportCallback,
    should_stop: Callable[[], bool] = _never_stop,
) -> RunResult:
    """Train a run, resume it, or return the result of a finished one.

    Args:
        spec: Specification of the run. It holds the whole recipe, because a run uses every section
            of it and its identity is the hash of all of them.
        log: Run logger that receives the metrics of rank 0. It is finished on return, and with the
            status `failed` if an error is raised.
        report: Called with `{"step", "samples", "token_loss", "token_accuracy", "bleu", …}` after
            each evaluation, on every rank. Its result on rank 0 decides: True continues training,
            False stops the run after its checkpoint.
        should_stop: Called between steps; True on rank 0 stops the run without a checkpoint.

    Returns:
        Result of the run.

    Raises:
        CheckpointError: If the folder belongs to another run, another process works in it, or
            `model.init_from` does not fit the model.
        ConfigError: If the recipe in the folder `model.init_from` is not valid.
        InputError: If WordNet or another file named in the recipe cannot be read, a clip does not
            fit the model, or a clip and its reference motion have different lengths.
        ResourceError: If a requested GPU is not available, the disk is too small, or a clip cannot
            fit into the memory.
        StoreError: If the store is missing or damaged.
        TrainingError: If a validation score of the best model is not finite.
    """
    try:
        with _lock_on_rank_zero(spec.folder):
            result = _train_with_lock(spec, log, RunCallbacks(report, should_stop))
    except Exception:
        if is_rank_zero():
            log.finish("failed")
        raise
    if is_rank_zero():
        log.finish(result.status)
    return result


def write_initial_model(recipe: Recipe, store: Store, folder: Path) -> None:
    """Write a model folder with the untrained model of a recipe, as it is before the first step.

    Args:
        recipe: Recipe of the run; it is written to the folder as a whole.
        store: Feature store.
        folder: Output folder.

    Raises:
        CheckpointError: If `model.init_from` does not fit the model.
        ConfigError: If the recipe in the folder `model.init_from` is not valid.
        InputError: If a clip and its reference motion have different lengths.
        ResourceError: If the recipe requests a GPU but none is available.
    """
    components = build_components(recipe, store)

    def write_weights(target_dir: Path) -> None:
        """Save the weights and the configuration of the model into `target_dir`."""
        components.model.save_pretrained(target_dir)

    write_model_folder_with_callback(
        folder, write_weights, components.tokenizer, recipe, store.fingerprint, store.schema.streams
    )


def _train_with_lock(spec: RunSpec, log: RunLogger, run_callbacks: RunCallbacks) -> RunResult:
    """Train or resume a run whose folder rank 0 has locked, or return the result it already has.

    Args:
        spec: Specification of the run.
        log: Run logger.
        run_callbacks: Callbacks that receive evaluations and may stop the run.

    Returns:
        Result of the run, which has been written to `result.json`.
    """
    start_time = time.perf_counter()
    store = open_store(spec.store)
    _, world_size = get_rank_and_world_size()
    identity = build_run_identity(spec.recipe, store, world_size)
    run_on_rank_zero(partial(claim_run_dir, spec.folder, identity, spec.overwrite))
    previous_result = run_on_rank_zero(partial(read_run_result, spec.folder))
    # A kill may have come between writing the result and removing the checkpoints.
    if previous_result is not None and previous_result.status != "stopped":
        remove_run_checkpoints(spec.folder)
        return previous_result
    # Fail before hours of training rather than at the first evaluation.
    check_texts_are_required(spec.recipe.corpora)
    check_wordnet_folder(spec.recipe.evaluation)
    scored_splits = ("validation", "test") if spec.score_test else ("validation",)
    run_on_rank_zero(partial(check_metrics, spec.recipe.evaluation, store, scored_splits))
    components = build_components(spec.recipe, store)
    text_coverage = run_on_rank_zero(
        partial(check_texts, components, spec.recipe.evaluation, spec.recipe.generation)
    )
    # A stopped run continues: until it ends again, the folder must not look finished.
    run_on_rank_zero(partial((spec.folder / RESULT_FILE).unlink, missing_ok=True))
    # With `last`, the result is the last checkpoint, so a lost best one does no harm.
    needs_best = spec.recipe.checkpoints.keep != "last"
    checkpoint = run_on_rank_zero(
        partial(recover_newest_checkpoint, spec.folder / "checkpoints", needs_best)
    )
    training = components.training
    run_on_rank_zero(partial(check_disk_space, spec, training, components.model, world_size))
    if is_rank_zero():
        log.log_dataset(spec.recipe.name, store.fingerprint)
        log.log_params(describe_resolved(components.model, training, spec.recipe.performance))
    progress = _get_initial_progress(checkpoint)
    # A resumed run keeps the trace of its first start.
    if spec.trace and checkpoint is None:
        on_gpu = spec.recipe.resources.gpus > 0
        run_on_rank_zero(partial(write_start_trace, spec.folder, components.model, on_gpu))
    # A run that was killed after its last step goes straight to its result.
    if progress.stop is None:
        progress = _train_remaining_steps(spec, components, checkpoint, log, run_callbacks)
    if progress.stop in ("reported", "diverged"):
        result = build_run_result(spec, progress)
    else:
        # The saved weights are scored as `evaluate` and `translate` compute, not as in training.
        configure_kernels()
        context = FinalizationContext(spec, store, components.tokenizer, components.device, log)
        result = finish_run(context, progress)
    num_clips, limit_counts = count_limited_clips(store, spec.recipe.effective_batch)
    result = replace(
        result,
        seconds=time.perf_counter() - start_time,
        epochs=result.samples / num_clips,
        limited=limit_counts | result.limited,
        text_coverage=text_coverage,
        resolved_steps=training.step_counts,
    )
    # The result comes before the removal of checkpoints: a kill in between loses nothing.
    run_on_rank_zero(result.write)
    if result.status != "stopped":
        remove_run_checkpoints(spec.folder)
    return result


def _get_initial_progress(checkpoint: Checkpoint | None) -> TrainingProgress:
    """Return the progress of a checkpoint without its stop request, or that of a new run."""
    progress = checkpoint.progress if checkpoint else TrainingProgress()
    # The previous call was asked to stop; this call continues the run.
    return replace(progress, stop=None) if progress.stop == "reported" else progress


def _train_remaining_steps(
    spec: RunSpec,
    components: RunComponents,
    checkpoint: Checkpoint | None,
    log: RunLogger,
    run_callbacks: RunCallbacks,
) -> TrainingProgress:
    """Check that all clips fit the model, then train until the last step or an earlier stop.

    Args:
        spec: Specification of the run.
        components: Store, tokenizer, model and device; the model is trained in place.
        checkpoint: Checkpoint to resume from; None starts from the first step.
        log: Run logger.
        run_callbacks: Callbacks that receive evaluations and may stop the run.

    Returns:
        Progress at the end of training; its `stop` says why training ended.

    Raises:
        InputError: If a clip does not fit the model.
        ResourceError: If a batch cannot fit into the memory.
    """
    recipe = spec.recipe
    batch_config, prompt_settings = recipe.effective_batch, recipe.prompt_settings
    train_dataset = build_train_dataset(
        components,
        batch_config,
        recipe.training.seed,
        recipe.corpus_weights,
        prompt_settings,
        recipe.motion_stream_by_reference,
    )
    tokenized_clips = iter_tokenized_clips(
        components.store,
        components.tokenizer,
        train_dataset,
        prompt_settings,
        batch_config,
        recipe.evaluation.max_frames,
    )
    check_clips_fit_model(components.model, tokenized_clips)
    components = resolve_batch_parts(spec, components, train_dataset, log)
    check_batches_fit_memory(
        components.model,
        components.store,
        train_dataset,
        components.training,
        batch_config,
        recipe.evaluation.max_frames,
        num_parts=components.num_batch_parts,
    )
    progress = _get_initial_progress(checkpoint)
    recorder = None
    if is_rank_zero():
        recorder = MetricsRecorder(MetricsWriter(spec.folder / METRICS_FILE, progress.step), log)
    compile_layers(components.model, recipe.performance.compile)
    trainer = build_trainer(spec, components, train_dataset, run_callbacks, recorder, progress)
    # Creating the Trainer initializes accelerate, which sets its own number of threads.
    torch.set_num_threads(recipe.resources.cpus)
    # Building the model used the same generator state on all ranks; noise must differ.
    seed_dropout(recipe.training.seed, get_rank_and_world_size()[0])
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    finally:
        if recorder is not None:
            recorder.close()
    return trainer.progress


def _lock_on_rank_zero(folder: Path) -> AbstractContextManager[None]:
    """Return a context manager that locks the run folder on rank 0 and does nothing elsewhere.

    The lock of rank 0 protects the folder for all ranks of the run.
    """
    return lock_run_dir(folder) if is_rank_zero() else nullcontext()
