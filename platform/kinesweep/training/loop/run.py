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
    check_disk,
    checkpoint_bytes,
    newest_verified,
    run_bytes,
)
from kinesweep.checkpoints.model_dir import write_folder_of
from kinesweep.checkpoints.progress import Progress
from kinesweep.config.recipe import Recipe
from kinesweep.core.collectives import is_rank_zero, rank_and_world, run_on_rank_zero
from kinesweep.core.paths import directory_size
from kinesweep.core.run_logger import RunLogger
from kinesweep.data.length_limits import cut_frames, filter_by_length
from kinesweep.data.task_sampling import prompt_texts
from kinesweep.data.text_tokenizer import TextTokenizer, build_text
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.evaluate import EvalSet, evaluate_batches
from kinesweep.evaluation.wordnet import check_metrics
from kinesweep.models.checkpoint_io import saved_bytes
from kinesweep.models.factory import build_translator
from kinesweep.models.streams import skeletons_of
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.inspect.statistics import frame_statistics
from kinesweep.training.distributed.fsdp import ShardedTrainer
from kinesweep.training.loop.arguments import training_arguments
from kinesweep.training.loop.finalize import (
    RunEnding,
    finish_run,
    remove_temporary_files,
    result_of,
)
from kinesweep.training.loop.init_from import earlier_text, load_initial_weights
from kinesweep.training.loop.length_checks import check_fit, every_text
from kinesweep.training.loop.reference_checks import check_pairs
from kinesweep.training.loop.trainer import Report, RunCallbacks, StreamTrainer
from kinesweep.training.reproducibility.determinism import pin_process, pin_threads, seed_dropout
from kinesweep.training.reproducibility.step_trace import write_start
from kinesweep.training.run_records.metrics import MetricsFile, Recorder
from kinesweep.training.run_records.result import RunResult, RunSpec, read_result
from kinesweep.training.run_records.run_identity import (
    METRICS,
    RESULT,
    claim_run_dir,
    identity_of,
    run_lock,
)

__all__ = ["RunResult", "RunSpec", "read_result", "train_run"]


def _never() -> bool:
    """Return False; the default of `should_stop`."""
    return False


def train_run(
    spec: RunSpec, log: RunLogger, report: Report, should_stop: Callable[[], bool] = _never
) -> RunResult:
    """Train a run, resume it, or return the result of a finished one.

    Args:
        spec: Specification of the run.
        log: Receives the measurements of rank 0; its record is closed on return.
        report: Called with `{"step", "samples", "token_loss", "token_accuracy", "bleu", …}` after
            each evaluation, on every rank. False from rank 0 stops the run after its checkpoint.
        should_stop: Called between steps; True on rank 0 stops the run without a checkpoint.

    Raises:
        CheckpointError: If the folder belongs to another run or another process works in it.
        InputError: If the WordNet folder of the recipe is missing or a clip does not fit the model.
        ResourceError: If no GPU is available or the disk is too small.
        StoreError: If the store is missing or damaged.
    """
    try:
        with _lock(spec.folder):
            result = _train_locked(spec, log, RunCallbacks(report, should_stop))
    except Exception:
        if is_rank_zero():
            log.finish("failed")
        raise
    if is_rank_zero():
        log.finish(result.status)
    return result


@dataclass(frozen=True)
class _Parts:
    """The objects of one process of a run."""

    store: Store
    text: TextTokenizer
    model: Translator
    device: torch.device


def write_first_model(recipe: Recipe, store: Store, folder: Path) -> None:
    """Write a model folder with the state before the first step.

    Raises:
        ResourceError: If the recipe requests a GPU but none is available.
    """
    parts = _build(recipe, store)

    def weights(beside: Path) -> None:
        parts.model.save_pretrained(beside)

    write_folder_of(folder, weights, parts.text, recipe, store)


def _train_locked(spec: RunSpec, log: RunLogger, ears: RunCallbacks) -> RunResult:
    """Train the run while rank 0 holds the lock of its folder."""
    started = time.perf_counter()
    store = open_store(spec.store)
    _, world = rank_and_world()
    identity = identity_of(spec.recipe, store.fingerprint, world)
    run_on_rank_zero(partial(claim_run_dir, spec.folder, identity, spec.overwrite))
    done = run_on_rank_zero(partial(read_result, spec.folder))
    # A kill may have come between writing the result and removing the checkpoints.
    if done is not None and done.status != "stopped":
        remove_temporary_files(spec.folder)
        return done
    # Fail before hours of training rather than at the first evaluation.
    check_metrics(spec.recipe.evaluation)
    parts = _build(spec.recipe, store)
    checkpoint = run_on_rank_zero(partial(_start, spec, parts.model, world))
    if is_rank_zero():
        log.dataset(spec.recipe.name, store.fingerprint)
    progress = _resume_progress(checkpoint)
    if spec.trace and checkpoint is None:
        run_on_rank_zero(partial(write_start, spec.folder, spec.recipe, parts.model))
    if progress.stop is None:
        progress = _train(spec, parts, checkpoint, log, ears)
    if progress.stop in ("reported", "diverged"):
        result = result_of(spec, progress)
    else:
        ending = RunEnding(spec, store, parts.text, parts.device, log)
        result = finish_run(ending, progress)
    clips, limited = filter_by_length(store.records("train"), spec.recipe.effective_batch, "train")
    for name, lost in cut_frames(clips, spec.recipe.effective_batch).items():
        limited |= {f"cut_clips.{name}": lost.clips, f"cut_frames.{name}": lost.frames}
    seconds = time.perf_counter() - started
    epochs = result.samples / len(clips)
    limited |= result.limited
    result = replace(result, seconds=seconds, epochs=epochs, limited=limited)
    # The result comes before the removal of checkpoints: a kill in between loses nothing.
    run_on_rank_zero(result.write)
    if result.status != "stopped":
        remove_temporary_files(spec.folder)
    return result


