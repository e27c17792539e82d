"""The trainer of a frame embedder: optimizer steps, evaluations, checkpoints, export of the best.

Only weights and optimizer moments carry over from step to step. Batch, noise and learning rate are
functions of the step number, so a checkpoint needs no generator or scheduler state.

Shapes: B clips, T frames, D width, E width of an embedding.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from kinesweep.checkpoints.background_writer import CheckpointWriter
from kinesweep.checkpoints.checkpoint_content import CheckpointContent
from kinesweep.checkpoints.checkpoints import get_checkpoint_folder
from kinesweep.checkpoints.progress import TrainingProgress
from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.core.checkpoint_files import WEIGHTS_FILENAME
from kinesweep.core.errors import TrainingError
from kinesweep.core.hashing import compute_file_sha256
from kinesweep.core.io import write_folder
from kinesweep.core.seeds import derive_seed
from kinesweep.data.pair_sampling import PairBatches
from kinesweep.features.frame_embedder_io import WEIGHTS_FILE as EMBEDDER_WEIGHTS
from kinesweep.features.frame_embedder_io import write_embedder
from kinesweep.models.embedder import FrameEmbedder, export_program
from kinesweep.store.format.reader import Store
from kinesweep.training.frame_embedding.kendall_tau_metric import KendallTauMetric
from kinesweep.training.frame_embedding.pair_loss import compute_pair_loss
from kinesweep.training.run_records.metrics import MetricsRecorder

_OPTIMIZER_FILE = "optimizer.pt"


class EmbedderTrainer:
    """A trainer that runs the training loop of one frame embedder.

    Args:
        recipe: Configuration of the embedder; nearly all of it is used, and it is written to the
            exported embedder.
        network: Initialized network on its device.
        batches: Function from a step number to the two sides of a batch of pairs.
        checkpoints_dir: Folder of all checkpoints of the run.
        device: Device of the network.

    Attributes:
        recipe: Configuration of the embedder.
        network: Network, trained in place.
        checkpoints_dir: Folder of all checkpoints of the run.
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
        """Load the weights and the optimizer state from the folder of a checkpoint."""
        self.network.load_state_dict(load_file(folder / WEIGHTS_FILENAME))
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

        After every `training.eval_steps` steps and after the last one, the network is evaluated,
        the metrics are recorded and reported, and a checkpoint is written.

        Args:
            progress: State from which to continue.
            metric: Validation metric.
            recorder: Recorder of metrics.
            report: Called with the metrics of each evaluation. True continues training, False stops
                it after the checkpoint of the evaluation.

        Returns:
            State after the last step; its `stop` is `max_steps` or `reported`.

        Raises:
            TrainingError: If the loss or the score of an evaluation is not finite.
        """
        # On resuming, the metrics up to a checkpoint are kept, so they must be on disk first.
        with CheckpointWriter(
            self.checkpoints_dir, "best+last", before_publish=recorder.sync
        ) as writer:
            progress = self._train_steps(progress, metric, recorder, report, writer)
        return progress if progress.stop else replace(progress, stop="max_steps")

    def _train_steps(
        self,
        progress: TrainingProgress,
        metric: KendallTauMetric,
        recorder: MetricsRecorder,
        report: Callable[[dict[str, float]], bool],
        writer: CheckpointWriter,
    ) -> TrainingProgress:
        """Train all steps; see `train`, which waits for the last checkpoint afterwards.

        Args:
            progress: State from which to continue.
            metric: Validation metric.
            recorder: Recorder of metrics.
            report: Called with the metrics of each evaluation.
            writer: Writer of checkpoints.
        """
        config = self.recipe.training
        # Each evaluation is followed by a checkpoint, so this list never spans a resumption.
        losses: list[float] = []
        while progress.step < config.max_steps and progress.stop is None:
            loss, num_clips = self._train_step(progress.step)
            losses.append(loss)
            progress = replace(
                progress, step=progress.step + 1, samples=progress.samples + num_clips
            )
            writer.raise_error()
            # Evaluate at multiples of `eval_steps` and after the last step.
            if progress.step % config.eval_steps and progress.step < config.max_steps:
                continue
            scores = metric(self.embed_clip)
            # As in `TranslatorTrainer.evaluate`: a resumed run repeats one report at the most.
            writer.join()
            # `fsum` rounds once, so the mean does not depend on the order of the additions.
            metrics = {"loss": math.fsum(losses) / len(losses), **scores}
            recorder.record(progress.step, progress.samples, metrics, {})
            if not report({"step": progress.step, **metrics}):
                progress = replace(progress, stop="reported")
            progress = _update_best(progress, scores)
            content = CheckpointContent(
                weights={WEIGHTS_FILENAME: self.network.state_dict()},
                states={_OPTIMIZER_FILE: self._optimizer.state_dict()},
            )
            writer.write(content, progress.step, progress)
            losses = []
        return progress

    def embed_clip(self, x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the embeddings (T, E) of the frames (T, D) of one clip.

        The network is left in evaluation mode.

        Raises:
            TrainingError: If an embedding is not finite.
        """
        self.network.eval()
        with torch.no_grad():
            x_BTD = torch.from_numpy(x_TD)[None].to(self._device)
            mask_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=self._device)
            x_TE = np.asarray(self.network(x_BTD, mask_BT)[0].cpu().numpy())
        # Kendall's tau of embeddings that are not numbers is a number, so the score would not tell.
        if not np.isfinite(x_TE).all():
            raise TrainingError(
                "the run diverged: the embeddings of a validation clip are not finite; set"
                f" `training.learning_rate` ({self.recipe.training.learning_rate:g}) lower"
            )
        return x_TE

    def _train_step(self, step: int) -> tuple[float, int]:
        """Take one AdamW step.

        Args:
            step: Number of steps done before; it determines batch, dropout and learning rate.

        Returns:
            Loss before the update, and the number of clips or views in the batch.

        Raises:
            TrainingError: If the loss is not finite.
        """
        config = self.recipe.training
        first_side, second_side = (side.to(self._device) for side in self._batches(step))
        # Seed dropout by step, so that a resumed run draws the same noise as an uninterrupted one.
        torch.manual_seed(derive_seed(config.seed, "dropout", step))
        self.network.train()
        loss = compute_pair_loss(self.recipe.embedding, self.network, first_side, second_side)
        # Stop before the update: a NaN would otherwise reach every weight and the next checkpoint.
        if not loss.isfinite():
            raise TrainingError(
                f"the run diverged: the loss is not finite at step {step + 1}; set"
                f" `training.learning_rate` ({config.learning_rate:g}) lower"
            )
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        # Set the learning rate as a function of the step instead of by a scheduler with a state.
        for group in self._optimizer.param_groups:
            group["lr"] = config.learning_rate * _compute_lr_factor(
                step, config.warmup_steps, config.max_steps
            )
        self._optimizer.step()
        return float(loss.detach()), len(first_side.x_BTD) + len(second_side.x_BTD)


