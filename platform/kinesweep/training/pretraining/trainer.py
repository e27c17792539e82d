"""The trainer of a pretraining objective: optimizer steps, evaluations and checkpoints.

Weights, optimizer moments and the scale of fp16 are all that carries over from step to step.
Windows, masks and dropped branches are functions of the step, so a checkpoint needs no generator
state, and neither resumption nor the number of workers changes them.
"""

import math
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from kinesweep.checkpoints.background_writer import CheckpointWriter
from kinesweep.checkpoints.checkpoint_content import CheckpointContent
from kinesweep.checkpoints.checkpoints import should_write_checkpoint
from kinesweep.checkpoints.progress import TrainingProgress, update_progress
from kinesweep.core.checkpoint_files import WEIGHTS_FILENAME
from kinesweep.core.collectives import (
    all_gather,
    get_rank_and_world_size,
    run_on_rank_zero,
)
from kinesweep.core.errors import TrainingError
from kinesweep.core.io import format_json
from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.data.batch_loader import BatchLoader
from kinesweep.models.pretraining.objective import ClipSums, PretrainingObjective
from kinesweep.training.loop.run_callbacks import RunCallbacks
from kinesweep.training.pretraining.evaluation import PretrainingEvaluator
from kinesweep.training.pretraining.gradients import (
    add_gradients_of_workers,
    add_losses_of_workers,
    split_by_weight_decay,
)
from kinesweep.training.pretraining.loop_inputs import CheckpointStore, TrainingData
from kinesweep.training.pretraining.precision import Precision
from kinesweep.training.pretraining.schedule import PretrainingSchedule
from kinesweep.training.run_records.clip_sums import CLIP_SUMS_FILENAME
from kinesweep.training.run_records.metrics import MetricsRecorder

_OPTIMIZER_FILE = "optimizer.pt"
_STOP_CHECK_INTERVAL = 8
"""Steps between questions whether to stop, with several workers."""


