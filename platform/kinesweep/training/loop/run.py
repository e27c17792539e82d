"""Training of one run, from a feature store to the best model, without Ray.

A call after a kill resumes from the newest complete checkpoint and produces the same bits; a call
on a finished folder returns its result. In distributed training each process calls `train_run` as
one rank of torch's process group. A kill between an evaluation and its checkpoint repeats the
evaluation, so `report` may receive it twice and must tolerate that.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from kinesweep.checkpoints.checkpoints import (
    Checkpoint,
    check_checkpoint_space,
    estimate_checkpoint_bytes,
    estimate_run_bytes,
    find_newest_checkpoint,
)
from kinesweep.checkpoints.model_dir import write_model_folder_with_callback
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.recipe import Recipe
from kinesweep.core.collectives import get_rank_and_world_size, is_rank_zero, run_on_rank_zero
from kinesweep.core.paths import compute_directory_size
from kinesweep.core.run_logger import RunLogger
from kinesweep.data.length_limits import compute_truncation_stats, filter_clips_by_length
from kinesweep.data.task_sampling import collect_prompt_texts
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.evaluate import EvalSet, evaluate_batches
from kinesweep.evaluation.wordnet import check_metric_files
from kinesweep.models.checkpoint_io import estimate_saved_bytes
from kinesweep.models.factory import build_translator
from kinesweep.models.streams import find_skeletons
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.inspect.statistics import compute_frame_statistics
from kinesweep.training.distributed.fsdp import ShardedTrainer
from kinesweep.training.loop.arguments import build_training_arguments
from kinesweep.training.loop.finalize import (
    FinalizationContext,
    build_run_result,
    finish_run,
    remove_run_checkpoints,
)
from kinesweep.training.loop.init_from import load_initial_tokenizer, load_initial_weights
from kinesweep.training.loop.length_checks import check_clips_fit_model, iter_tokenized_clips
from kinesweep.training.loop.reference_checks import check_reference_lengths
from kinesweep.training.loop.trainer import ReportCallback, RunCallbacks, TranslatorTrainer
from kinesweep.training.reproducibility.determinism import (
    configure_process,
    seed_dropout,
    set_num_threads,
)
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
        spec: Specification of the run.
        log: Run logger that receives the metrics of rank 0; it is finished on return.
        report: Called with `{"step", "samples", "token_loss", "token_accuracy", "bleu", …}` after
            each evaluation, on every rank. False from rank 0 stops the run after its checkpoint.
        should_stop: Called between steps; True on rank 0 stops the run without a checkpoint.

    Returns:
        Result of the run.

    Raises:
        CheckpointError: If the folder belongs to another run or another process works in it.
        InputError: If the WordNet folder of the recipe is missing or a clip does not fit the model.
        ResourceError: If no GPU is available or the disk is too small.
        StoreError: If the store is missing or damaged.
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


@dataclass(frozen=True)
class _RunComponents:
    """The store, tokenizer, model and device of one process of a run."""

    store: Store
    tokenizer: TextTokenizer
    model: Translator
    device: torch.device


def write_initial_model(recipe: Recipe, store: Store, folder: Path) -> None:
    """Write a model folder with the untrained model, as it is before the first step.

    Args:
        recipe: Recipe of the run.
        store: Feature store.
        folder: Output folder.

    Raises:
        ResourceError: If the recipe requests a GPU but none is available.
    """
    components = _build_components(recipe, store)

    def write_weights(target_dir: Path) -> None:
        """Save the weights into `target_dir`."""
        components.model.save_pretrained(target_dir)

    write_model_folder_with_callback(folder, write_weights, components.tokenizer, recipe, store)


def _train_with_lock(spec: RunSpec, log: RunLogger, run_callbacks: RunCallbacks) -> RunResult:
    """Train or resume the run while rank 0 holds the lock of its folder."""
    start_time = time.perf_counter()
    store = open_store(spec.store)
    _, world_size = get_rank_and_world_size()
    identity = build_run_identity(spec.recipe, store.fingerprint, world_size)
    run_on_rank_zero(partial(claim_run_dir, spec.folder, identity, spec.overwrite))
    previous_result = run_on_rank_zero(partial(read_run_result, spec.folder))
    # A kill may have come between writing the result and removing the checkpoints.
    if previous_result is not None and previous_result.status != "stopped":
        remove_run_checkpoints(spec.folder)
        return previous_result
    # Fail before hours of training rather than at the first evaluation.
    check_metric_files(spec.recipe.evaluation)
    components = _build_components(spec.recipe, store)
    checkpoint = run_on_rank_zero(
        partial(_find_resume_checkpoint, spec, components.model, world_size)
    )
    if is_rank_zero():
        log.log_dataset(spec.recipe.name, store.fingerprint)
    progress = _get_initial_progress(checkpoint)
    if spec.trace and checkpoint is None:
        run_on_rank_zero(partial(write_start_trace, spec.folder, spec.recipe, components.model))
    if progress.stop is None:
        progress = _train_remaining_steps(spec, components, checkpoint, log, run_callbacks)
    if progress.stop in ("reported", "diverged"):
        result = build_run_result(spec, progress)
    else:
        context = FinalizationContext(spec, store, components.tokenizer, components.device, log)
        result = finish_run(context, progress)
    clips, limit_counts = filter_clips_by_length(
        store.get_records("train"), spec.recipe.effective_batch, "train"
    )
    for name, stats in compute_truncation_stats(clips, spec.recipe.effective_batch).items():
        limit_counts |= {f"cut_clips.{name}": stats.clips, f"cut_frames.{name}": stats.frames}
    seconds = time.perf_counter() - start_time
    epochs = result.samples / len(clips)
    limit_counts |= result.limited
    result = replace(result, seconds=seconds, epochs=epochs, limited=limit_counts)
    # The result comes before the removal of checkpoints: a kill in between loses nothing.
    run_on_rank_zero(result.write)
    if result.status != "stopped":
        remove_run_checkpoints(spec.folder)
    return result


def _build_components(recipe: Recipe, store: Store) -> _RunComponents:
    """Build the tokenizer and the model, seeded and with initial weights loaded."""
    device = configure_process(recipe)
    model = recipe.effective_model
    tokenizer = _build_tokenizer(recipe, store)
    needs_statistics = any(
        model.get_encoder_config(name).standardize for name in store.schema.widths
    )
    translator = build_translator(
        model,
        store.schema.widths,
        tokenizer.vocabulary,
        recipe.training.label_smoothing_factor,
        compute_frame_statistics(store) if needs_statistics else None,
        device,
        find_skeletons(model, store.schema),
    )
    run_on_rank_zero(partial(check_reference_lengths, recipe, store))
    if model.init_from is not None:
        load_initial_weights(translator, Path(model.init_from), model.init_sha256)
    return _RunComponents(store, tokenizer, translator.to(device), device)


def _build_tokenizer(recipe: Recipe, store: Store) -> TextTokenizer:
    """Build the tokenizer, or load that of the earlier stage given by `model.init_from`."""
    model, records = recipe.effective_model, store.get_records("train")
    if model.init_from is not None:
        return load_initial_tokenizer(Path(model.init_from), recipe)
    extra_texts = collect_prompt_texts(recipe.prompt, recipe.batch.tasks, records)
    backbone = model.backbone
    uses_all_references = recipe.batch.reference_choice != "first"
    return build_tokenizer(
        model.tokenizer,
        records,
        backbone.pretrained,
        extra_texts,
        backbone.revision,
        uses_all_references,
    )


def _find_resume_checkpoint(spec: RunSpec, model: Translator, world_size: int) -> Checkpoint | None:
    """Find the newest complete checkpoint to resume from, and check the disk space."""
    # A stopped run continues: until it ends again, the folder must not look finished.
    (spec.folder / RESULT_FILE).unlink(missing_ok=True)
    keep = spec.recipe.checkpoints.keep
    checkpoint = find_newest_checkpoint(spec.folder / "checkpoints", needs_best=keep != "last")
    weight_bytes = estimate_saved_bytes(model)
    num_trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    bytes_per_checkpoint = estimate_checkpoint_bytes(weight_bytes, num_trainable, world_size)
    needed_bytes = estimate_run_bytes(
        bytes_per_checkpoint, weight_bytes, spec.recipe.checkpoints, spec.recipe.training
    )
    check_checkpoint_space(
        spec.folder,
        needed_bytes,
        bytes_per_checkpoint,
        spec.recipe.checkpoints,
        compute_directory_size(spec.folder),
    )
    return checkpoint


def _get_initial_progress(checkpoint: Checkpoint | None) -> TrainingProgress:
    """Return the progress with which training starts, without the previous stop request."""
    progress = checkpoint.progress if checkpoint else TrainingProgress()
    return replace(progress, stop=None) if progress.stop == "reported" else progress


def _train_remaining_steps(
    spec: RunSpec,
    components: _RunComponents,
    checkpoint: Checkpoint | None,
    log: RunLogger,
    run_callbacks: RunCallbacks,
) -> TrainingProgress:
    """Train the remaining steps and return the progress at the end."""
    recipe = spec.recipe
    train_dataset = _build_train_dataset(recipe, components)
    check_clips_fit_model(
        components.model,
        iter_tokenized_clips(recipe, components.store, components.tokenizer, train_dataset),
    )
    progress = _get_initial_progress(checkpoint)
    recorder = None
    if is_rank_zero():
        recorder = MetricsRecorder(MetricsWriter(spec.folder / METRICS_FILE, progress.step), log)
    trainer_class = ShardedTrainer if recipe.training.fsdp else TranslatorTrainer
    trainer = trainer_class(
        components.model,
        build_training_arguments(
            recipe.training, spec.folder, components.device, log_every_step=spec.trace
        ),
        recipe,
        train_dataset=train_dataset,
        compute_scores=_build_score_function(recipe, components),
        run_callbacks=run_callbacks,
        recorder=recorder,
        progress=progress,
    )
    # Creating the Trainer initializes accelerate, which sets its own number of threads.
    set_num_threads(recipe)
    # Building the model used the same generator state on all ranks; noise must differ.
    seed_dropout(recipe.training.seed, get_rank_and_world_size()[0])
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    finally:
        if recorder is not None:
            recorder.close()
    return trainer.progress


def _build_train_dataset(recipe: Recipe, components: _RunComponents) -> TrainDataset:
    """Build the training dataset of this rank."""
    rank, world_size = get_rank_and_world_size()
    return TrainDataset(
        components.store,
        components.tokenizer,
        recipe.effective_batch,
        recipe.training.seed,
        rank,
        world_size,
        recipe.corpus_weights,
        recipe.prompt_settings,
        recipe.augmentation_pairs,
    )


def _build_score_function(
    recipe: Recipe, components: _RunComponents
) -> Callable[[Translator], dict[str, float]]:
    """Build the function that scores a model on validation during training.

    It uses the clips and beams of `evaluation.during_training`.
    """
    during_training, config = recipe.evaluation.during_training, recipe.evaluation
    eval_set = EvalSet(
        components.store,
        "validation",
        components.tokenizer,
        config,
        recipe.effective_batch,
        max_clips=during_training.max_clips,
        prompt_settings=recipe.prompt_settings,
    )

    def compute_scores(model: Translator) -> dict[str, float]:
        """Compute the validation scores of a model; a collective call."""
        return evaluate_batches(
            model, eval_set, recipe.generation, during_training.num_beams
        ).scores

    return compute_scores


def _lock_on_rank_zero(folder: Path) -> AbstractContextManager[None]:
    """Lock the run folder against other runs; only rank 0 takes the lock, for all ranks."""
    return lock_run_dir(folder) if is_rank_zero() else nullcontext()