def write_best_embedder(
    folder: Path, trainer: EmbedderTrainer, store: Store, stream: str, progress: TrainingProgress
) -> str:
    """Write the embedder of the best checkpoint to a folder, atomically.

    Args:
        folder: Output folder.
        trainer: Trainer with the network, which is moved to the CPU and gets the best weights.
        store: Feature store.
        stream: Name of the embedded feature stream.
        progress: Final state of the run, with a best step.

    Returns:
        SHA-256 of the weights file.
    """
    assert progress.best_step is not None
    network = trainer.network.cpu()
    network.load_state_dict(
        load_file(
            get_checkpoint_folder(trainer.checkpoints_dir, progress.best_step) / WEIGHTS_FILENAME
        )
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
    """Return the progress after an evaluation, with its scores and, if it is the best, its step.

    A step is the best if its `tau` is higher than all before; of equal ones, the first is kept.

    Args:
        progress: State at the evaluated step.
        scores: Scores of the evaluation.
    """
    progress = replace(progress, scores=scores)
    if progress.best_step is not None and scores["tau"] <= progress.best_scores["tau"]:
        return progress
    return replace(progress, best_step=progress.step, best_scores=scores)


def _compute_lr_factor(step: int, warmup_steps: int, max_steps: int) -> float:
    """Compute the factor of the learning rate: linear warmup to 1, then linear decay to nearly 0.

    Args:
        step: Number of steps done before.
        warmup_steps: Number of steps of the warmup.
        max_steps: Number of steps of the run.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    # The last step has index `max_steps - 1`, so its rate is small but not 0.
    return (max_steps - step) / max(1, max_steps - warmup_steps)
