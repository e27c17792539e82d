"""A pretraining run, from a feature store of frames to the weights of a video model.

This module does not depend on Ray: several workers use torch's process group, which the caller
initializes. As in `training.loop.run`, a call after a kill resumes from the newest complete
checkpoint and produces the same bits; a call on a finished folder returns the result.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import transformers

from kinesweep.checkpoints.checkpoints import recover_newest_checkpoint, remove_checkpoints
from kinesweep.checkpoints.disk_space import (
    check_checkpoint_space,
    estimate_checkpoint_bytes,
    estimate_run_bytes,
)
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe.resources import CheckpointsConfig
from kinesweep.core.collectives import get_rank_and_world_size, is_rank_zero, run_on_rank_zero
from kinesweep.core.paths import compute_directory_size
from kinesweep.core.run_logger import RunLogger
from kinesweep.store.format.reader import Store, open_store
from kinesweep.training.loop.run_callbacks import ReportCallback, RunCallbacks
from kinesweep.training.pretraining.components import (
    PretrainingComponents,
    build_pretraining_components,
    count_parameters,
)
from kinesweep.training.pretraining.export import write_best_encoder
from kinesweep.training.pretraining.loop_inputs import CheckpointStore
from kinesweep.training.pretraining.trainer import PretrainingTrainer
from kinesweep.training.run_records.metrics import MetricsRecorder, MetricsWriter
from kinesweep.training.run_records.pretraining_spec import PretrainingSpec
from kinesweep.training.run_records.result import RunResult, read_run_result
from kinesweep.training.run_records.run_identity import (
    METRICS_FILE,
    RESULT_FILE,
    RunIdentity,
    claim_run_dir,
    get_processor_name,
    lock_run_dir,
)

__all__ = ["PretrainingSpec", "pretrain_run"]


def _never_stop() -> bool:
    """Return False, so that the run is never stopped; the default of `should_stop`."""
    return False


def pretrain_run(
    spec: PretrainingSpec,
    log: RunLogger,
    report: ReportCallback,
    should_stop: Callable[[], bool] = _never_stop,
) -> RunResult:
    """Pretrain a model, resume its pretraining, or return the result of a finished run.

    Args:
        spec: Specification of the run.
        log: Run logger that receives the metrics of rank 0; it is finished on return.
        report: Called with `{"step", "samples", "masked_loss", …}` after each evaluation, on every
            rank, before the checkpoint is written. Its result on rank 0 decides: True continues
            training, False stops the run after its checkpoint.
        should_stop: Called between steps; True on rank 0 stops the run without a checkpoint.

    Returns:
        Result of the run.

    Raises:
        CheckpointError: If the folder belongs to another run, another process works in it, or
            `model.init_from` cannot be used.
        ConfigError: If the sizes of the model cannot be used.
        InputError: If no clip is long enough, or windows or frames do not fit the model.
        ResourceError: If a requested GPU is not available, for fp16 without one, or if the disk is
            too small.
        StoreError: If the store is missing, damaged, or has no validation split.
        TrainingError: If the loss of a step is not finite.
    """
    try:
        # The lock of rank 0 protects the folder for all ranks of the run.
        with lock_run_dir(spec.folder) if is_rank_zero() else nullcontext():
            result = _pretrain_with_lock(spec, log, RunCallbacks(report, should_stop))
    except Exception:
        if is_rank_zero():
            log.finish("failed")
        raise
    if is_rank_zero():
        log.finish(result.status)
    return result


def _pretrain_with_lock(
    spec: PretrainingSpec, log: RunLogger, callbacks: RunCallbacks
) -> RunResult:
    """Train or resume a run whose folder rank 0 has locked, or return the result it already has.

    Args:
        spec: Specification of the run.
        log: Run logger.
        callbacks: Callbacks that receive evaluations and may stop the run.

    Returns:
        Result of the run, which has been written to `result.json`.
    """
    start_time = time.perf_counter()
    recipe, store = spec.recipe, open_store(spec.store)
    identity = _build_run_identity(recipe, store.fingerprint)
    run_on_rank_zero(partial(claim_run_dir, spec.folder, identity, spec.overwrite))
    previous_result = run_on_rank_zero(partial(read_run_result, spec.folder))
    # A kill may have come between writing the result and removing the checkpoints.
    if previous_result is not None and previous_result.status != "stopped":
        run_on_rank_zero(partial(remove_checkpoints, spec.folder))
        return previous_result
    components = build_pretraining_components(recipe, store)
    # A stopped run continues; until it ends again, the folder must not look finished.
    run_on_rank_zero(partial((spec.folder / RESULT_FILE).unlink, missing_ok=True))
    run_on_rank_zero(partial(_check_disk_space, spec.folder, components, recipe.checkpoints))
    progress = _train(spec, components, store, log, callbacks)
    weights_digest = ""
    if progress.stop in ("max_steps", "patience"):
        if recipe.checkpoints.keep == "last":
            # The best checkpoint was not kept, so the last one becomes the result.
            progress = replace(progress, best_step=progress.step, best_scores=progress.scores)
        write_best: Callable[[], str] = partial(
            write_best_encoder,
            spec.folder / "best",
            recipe,
            components.objective,
            spec.folder / "checkpoints",
            progress,
            store.fingerprint,
            captions=components.captions,
        )
        weights_digest = run_on_rank_zero(write_best)
    result = _build_result(spec.folder, progress, components, weights_digest)
    result = replace(result, seconds=time.perf_counter() - start_time)
    # Write the result before removing the checkpoints, so that a kill never loses both.
    run_on_rank_zero(result.write)
    if result.status != "stopped":
        run_on_rank_zero(partial(remove_checkpoints, spec.folder))
    return result


def _train(
    spec: PretrainingSpec,
    components: PretrainingComponents,
    store: Store,
    log: RunLogger,
    callbacks: RunCallbacks,
) -> TrainingProgress:
    """Resume from the newest checkpoint, if any, and train to the end or until it is stopped.

    Args:
        spec: Specification of the run.
        components: Parts of the run; the objective is trained in place.
        store: Feature store.
        log: Run logger.
        callbacks: Callbacks that receive evaluations and may stop the run.
    """
    checkpoints_dir = spec.folder / "checkpoints"
    trainer = PretrainingTrainer(
        components.objective,
        components.schedule,
        components.data,
        components.precision,
        CheckpointStore(
            checkpoints_dir, spec.recipe.checkpoints.keep, spec.recipe.checkpoints.every
        ),
    )
    # With `last`, the result is the last checkpoint, so a lost best one does no harm.
    needs_best = spec.recipe.checkpoints.keep != "last"
    checkpoint = run_on_rank_zero(partial(recover_newest_checkpoint, checkpoints_dir, needs_best))
    progress = checkpoint.progress if checkpoint else TrainingProgress()
    # The stop request of the previous call is over; this call continues the run.
    if progress.stop == "reported":
        progress = replace(progress, stop=None)
    if checkpoint is not None:
        trainer.load_checkpoint(checkpoint.folder)
    recorder = None
    if is_rank_zero():
        log.log_dataset(spec.recipe.name, store.fingerprint)
        step_counts = components.schedule.step_counts
        log.log_params({f"resolved.{name}": count for name, count in step_counts.items()})
        # Opening the file removes lines after the checkpoint; those steps are trained again.
        recorder = MetricsRecorder(MetricsWriter(spec.folder / METRICS_FILE, progress.step), log)
    try:
        return trainer.train(progress, components.evaluator, recorder, callbacks)
    finally:
        if recorder is not None:
            recorder.close()


def _check_disk_space(
    folder: Path, components: PretrainingComponents, policy: CheckpointsConfig
) -> None:
    """Check that the checkpoints of a run and its result fit on the disk.

    Args:
        folder: Run folder.
        components: Parts of the run.
        policy: The recipe's `checkpoints` section.

    Raises:
        ResourceError: If the disk is too small.
    """
    weight_bytes = sum(
        value.numel() * value.element_size() for value in components.objective.state_dict().values()
    )
    # Two moments of AdamW per trained weight add to the weights themselves.
    per_checkpoint = estimate_checkpoint_bytes(weight_bytes, count_parameters(components.objective))
    training = components.schedule.as_run_config(components.objective.metric)
    needed_bytes = estimate_run_bytes(per_checkpoint, weight_bytes, policy, training)
    existing_bytes = compute_directory_size(folder)
    check_checkpoint_space(folder, needed_bytes, per_checkpoint, policy, existing_bytes)


def _build_result(
    folder: Path,
    progress: TrainingProgress,
    components: PretrainingComponents,
    weights_digest: str,
) -> RunResult:
    """Build the result of a run from its progress; `seconds` is 0, for the caller to replace.

    Args:
        folder: Run folder.
        progress: Final state of training, or its state when the run was stopped.
        components: Parts of the run.
        weights_digest: SHA-256 of the exported encoder; empty unless training has ended.
    """
    statuses: dict[str | None, Literal["stopped", "failed"]] = {
        "reported": "stopped",
        "diverged": "failed",
    }
    schedule = components.schedule
    return RunResult(
        status=statuses.get(progress.stop, "finished"),
        reason=progress.stop or "",
        best_step=progress.best_step,
        step=progress.step,
        samples=progress.samples,
        scores=progress.best_scores,
        search_scores=progress.best_scores,
        weights_sha256=weights_digest,
        seconds=0.0,
        folder=folder,
        costs={"parameters": float(count_parameters(components.objective))},
        epochs=progress.step / schedule.steps_per_epoch,
        limited=components.limited,
        resolved_steps=schedule.step_counts,
    )


def _build_run_identity(recipe: PretrainingRecipe, store_fingerprint: str) -> RunIdentity:
    """Build the identity of a run on this machine.

    Args:
        recipe: Configuration of the run.
        store_fingerprint: Fingerprint of the feature store.
    """
    return RunIdentity(
        config_hash=recipe.compute_config_hash(store_fingerprint),
        seed=recipe.training.seed,
        store=store_fingerprint,
        threads=recipe.resources.cpus,
        workers=get_rank_and_world_size()[1],
        torch=torch.__version__,
        transformers=transformers.__version__,
        processor=get_processor_name(recipe.resources.gpus > 0),
    )
