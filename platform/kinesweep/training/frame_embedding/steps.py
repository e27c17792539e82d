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

from kinesweep.checkpoints.checkpoints import WEIGHTS, begin, prune, publish, step_folder
from kinesweep.checkpoints.progress import Progress
from kinesweep.config.recipe.embedding import CarlConfig, EmbeddingRecipe
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import file_sha256
from kinesweep.core.io import write_folder
from kinesweep.core.seeds import derive_seed
from kinesweep.data.pair_sampling import PairStream, Side
from kinesweep.evaluation.kendall_tau import mean_order, scored_pairs
from kinesweep.features.frame_embedder_io import WEIGHTS as EMBEDDER_WEIGHTS
from kinesweep.features.frame_embedder_io import write_embedder
from kinesweep.models.embedder import FrameEmbedder, program_of
from kinesweep.models.losses.cycle_consistency import (
    cycle_back_classification,
    cycle_back_regression,
)
from kinesweep.models.losses.sequence_contrastive import sequence_contrastive
from kinesweep.store.format.reader import Store
from kinesweep.training.run_records.metrics import Recorder

_OPTIMIZER = "optimizer.pt"
# Default λ, as in the experiments of the paper (arXiv 1904.07846, appendix).
_VARIANCE_WEIGHT = 0.001


def loss_of(recipe: EmbeddingRecipe, network: FrameEmbedder, one: Side, other: Side) -> Tensor:
    """Compute the objective for a batch of pairs.

    Args:
        recipe: Configuration of the embedder.
        network: Frame embedder.
        one: First clip or view of each pair.
        other: Second clip or view of each pair.
    """
    part = recipe.embedding
    u_BTE, v_BTE = network(one.x_BTD, one.mask_BT), network(other.x_BTD, other.mask_BT)
    if isinstance(part, CarlConfig):
        first = (u_BTE, one.mask_BT, one.time_BT)
        second = (v_BTE, other.mask_BT, other.time_BT)
        return sequence_contrastive(*first, *second, part.temperature, part.sigma)
    # The cycle loss is not symmetric, so average both directions.
    there = (u_BTE, one.mask_BT, v_BTE, other.mask_BT, part.temperature)
    back = (v_BTE, other.mask_BT, u_BTE, one.mask_BT, part.temperature)
    if part.cycle == "classification":
        return (cycle_back_classification(*there) + cycle_back_classification(*back)) / 2
    weight = _VARIANCE_WEIGHT if part.variance_weight is None else part.variance_weight
    return (cycle_back_regression(*there, weight) + cycle_back_regression(*back, weight)) / 2


