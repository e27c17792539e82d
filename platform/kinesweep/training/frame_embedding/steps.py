"""The training loop of an embedder: batch, loss, AdamW step, evaluation, checkpoint, final export.

Only weights and optimizer moments carry over from step to step. Batch, noise and learning rate are
functions of the step number, so a checkpoint needs no generator or scheduler state.

Shapes: B pairs, T frames, D width, E width of an embedding.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from kinesweep.checkpoints.checkpoints import (
    WEIGHTS,
    create_checkpoint_folder,
    get_checkpoint_folder,
    prune_checkpoints,
    publish_checkpoint,
)
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.recipe.embedding import CarlConfig, EmbeddingRecipe
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_file_sha256
from kinesweep.core.io import write_folder
from kinesweep.core.seeds import derive_seed
from kinesweep.data.pair_sampling import PaddedClips, PairBatches
from kinesweep.evaluation.kendall_tau import compute_mean_tau, select_clip_pairs
from kinesweep.features.frame_embedder_io import WEIGHTS_FILE as EMBEDDER_WEIGHTS
from kinesweep.features.frame_embedder_io import write_embedder
from kinesweep.models.embedder import FrameEmbedder, export_program
from kinesweep.models.losses.cycle_consistency import (
    compute_cycle_classification_loss,
    compute_cycle_regression_loss,
)
from kinesweep.models.losses.sequence_contrastive import compute_sequence_contrastive_loss
from kinesweep.store.format.reader import Store
from kinesweep.training.run_records.metrics import MetricsRecorder

_OPTIMIZER_FILE = "optimizer.pt"
# Default λ, as in the experiments of the paper (arXiv 1904.07846, appendix).
_DEFAULT_VARIANCE_WEIGHT = 0.001


def compute_loss(
    recipe: EmbeddingRecipe,
    network: FrameEmbedder,
    first_side: PaddedClips,
    second_side: PaddedClips,
) -> Tensor:
    """Compute the training loss for a batch of pairs.

    Args:
        recipe: Configuration of the embedder.
        network: Frame embedder.
        first_side: First clip or view of each pair.
        second_side: Second clip or view of each pair.
    """
    embedding_config = recipe.embedding
    u_BTE, v_BTE = (
        network(first_side.x_BTD, first_side.mask_BT),
        network(second_side.x_BTD, second_side.mask_BT),
    )
    if isinstance(embedding_config, CarlConfig):
        first_sequence = (u_BTE, first_side.mask_BT, first_side.time_BT)
        second_sequence = (v_BTE, second_side.mask_BT, second_side.time_BT)
        return compute_sequence_contrastive_loss(
            *first_sequence, *second_sequence, embedding_config.temperature, embedding_config.sigma
        )
    # The cycle loss is not symmetric, so average both directions.
    forward_cycle = (
        u_BTE,
        first_side.mask_BT,
        v_BTE,
        second_side.mask_BT,
        embedding_config.temperature,
    )
    backward_cycle = (
        v_BTE,
        second_side.mask_BT,
        u_BTE,
        first_side.mask_BT,
        embedding_config.temperature,
    )
    if embedding_config.cycle == "classification":
        return (
            compute_cycle_classification_loss(*forward_cycle)
            + compute_cycle_classification_loss(*backward_cycle)
        ) / 2
    weight = (
        _DEFAULT_VARIANCE_WEIGHT
        if embedding_config.variance_weight is None
        else embedding_config.variance_weight
    )
    return (
        compute_cycle_regression_loss(*forward_cycle, weight)
        + compute_cycle_regression_loss(*backward_cycle, weight)
    ) / 2


class KendallTauMetric:
    """Kendall's tau of embeddings: how well they preserve the temporal order between clips.

    It is computed over pairs of validation clips that show the same motion.

    Args:
        store: Feature store.
        stream: Name of the stream.
        max_pairs: Maximum number of clip pairs.

    Raises:
        InputError: If no two validation clips show the same motion.
    """

    def __init__(self, store: Store, stream: str, max_pairs: int) -> None:
        records = store.get_records("validation")
        pairs = select_clip_pairs(records, max_pairs, "validation")
        # Read each clip once, although it may be part of many pairs.
        clip_indices = sorted({index for pair in pairs for index in pair})
        self._pairs = [(clip_indices.index(a), clip_indices.index(b)) for a, b in pairs]
        self._clips = [
            np.array(store.get_features(records[index])[stream], np.float32)
            for index in clip_indices
        ]
        # The score of the raw features does not change during training.
        self._tau_frames = compute_mean_tau(self._clips, self._pairs)

    def __call__(
        self, embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> dict[str, float]:
        """Compute `tau` of the embeddings and `tau_frames` of the raw features.

        Args:
            embed: Function from the frames (T, D) of a clip to its embeddings (T, E).
        """
        embedded = [embed(x_TD) for x_TD in self._clips]
        return {"tau": compute_mean_tau(embedded, self._pairs), "tau_frames": self._tau_frames}


class EmbedderTrainer:
    """A trainer that runs the training loop of one frame embedder.

    Args:
        recipe: Configuration of the embedder.
        network: Initialized network on its device.
        batches: Batches by step number.
        checkpoints_dir: Checkpoint folder.
        device: Device of the network.
    """

    def __init__(
        self,
        recipe: EmbeddingRecipe,
        network: FrameEmbedder,
        batches: PairBatches,
        checkpoints_dir: Path,
        device: torch.device,
    ) -> None:
        self.recipe, self.network, self.checkpoints_dir = recipe, network, checkpoints_dir
        self._batches, self._device = batches, device
        self._optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=recipe.training.learning_rate,
            weight_decay=recipe.training.weight_decay,
        )

    def load_checkpoint(self, folder: Path) -> None:
        """Load the weights and the optimizer state from a checkpoint folder."""
        self.network.load_state_dict(load_file(folder / WEIGHTS))
        optimizer_state = torch.load(
            folder / _OPTIMIZER_FILE, weights_only=True, map_location=self._device
        )
        self._optimizer.load_state_dict(optimizer_state)

    def train(
        self,
        progress: TrainingProgress,
        metric: KendallTauMetric,
        recorder: MetricsRecorder,
        report: Callable[[dict[str, float]], bool],
    ) -> TrainingProgress:
        """Train until the last step or until `report` returns False.

        Args:
            progress: State from which to continue.
            metric: Validation metric.
            recorder: Recorder of metrics.
            report: Called after each evaluation; False stops the run.

        Returns:
            State of the run at its end.
        """
        training = self.recipe.training
        # Each evaluation is followed by a checkpoint, so this list never spans a resumption.
        losses: list[float] = []
        while progress.step < training.max_steps and progress.stop is None:
            loss, num_clips = self._train_step(progress.step)
            losses.append(loss)
            progress = replace(
                progress, step=progress.step + 1, samples=progress.samples + num_clips
            )
            # Evaluate at multiples of `eval_steps` and after the last step.
            if progress.step % training.eval_steps and progress.step < training.max_steps:
                continue
            scores = metric(self.embed_clip)
            # `fsum` rounds once, so the mean does not depend on the order of the additions.
            metrics = {"loss": math.fsum(losses) / len(losses), **scores}
            recorder.record(progress.step, progress.samples, metrics, {})
            # The metrics must reach the disk before the checkpoint: on resuming, those up to it are
            # kept.
            recorder.sync()
            if not report({"step": progress.step, **metrics}):
                progress = replace(progress, stop="reported")
            progress = self._save_checkpoint(_update_best(progress, scores))
            losses = []
        return progress if progress.stop else replace(progress, stop="max_steps")

    def embed_clip(self, x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the embeddings (T, E) of the frames (T, D) of one clip."""
        self.network.eval()
        with torch.no_grad():
            x_BTD = torch.from_numpy(x_TD)[None].to(self._device)
            mask_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=self._device)
            return np.asarray(self.network(x_BTD, mask_BT)[0].cpu().numpy())

    def _train_step(self, step: int) -> tuple[float, int]:
        """Take one AdamW step; return the loss and the number of clips or views in the batch."""
        training = self.recipe.training
        first_side, second_side = (side.to(self._device) for side in self._batches(step))
        # Seed dropout by step, so that a resumed run draws the same noise as an uninterrupted one.
        torch.manual_seed(derive_seed(training.seed, "dropout", step))
        self.network.train()
        loss = compute_loss(self.recipe, self.network, first_side, second_side)
        # Stop before the update: a NaN would otherwise reach every weight and the next checkpoint.
        if not loss.isfinite():
            raise InputError(
                f"the loss is not finite at step {step + 1}; set"
                f" `training.learning_rate` ({training.learning_rate:g}) lower"
            )
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), training.max_grad_norm)
        # Set the learning rate as a function of the step instead of by a scheduler with a state.
        for group in self._optimizer.param_groups:
            group["lr"] = training.learning_rate * _compute_lr_factor(
                step, training.warmup_steps, training.max_steps
            )
        self._optimizer.step()
        return float(loss.detach()), len(first_side.x_BTD) + len(second_side.x_BTD)

    def _save_checkpoint(self, progress: TrainingProgress) -> TrainingProgress:
        """Write the checkpoint of a step, and remove all but the best and the last checkpoint."""
        staging_dir = create_checkpoint_folder(self.checkpoints_dir, progress.step)
        save_file(self.network.state_dict(), staging_dir / WEIGHTS)
        torch.save(self._optimizer.state_dict(), staging_dir / _OPTIMIZER_FILE)
        publish_checkpoint(staging_dir, progress.step, progress)
        # Prune only after publishing, so that one complete checkpoint exists at any time.
        prune_checkpoints(self.checkpoints_dir, "best+last", progress.step, progress.best_step)
        return progress


