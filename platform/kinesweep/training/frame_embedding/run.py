"""Training of one frame embedder, from a feature store to a folder for `features.embedder`.

This module does not depend on Ray. As in `training.loop.run`, a call after a kill resumes from the
newest complete checkpoint and produces the same bits; a call on a finished folder returns the
result. Each run has a folder of its own. Batches and noise are functions of the step, so a
checkpoint holds only weights and optimizer state. Training uses one process: a step of 32 clips of
boxing takes 0.2 s on one core with three convolutions, and 10 ms with an MLP on 16 clips of 24
frames.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from kinesweep.checkpoints.checkpoints import recover_newest_checkpoint, remove_checkpoints
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.recipe.model.encoders import reads_statistics
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import ConfigError
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.skeleton.skeleton import find_skeleton
from kinesweep.data.pair_sampling import PairBatches
from kinesweep.models.embedder import FrameEmbedder
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.inspect.statistics import compute_frame_statistics
from kinesweep.training.frame_embedding.kendall_tau_metric import KendallTauMetric
from kinesweep.training.frame_embedding.trainer import EmbedderTrainer, write_best_embedder
from kinesweep.training.reproducibility.determinism import configure_determinism
from kinesweep.training.run_records.metrics import MetricsRecorder, MetricsWriter
from kinesweep.training.run_records.result import RunResult, read_run_result
from kinesweep.training.run_records.run_identity import (
    METRICS_FILE,
    RESULT_FILE,
    RunIdentity,
    claim_run_dir,
    get_processor_name,
    lock_run_dir,
)

ReportCallback = Callable[[dict[str, float]], bool]
"""Function that receives the metrics of an evaluation; True continues training, False stops it."""


@dataclass(frozen=True)
class EmbedderSpec:
    """The specification of one embedder run.

    Attributes:
        recipe: Configuration, including `training.seed`.
        store: Folder of the feature store.
        folder: Run folder; its `best` subfolder holds the embedder.
        overwrite: First remove the files of any earlier run from the folder.
    """

    recipe: EmbeddingRecipe
    store: Path
    folder: Path
    overwrite: bool = False


def train_embedder(spec: EmbedderSpec, log: RunLogger, report: ReportCallback) -> RunResult:
    """Train an embedder, resume its training, or return the result of a finished run.

    Args:
        spec: Specification of the run.
        log: Run logger that receives the metrics; it is finished on return.
        report: Called with `{"step", "loss", "tau", "tau_frames"}` after each evaluation, before
            its checkpoint is written. A kill in between repeats the call. True continues training,
            False stops the run after its checkpoint.

    Returns:
        Result of the run.

    Raises:
        CheckpointError: If the folder belongs to another run or another process works in it.
        ConfigError: If the recipe names a stream that the store does not have.
        InputError: If no two clips of a split show the same motion.
        ResourceError: If a GPU is requested but none is available.
        StoreError: If the store is missing or damaged.
        TrainingError: If the run diverged: its loss or its embeddings are not finite.
    """
    try:
        with lock_run_dir(spec.folder):
            result = _train_with_lock(spec, log, report)
    except Exception:
        log.finish("failed")
        raise
    log.finish(result.status)
    return result


def _train_with_lock(spec: EmbedderSpec, log: RunLogger, report: ReportCallback) -> RunResult:
    """Train or resume a run whose folder is locked, or return the result it already has.

    Args:
        spec: Specification of the run.
        log: Run logger.
        report: Called with the metrics of each evaluation; False stops the run.

    Returns:
        Result of the run, which has been written to `result.json`.
    """
    start_time = time.perf_counter()
    recipe, store = spec.recipe, open_store(spec.store)
    claim_run_dir(spec.folder, _build_run_identity(recipe, store.fingerprint), spec.overwrite)
    previous_result = read_run_result(spec.folder)
    # A kill may have come between writing the result and removing the checkpoints, so remove again.
    if previous_result is not None and previous_result.status != "stopped":
        remove_checkpoints(spec.folder)
        return previous_result
    # A stopped run continues; until it ends again, the folder must not look finished.
    (spec.folder / RESULT_FILE).unlink(missing_ok=True)
    stream = select_stream(recipe, store)
    # Seed before the network is built, because its initial weights come from this generator.
    device = configure_determinism(
        recipe.training.seed, recipe.resources.cpus, recipe.resources.gpus
    )
    batches = PairBatches(store, recipe, stream)
    metric = KendallTauMetric(store, stream, recipe.training.eval_pairs)
    network = build_embedder(recipe, store, stream).to(device)
    trainer = EmbedderTrainer(recipe, network, batches, spec.folder / "checkpoints", device)
    checkpoint = recover_newest_checkpoint(trainer.checkpoints_dir)
    # The stop request of the previous call is over; this call continues the run.
    progress = replace(checkpoint.progress, stop=None) if checkpoint else TrainingProgress()
    if checkpoint is not None:
        trainer.load_checkpoint(checkpoint.folder)
    log.log_dataset(recipe.name, store.fingerprint)
    # Opening the file removes lines after the checkpoint; those steps are trained again.
    recorder = MetricsRecorder(MetricsWriter(spec.folder / METRICS_FILE, progress.step), log)
    try:
        progress = trainer.train(progress, metric, recorder, report)
    finally:
        recorder.close()
    weights_digest = ""
    if progress.stop == "max_steps":
        weights_digest = write_best_embedder(spec.folder / "best", trainer, store, stream, progress)
    result = _build_result(spec.folder, progress, weights_digest, batches.num_unpaired_clips)
    result = replace(result, seconds=time.perf_counter() - start_time)
    # Write the result before removing the checkpoints, so that a kill never loses both.
    result.write()
    if weights_digest:
        remove_checkpoints(spec.folder)
    return result


def _build_result(
    folder: Path, progress: TrainingProgress, weights_digest: str, num_unpaired_clips: int
) -> RunResult:
    """Build the result of a run from its progress; `seconds` is 0, for the caller to replace.

    Args:
        folder: Run folder.
        progress: Final state of training, or its state when the run was stopped.
        weights_digest: SHA-256 of the exported weights; empty if the run was stopped.
        num_unpaired_clips: Number of training clips whose motion no other training clip shows.
    """
    return RunResult(
        status="finished" if weights_digest else "stopped",
        reason=progress.stop or "",
        best_step=progress.best_step,
        step=progress.step,
        samples=progress.samples,
        scores=progress.best_scores,
        search_scores=progress.best_scores,
        weights_sha256=weights_digest,
        seconds=0.0,
        folder=folder,
        limited={"alone_in_kind": num_unpaired_clips} if num_unpaired_clips else {},
    )


def build_embedder(recipe: EmbeddingRecipe, store: Store, stream: str) -> FrameEmbedder:
    """Build the untrained network of a recipe on the CPU.

    If the encoder standardizes its input, it gets the statistics of the training features. Set the
    random seed before calling this function, because the weights are drawn at random.

    Args:
        recipe: Configuration of the embedder.
        store: Feature store.
        stream: Name of the feature stream to embed.
    """
    schema, embedding_config = store.schema.streams[stream], recipe.embedding
    skeleton = find_skeleton(schema.layout)
    network = FrameEmbedder(
        recipe.encoder, schema.width, embedding_config.hidden, embedding_config.width, skeleton
    )
    if reads_statistics(recipe.encoder):
        mean_D, deviation_D = compute_frame_statistics(store)[stream]
        encoder: Any = network.encoder
        encoder.set_statistics(torch.as_tensor(mean_D), torch.as_tensor(deviation_D))
    return network


def select_stream(recipe: EmbeddingRecipe, store: Store) -> str:
    """Select the name of the feature stream to embed: that of the recipe, or the store's only one.

    Args:
        recipe: Configuration of the embedder; `embedding.stream` may name the stream.
        store: Feature store.

    Raises:
        ConfigError: If the store has no such stream, or has several and the recipe names none.
    """
    names, requested = list(store.schema.streams), recipe.embedding.stream
    if requested in names:
        return str(requested)
    if requested is None and len(names) == 1:
        return names[0]
    available = ", ".join(f"`{name}`" for name in names)
    problem = "must be set" if requested is None else f"`{requested}` is not a stream of the store"
    hint = suggest_closest_word(requested or "", names)
    raise ConfigError(
        "the embedder", [("embedding.stream", f"{problem}{hint}; its streams are: {available}")]
    )


def _build_run_identity(recipe: EmbeddingRecipe, store_fingerprint: str) -> RunIdentity:
    """Build the identity of a run on this machine.

    Args:
        recipe: Configuration of the embedder.
        store_fingerprint: Fingerprint of the feature store.
    """
    return RunIdentity(
        config_hash=recipe.compute_config_hash(store_fingerprint),
        seed=recipe.training.seed,
        store=store_fingerprint,
        threads=recipe.resources.cpus,
        workers=1,
        torch=torch.__version__,
        transformers=transformers.__version__,
        processor=get_processor_name(recipe.resources.gpus > 0),
    )