class OrderScore:
    """A score for how well embeddings preserve the temporal order between clips of the same kind.

    Args:
        store: Feature store.
        stream: Name of the stream.
        most: Maximum number of clip pairs.

    Raises:
        InputError: If no two validation clips show the same motion.
    """

    def __init__(self, store: Store, stream: str, most: int) -> None:
        records = store.records("validation")
        pairs = scored_pairs(records, most, "validation")
        # Read each clip once, although it may be part of many pairs.
        places = sorted({place for pair in pairs for place in pair})
        self._pairs = [(places.index(a), places.index(b)) for a, b in pairs]
        self._clips = [
            np.array(store.features(records[place])[stream], np.float32) for place in places
        ]
        # The score of the raw features does not change during training.
        self._frames = mean_order(self._clips, self._pairs)

    def __call__(
        self, embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> dict[str, float]:
        """Return `tau` of the embeddings and `tau_frames` of the raw features.

        Args:
            embed: Function from the frames (T, D) of a clip to its embeddings (T, E).
        """
        embedded = [embed(x_TD) for x_TD in self._clips]
        return {"tau": mean_order(embedded, self._pairs), "tau_frames": self._frames}


class Steps:
    """The training loop of one embedder run, with its network and optimizer.

    Args:
        recipe: Configuration of the embedder.
        network: Initialized network on its device.
        batches: Batches by step number.
        root: Checkpoint folder.
        device: Device of the network.
    """

    def __init__(
        self,
        recipe: EmbeddingRecipe,
        network: FrameEmbedder,
        batches: PairStream,
        root: Path,
        device: torch.device,
    ) -> None:
        self.recipe, self.network, self.root = recipe, network, root
        self._batches, self._device = batches, device
        self._optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=recipe.training.learning_rate,
            weight_decay=recipe.training.weight_decay,
        )

    def load(self, folder: Path) -> None:
        """Load weights and optimizer state from a checkpoint."""
        self.network.load_state_dict(load_file(folder / WEIGHTS))
        saved = torch.load(folder / _OPTIMIZER, weights_only=True, map_location=self._device)
        self._optimizer.load_state_dict(saved)

    def run(
        self,
        progress: Progress,
        score: OrderScore,
        recorder: Recorder,
        report: Callable[[dict[str, float]], bool],
    ) -> Progress:
        """Train until the last step or until `report` returns False.

        Args:
            progress: State from which to continue.
            score: Validation score.
            recorder: Writer of measurements.
            report: Called after each evaluation; False stops the run.

        Returns:
            State of the run at its end.
        """
        training = self.recipe.training
        # Each evaluation is followed by a checkpoint, so this list never spans a resumption.
        losses: list[float] = []
        while progress.step < training.max_steps and progress.stop is None:
            loss, seen = self._step(progress.step)
            losses.append(loss)
            progress = replace(progress, step=progress.step + 1, samples=progress.samples + seen)
            # Evaluate at multiples of `eval_steps` and after the last step.
            if progress.step % training.eval_steps and progress.step < training.max_steps:
                continue
            scores = score(self.embed)
            # `fsum` rounds once, so the mean does not depend on the order of the additions.
            measured = {"loss": math.fsum(losses) / len(losses), **scores}
            recorder.record(progress.step, progress.samples, measured, {})
            # The metrics must reach the disk before the checkpoint: on resuming, those up to it are
            # kept.
            recorder.sync()
            if not report({"step": progress.step, **measured}):
                progress = replace(progress, stop="reported")
            progress = self._keep(_better(progress, scores))
            losses = []
        return progress if progress.stop else replace(progress, stop="max_steps")

    def embed(self, x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed a single clip; frames (T, D) to embeddings (T, E)."""
        self.network.eval()
        with torch.no_grad():
            x_BTD = torch.from_numpy(x_TD)[None].to(self._device)
            mask_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=self._device)
            return np.asarray(self.network(x_BTD, mask_BT)[0].cpu().numpy())

    def _step(self, step: int) -> tuple[float, int]:
        """Take one AdamW step; return the loss and the number of clips or views seen."""
        training = self.recipe.training
        one, other = (side.to(self._device) for side in self._batches(step))
        # Seed dropout by step, so that a resumed run draws the same noise as an uninterrupted one.
        torch.manual_seed(derive_seed(training.seed, "dropout", step))
        self.network.train()
        loss = loss_of(self.recipe, self.network, one, other)
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
            group["lr"] = training.learning_rate * _rate(
                step, training.warmup_steps, training.max_steps
            )
        self._optimizer.step()
        return float(loss.detach()), len(one.x_BTD) + len(other.x_BTD)

    def _keep(self, progress: Progress) -> Progress:
        """Write the checkpoint of a step and remove all but the best and the last one."""
        saving = begin(self.root, progress.step)
        save_file(self.network.state_dict(), saving / WEIGHTS)
        torch.save(self._optimizer.state_dict(), saving / _OPTIMIZER)
        publish(saving, progress.step, progress)
        # Prune only after publishing, so that one complete checkpoint exists at any time.
        prune(self.root, "best+last", progress.step, progress.best_step)
        return progress


def write_best(folder: Path, steps: Steps, store: Store, stream: str, progress: Progress) -> str:
    """Write the embedder of the best checkpoint.

    Args:
        folder: Output folder.
        steps: Training loop with the network, whose weights are replaced.
        store: Feature store.
        stream: Name of the embedded stream.
        progress: Final state of the run.

    Returns:
        SHA-256 of the weights file.
    """
    assert progress.best_step is not None
    network = steps.network.cpu()
    network.load_state_dict(load_file(step_folder(steps.root, progress.best_step) / WEIGHTS))
    schema = store.schema.streams[stream]
    program, weights = program_of(network, schema.width)
    described = {
        "stream": stream,
        "width": schema.width,
        "size": steps.recipe.embedding.width,
        "layout": schema.layout.to_json() if schema.layout else None,
        "rate_hz": schema.rate_hz,
        "score": progress.best_scores,
        "step": progress.best_step,
        "store_fingerprint": store.fingerprint,
        "recipe": steps.recipe.model_dump(mode="json", exclude={"source", "store"}),
    }
    write_folder(folder, lambda beside: write_embedder(beside, described, program, weights))
    return file_sha256(folder / EMBEDDER_WEIGHTS)


def _better(progress: Progress, scores: dict[str, float]) -> Progress:
    """Update the state after an evaluation; equal scores keep the earlier checkpoint."""
    progress = replace(progress, scores=scores)
    if progress.best_step is not None and scores["tau"] <= progress.best_scores["tau"]:
        return progress
    return replace(progress, best_step=progress.step, best_scores=scores)


def _rate(step: int, warmup: int, end: int) -> float:
    """Return the share of the peak learning rate: linear warmup, then linear decay to nearly 0."""
    if step < warmup:
        return (step + 1) / warmup
    # The last step has index `end - 1`, so its rate is small but not 0.
    return (end - step) / max(1, end - warmup)