def write_best_embedder(
    folder: Path, trainer: EmbedderTrainer, store: Store, stream: str, progress: TrainingProgress
) -> str:
    """Write the embedder of the best checkpoint.

    Args:
        folder: Output folder.
        trainer: Trainer with the network, whose weights are replaced.
        store: Feature store.
        stream: Name of the embedded stream.
        progress: Final state of the run.

    Returns:
        SHA-256 of the weights file.
    """
    assert progress.best_step is not None
    network = trainer.network.cpu()
    network.load_state_dict(
        load_file(get_checkpoint_folder(trainer.checkpoints_dir, progress.best_step) / WEIGHTS)
    )
    schema = store.schema.streams[stream]
    program, weights = export_program(network, schema.width)
    metadata = {
        "stream": stream,
        "width": schema.width,
        "size": trainer.recipe.embedding.width,
        "layout": schema.layout.to_json() if schema.layout else None,
        "rate_hz": schema.rate_hz,
        "score": progress.best_scores,
        "step": progress.best_step,
        "store_fingerprint": store.fingerprint,
        "recipe": trainer.recipe.model_dump(mode="json", exclude={"source", "store"}),
    }
    write_folder(
        folder, lambda staging_dir: write_embedder(staging_dir, metadata, program, weights)
    )
    return compute_file_sha256(folder / EMBEDDER_WEIGHTS)


def _update_best(progress: TrainingProgress, scores: dict[str, float]) -> TrainingProgress:
    """Update the best step after an evaluation; equal scores keep the earlier checkpoint."""
    progress = replace(progress, scores=scores)
    if progress.best_step is not None and scores["tau"] <= progress.best_scores["tau"]:
        return progress
    return replace(progress, best_step=progress.step, best_scores=scores)


def _compute_lr_factor(step: int, warmup_steps: int, max_steps: int) -> float:
    """Compute the factor of the learning rate: linear warmup, then linear decay to nearly 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    # The last step has index `max_steps - 1`, so its rate is small but not 0.
    return (max_steps - step) / max(1, max_steps - warmup_steps)
