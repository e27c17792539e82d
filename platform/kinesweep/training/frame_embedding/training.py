"""Training of one frame embedder, from a feature store to a folder for `features.embedder`.

This module does not depend on Ray. As in `training.run`, a call after a kill resumes from the
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

from kinesweep.checkpoints.checkpoints import drop_checkpoints, newest_verified
from kinesweep.checkpoints.progress import Progress
from kinesweep.config.loading import did_you_mean
from kinesweep.config.recipe.embedding import EmbeddingRecipe
from kinesweep.core.errors import ConfigError
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.skeleton.skeleton import skeleton_of
from kinesweep.data.pair_sampling import PairStream
from kinesweep.models.embedder import FrameEmbedder
from kinesweep.store.format.reader import Store, open_store
from kinesweep.store.inspect.statistics import frame_statistics
from kinesweep.training.frame_embedding.steps import OrderScore, Steps, write_best
from kinesweep.training.reproducibility.determinism import configure_determinism
from kinesweep.training.run_records.metrics import MetricsFile, Recorder
from kinesweep.training.run_records.result import RunResult, read_result
from kinesweep.training.run_records.run_identity import (
    METRICS,
    RESULT,
    Identity,
    claim_run_dir,
    processor,
    run_lock,
)

Report = Callable[[dict[str, float]], bool]


@dataclass(frozen=True)
class EmbedderSpec:
    """The specification of one embedder run.

    Attributes:
        recipe: Configuration, including `training.seed`.
        store: Folder of the feature store.
        folder: Run folder; its `best` subfolder holds the embedder.
        overwrite: Remove the files of another run from the folder.
    """

    recipe: EmbeddingRecipe
    store: Path
    folder: Path
    overwrite: bool = False


def train_embedder(spec: EmbedderSpec, log: RunLogger, report: Report) -> RunResult:
    """Train an embedder, resume its training, or return the result of a finished run.

    Args:
        spec: Specification of the run.
        log: Receives the measurements; its record is closed on return.
        report: Called with `{"step", "loss", "tau", "tau_frames"}` after each evaluation, before
            its checkpoint is written. A kill in between repeats the call. Returning False stops the
            run.

    Raises:
        CheckpointError: If the folder belongs to another run or another process works in it.
        ConfigError: If the recipe names a stream that the store does not have.
        InputError: If no two clips of a split show the same motion or the loss is not finite.
        ResourceError: If a GPU is requested but none is available.
        StoreError: If the store is missing or damaged.
    """
    try:
        with run_lock(spec.folder):
            result = _train_locked(spec, log, report)
    except Exception:
        log.finish("failed")
        raise
    log.finish(result.status)
    return result


def _train_locked(spec: EmbedderSpec, log: RunLogger, report: Report) -> RunResult:
    """Train the run while holding the lock of its folder."""
    started = time.perf_counter()
    recipe, store = spec.recipe, open_store(spec.store)
    claim_run_dir(spec.folder, _identity(recipe, store.fingerprint), spec.overwrite)
    done = read_result(spec.folder)
    # A kill may have come between writing the result and removing the checkpoints, so remove again.
    if done is not None and done.status != "stopped":
        drop_checkpoints(spec.folder)
        return done
    # A stopped run continues; until it ends again, the folder must not look finished.
    (spec.folder / RESULT).unlink(missing_ok=True)
    stream = stream_of(recipe, store)
    # Seed before the network is built, because its initial weights come from this generator.
    device = configure_determinism(
        recipe.training.seed, recipe.resources.cpus, recipe.resources.gpus
    )
    batches = PairStream(store, recipe, stream)
    score = OrderScore(store, stream, recipe.training.eval_pairs)
    network = build_embedder(recipe, store, stream).to(device)
    steps = Steps(recipe, network, batches, spec.folder / "checkpoints", device)
    checkpoint = newest_verified(steps.root)
    # The stop request of the previous call is over; this call continues the run.
    progress = replace(checkpoint.progress, stop=None) if checkpoint else Progress()
    if checkpoint is not None:
        steps.load(checkpoint.folder)
    log.dataset(recipe.name, store.fingerprint)
    # Opening the file removes lines after the checkpoint; those steps are trained again.
    recorder = Recorder(MetricsFile(spec.folder / METRICS, progress.step), log)
    try:
        progress = steps.run(progress, score, recorder, report)
    finally:
        recorder.close()
    weights = ""
    if progress.stop == "max_steps":
        weights = write_best(spec.folder / "best", steps, store, stream, progress)
    result = _result(spec.folder, progress, weights, batches.left_out)
    result = replace(result, seconds=time.perf_counter() - started)
    # Write the result before removing the checkpoints, so that a kill never loses both.
    result.write()
    if weights:
        drop_checkpoints(spec.folder)
    return result


def _result(folder: Path, progress: Progress, weights: str, left_out: int) -> RunResult:
    """Summarize how the run ended; `seconds` is 0 and is filled in by the caller."""
    return RunResult(
        status="finished" if weights else "stopped",
        reason=progress.stop or "",
        best_step=progress.best_step,
        step=progress.step,
        samples=progress.samples,
        scores=progress.best_scores,
        search_scores=progress.best_scores,
        weights_sha256=weights,
        seconds=0.0,
        folder=folder,
        limited={"alone_in_kind": left_out} if left_out else {},
    )


def build_embedder(recipe: EmbeddingRecipe, store: Store, stream: str) -> FrameEmbedder:
    """Build the untrained network of a recipe, with the feature statistics of train.

    Set the random seed before calling this function.

    Args:
        recipe: Configuration of the embedder.
        store: Feature store.
        stream: Name of the embedded stream.
    """
    schema, part = store.schema.streams[stream], recipe.embedding
    skeleton = skeleton_of(schema.layout)
    network = FrameEmbedder(recipe.encoder, schema.width, part.hidden, part.width, skeleton)
    if recipe.encoder.standardize:
        mean_D, deviation_D = frame_statistics(store)[stream]
        encoder: Any = network.encoder
        encoder.set_statistics(torch.as_tensor(mean_D), torch.as_tensor(deviation_D))
    return network


def stream_of(recipe: EmbeddingRecipe, store: Store) -> str:
    """Return the name of the stream to embed.

    Raises:
        ConfigError: If the store has no such stream, or has several and the recipe names none.
    """
    names, wanted = list(store.schema.streams), recipe.embedding.stream
    if wanted in names:
        return str(wanted)
    if wanted is None and len(names) == 1:
        return names[0]
    there = ", ".join(f"`{name}`" for name in names)
    what = "must be set" if wanted is None else f"`{wanted}` is not a stream of the store"
    hint = did_you_mean(wanted or "", names)
    raise ConfigError(
        "the embedder", [("embedding.stream", f"{what}{hint}; its streams are: {there}")]
    )


def _identity(recipe: EmbeddingRecipe, store_fingerprint: str) -> Identity:
    """Return the identity of the run on this machine."""
    return Identity(
        config_hash=recipe.config_hash(store_fingerprint),
        seed=recipe.training.seed,
        store=store_fingerprint,
        threads=recipe.resources.cpus,
        workers=1,
        torch=torch.__version__,
        transformers=transformers.__version__,
        processor=processor(recipe.resources.gpus > 0),
    )