def _build(recipe: Recipe, store: Store) -> _Parts:
    """Build tokenizer and model with fixed seeds."""
    device = pin_process(recipe)
    model = recipe.effective_model
    text = _text(recipe, store)
    standardizes = any(model.encoder_of(name).standardize for name in store.schema.widths)
    translator = build_translator(
        model,
        store.schema.widths,
        text.vocabulary,
        recipe.training.label_smoothing_factor,
        frame_statistics(store) if standardizes else None,
        device,
        skeletons_of(model, store.schema),
    )
    run_on_rank_zero(partial(check_pairs, recipe, store))
    if model.init_from is not None:
        load_initial_weights(translator, Path(model.init_from), model.init_sha256)
    return _Parts(store, text, translator.to(device), device)


def _text(recipe: Recipe, store: Store) -> TextTokenizer:
    """Build a tokenizer, or load that of the earlier stage from which the run starts."""
    model, records = recipe.effective_model, store.records("train")
    if model.init_from is not None:
        return earlier_text(Path(model.init_from), recipe)
    spoken = prompt_texts(recipe.prompt, recipe.batch.tasks, records)
    backbone = model.backbone
    every_text = recipe.batch.reference_choice != "first"
    return build_text(
        model.tokenizer, records, backbone.pretrained, spoken, backbone.revision, every_text
    )


def _start(spec: RunSpec, model: Translator, world: int) -> Checkpoint | None:
    """Find the checkpoint to resume from and check the disk space."""
    # A stopped run continues: until it ends again, the folder must not look finished.
    (spec.folder / RESULT).unlink(missing_ok=True)
    keep = spec.recipe.checkpoints.keep
    checkpoint = newest_verified(spec.folder / "checkpoints", needs_best=keep != "last")
    weights = saved_bytes(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    one = checkpoint_bytes(weights, trained, world)
    needed = run_bytes(one, weights, spec.recipe.checkpoints, spec.recipe.training)
    check_disk(spec.folder, needed, one, spec.recipe.checkpoints, directory_size(spec.folder))
    return checkpoint


def _resume_progress(checkpoint: Checkpoint | None) -> Progress:
    """Return the progress to resume from, without the stop request of the previous call."""
    progress = checkpoint.progress if checkpoint else Progress()
    return replace(progress, stop=None) if progress.stop == "reported" else progress


def _train(
    spec: RunSpec, parts: _Parts, checkpoint: Checkpoint | None, log: RunLogger, ears: RunCallbacks
) -> Progress:
    """Train the remaining steps."""
    recipe = spec.recipe
    stream = _stream(recipe, parts)
    check_fit(parts.model, every_text(recipe, parts.store, parts.text, stream))
    progress = _resume_progress(checkpoint)
    recorder = None
    if is_rank_zero():
        recorder = Recorder(MetricsFile(spec.folder / METRICS, progress.step), log)
    kind = ShardedTrainer if recipe.training.fsdp else StreamTrainer
    trainer = kind(
        parts.model,
        training_arguments(recipe.training, spec.folder, parts.device, every_step=spec.trace),
        recipe,
        stream=stream,
        measure=_measure(recipe, parts),
        ears=ears,
        recorder=recorder,
        progress=progress,
    )
    # Creating the Trainer initializes accelerate, which sets its own number of threads.
    pin_threads(recipe)
    # Building the model used the same generator state on all ranks; noise must differ.
    seed_dropout(recipe.training.seed, rank_and_world()[0])
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    finally:
        if recorder is not None:
            recorder.close()
    return trainer.progress


def _stream(recipe: Recipe, parts: _Parts) -> TrainDataset:
    """Return the training data of this rank."""
    rank, world = rank_and_world()
    return TrainDataset(
        parts.store,
        parts.text,
        recipe.effective_batch,
        recipe.training.seed,
        rank,
        world,
        recipe.weights,
        recipe.prompt_settings,
        recipe.augmentation_pairs,
    )


def _measure(recipe: Recipe, parts: _Parts) -> Callable[[Translator], dict[str, float]]:
    """Return the validation function for training, on the clips of `evaluation.during_training`."""
    search, config = recipe.evaluation.during_training, recipe.evaluation
    data = EvalSet(
        parts.store,
        "validation",
        parts.text,
        config,
        recipe.effective_batch,
        max_clips=search.max_clips,
        prompt_settings=recipe.prompt_settings,
    )

    def scores(model: Translator) -> dict[str, float]:
        return evaluate_batches(model, data, recipe.generation, search.num_beams).scores

    return scores


def _lock(folder: Path) -> AbstractContextManager[None]:
    """Lock the run folder against other runs; rank 0 holds the lock for all ranks."""
    return run_lock(folder) if is_rank_zero() else nullcontext()