class PretrainingTrainer:
    """A trainer that runs the training loop of one objective.

    Args:
        objective: Initialized objective on its device.
        schedule: Numbers of steps and learning rates.
        data: Training windows.
        precision: Numeric precision, with the device.
        checkpoints: Where checkpoints lie, and which are kept.
    """

    def __init__(
        self,
        objective: PretrainingObjective,
        schedule: PretrainingSchedule,
        data: TrainingData,
        precision: Precision,
        checkpoints: CheckpointStore,
    ) -> None:
        self.objective, self._schedule, self._data = objective, schedule, data
        self._precision, self._checkpoints = precision, checkpoints
        self._writer = CheckpointWriter(checkpoints.folder, checkpoints.keep)
        config = schedule.config
        decayed, not_decayed = split_by_weight_decay(objective, config.decay_biases)
        self._parameters = [*decayed, *not_decayed]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": not_decayed, "weight_decay": 0.0},
            ],
            lr=schedule.peak_learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
        )

    def load_checkpoint(self, folder: Path) -> None:
        """Load weights, optimizer state and fp16 scale from the folder of a checkpoint."""
        self.objective.load_state_dict(load_file(folder / WEIGHTS_FILENAME))
        state = torch.load(
            folder / _OPTIMIZER_FILE, weights_only=True, map_location=self._precision.device
        )
        self._optimizer.load_state_dict(state["optimizer"])
        self._precision.scaler.load_state_dict(state["scaler"])

    def train(
        self,
        progress: TrainingProgress,
        evaluator: PretrainingEvaluator,
        recorder: MetricsRecorder | None,
        callbacks: RunCallbacks,
    ) -> TrainingProgress:
        """Train until the last step, until patience is exhausted or until a callback stops it.

        After every `training.eval_steps` steps and after the last one, the objective is evaluated,
        the metrics are recorded and reported, and a checkpoint is written.

        Args:
            progress: State from which to continue.
            evaluator: Evaluator on the validation windows.
            recorder: Recorder of metrics, on rank 0 only.
            callbacks: `report` gets the metrics of each evaluation, on every rank, and may stop the
                run after its checkpoint; `should_stop` is asked between steps and stops it without
                one. Their results on rank 0 decide.

        Returns:
            State after the last step; its `stop` says why training ended.

        Raises:
            TrainingError: If the loss of a step is not finite.
        """
        max_steps, config = self._schedule.max_steps, self._schedule.config
        # Emptied at every evaluation, so it never spans a checkpoint.
        logged: list[dict[str, float]] = []
        start_time = time.perf_counter()
        # On resuming, the metrics up to a checkpoint are kept, so they must be on disk first.
        self._writer.before_publish = recorder.sync if recorder is not None else None
        # The outer block: batches end first, then the last checkpoint is awaited.
        with self._writer, closing(self._iterate_batches(progress.step)) as batches:
            while progress.step < max_steps and progress.stop is None:
                logged.append(self._train_step(progress.step, batches))
                step = progress.step + 1
                samples = progress.samples + self._schedule.windows_per_step
                progress = replace(progress, step=step, samples=samples)
                evaluates = step % self._schedule.eval_steps == 0 or step == max_steps
                if evaluates or step % config.logging_steps == 0:
                    self._record_losses(progress, logged, recorder, start_time)
                    logged = []
                if evaluates:
                    progress = self._evaluate(progress, evaluator, recorder, callbacks)
                progress = self._ask_to_stop(progress, callbacks)
                # The time of an evaluation does not count as training.
                if not logged:
                    start_time = time.perf_counter()
            run_on_rank_zero(self._writer.join)
        return progress

    def _iterate_batches(self, step: int) -> Generator[WindowBatch]:
        """Iterate over the batches of this worker from a step to the end of the run."""
        accumulated = self._schedule.config.gradient_accumulation_steps
        positions = range(step * accumulated, self._schedule.max_steps * accumulated)
        yield from BatchLoader(self._data.dataset, positions, self._data.num_loader_workers)

    def _train_step(self, step: int, batches: Iterator[WindowBatch]) -> dict[str, float]:
        """Take one AdamW step.

        Args:
            step: Number of steps done before; it determines the learning rate.
            batches: Iterator over the batches of this worker.

        Returns:
            Loss before the update and its parts, of all workers.

        Raises:
            TrainingError: If the loss is not finite.
        """
        config, scaler = self._schedule.config, self._precision.scaler
        self.objective.train()
        shares: dict[str, Tensor] = {}
        for _ in range(config.gradient_accumulation_steps):
            batch = next(batches).to(self._precision.device)
            with self._precision.autocast():
                share = self.objective(batch, self._schedule.windows_per_step)
            scaler.scale(share.loss).backward()
            for name, value in {"loss": share.loss.detach(), **share.parts}.items():
                # Kept on the device: reading a value would wait for the GPU in every batch.
                shares[name] = shares.get(name, 0) + value.float()
        losses = add_losses_of_workers(shares)
        # Stop before the update: a NaN would otherwise reach every weight and the next checkpoint.
        if not math.isfinite(losses["loss"]):
            raise TrainingError(
                f"the run diverged: the loss is not finite at step {step + 1}; lower"
                f" `training.learning_rate` ({self._schedule.peak_learning_rate:g}) or raise"
                " `training.warmup_steps`"
            )
        add_gradients_of_workers(self._parameters)
        # Before clipping, whose limit is in units of the real gradient.
        scaler.unscale_(self._optimizer)
        if config.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self._parameters, config.max_grad_norm)
        # Set the learning rate as a function of the step instead of by a scheduler with a state.
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.compute_learning_rate(step)
        scaler.step(self._optimizer)
        scaler.update()
        self._optimizer.zero_grad()
        return losses

    def _record_losses(
        self,
        progress: TrainingProgress,
        logged: list[dict[str, float]],
        recorder: MetricsRecorder | None,
        start_time: float,
    ) -> None:
        """Record the mean losses of the steps since the last record, and the speed.

        Args:
            progress: State after the last of these steps.
            logged: Losses of each step.
            recorder: Recorder of metrics, on rank 0 only.
            start_time: Time of the last record.
        """
        if recorder is None:
            return
        # `fsum` rounds once, so the mean does not depend on the order of the additions.
        losses = {
            name: math.fsum(entry[name] for entry in logged) / len(logged) for name in logged[0]
        }
        epoch = progress.step / self._schedule.steps_per_epoch
        rate = self._schedule.compute_learning_rate(progress.step - 1)
        seconds = time.perf_counter() - start_time
        timings = {
            "samples_per_s": len(logged) * self._schedule.windows_per_step / seconds,
            "step_s": seconds / len(logged),
        }
        metrics = {**losses, "learning_rate": rate, "epoch": epoch}
        recorder.record(progress.step, progress.samples, metrics, timings)

    def _evaluate(
        self,
        progress: TrainingProgress,
        evaluator: PretrainingEvaluator,
        recorder: MetricsRecorder | None,
        callbacks: RunCallbacks,
    ) -> TrainingProgress:
        """Evaluate, record, report and write a checkpoint; return the progress with the scores."""
        start_time = time.perf_counter()
        scores, clip_sums = evaluator.evaluate(self.objective)
        objective = self.objective
        progress = update_progress(
            progress,
            progress.step,
            progress.samples,
            scores,
            self._schedule.as_run_config(objective.metric),
            objective.lower_is_better,
        )
        # As in `TranslatorTrainer.evaluate`: a resumed run repeats one report at the most.
        run_on_rank_zero(self._writer.join)
        if recorder is not None:
            timings = {"evaluation_s": time.perf_counter() - start_time}
            recorder.record(progress.step, progress.samples, scores, timings)
        goes_on = callbacks.report({"step": progress.step, "samples": progress.samples, **scores})
        if not all_gather(goes_on)[0] and progress.stop is None:
            progress = replace(progress, stop="reported")
        run_on_rank_zero(lambda: self._save_checkpoint(progress, clip_sums))
        return progress

    def _ask_to_stop(self, progress: TrainingProgress, callbacks: RunCallbacks) -> TrainingProgress:
        """Return the progress, with a stop request if `should_stop` makes one; a collective."""
        # With several workers the question costs a broadcast, so not every step asks.
        is_skipped = get_rank_and_world_size()[1] > 1 and progress.step % _STOP_CHECK_INTERVAL
        if progress.stop is not None or is_skipped:
            return progress

        def ask() -> bool:
            """Ask on rank 0, after an error of the writer was raised."""
            self._writer.raise_error()
            return callbacks.should_stop()

        return replace(progress, stop="reported") if run_on_rank_zero(ask) else progress

    def _save_checkpoint(
        self, progress: TrainingProgress, clip_sums: Mapping[str, ClipSums]
    ) -> None:
        """Start to write a checkpoint of the current step, if the policy needs one.

        Args:
            progress: State of the run.
            clip_sums: Scores of the validation clips, which belong to the weights.
        """
        interval = self._checkpoints.every * self._schedule.eval_steps
        is_due = progress.step % interval == 0 or progress.stop is not None
        is_best = progress.best_step == progress.step
        if not should_write_checkpoint(self._checkpoints.keep, is_best, is_due):
            return
        state = {
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._precision.scaler.state_dict(),
        }
        content = CheckpointContent(
            weights={WEIGHTS_FILENAME: self.objective.state_dict()},
            states={_OPTIMIZER_FILE: state},
            texts={CLIP_SUMS_FILENAME: format_json(clip_sums)},
        )
        self._writer.write(content, progress.step, progress)
