"""A `Seq2SeqTrainer` with the platform's data stream, evaluation and checkpoints.

Loop, optimizer, scheduler, precision, accumulation and data parallelism are Hugging Face's. This
module replaces the parts that are not bit-reproducible: the data loader (accelerate repeats and
re-splits batches), the evaluation (repeats clips on several ranks), the checkpoints (not atomic)
and the logging of metrics. LOG.md has measurements of the overhead compared with a plain loop.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments
from transformers.training_args import ParallelMode

from kinesweep.checkpoints.background_writer import CheckpointWriter
from kinesweep.checkpoints.checkpoints import should_write_checkpoint
from kinesweep.checkpoints.progress import TrainingProgress, update_progress
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.config.recipe.resources import CheckpointsConfig
from kinesweep.core.collectives import all_gather, get_rank_and_world_size, run_on_rank_zero
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.models.objectives.attachment import load_training_weights
from kinesweep.models.translator import Translator
from kinesweep.training.distributed.layer_drop import drops_layers
from kinesweep.training.loop.batch_split import split_batch
from kinesweep.training.loop.parameter_groups import split_parameter_groups
from kinesweep.training.loop.run_callbacks import RunCallbacks, StopCallback
from kinesweep.training.loop.step_data_loader import StepDataLoader
from kinesweep.training.run_records.checkpoint_state import build_checkpoint_content, collect_states
from kinesweep.training.run_records.metrics import MetricsRecorder
from kinesweep.training.run_records.throughput import ThroughputSnapshot, compute_throughput

# Steps between two stop checks in distributed training, where the ranks must agree on the answer.
_STOP_CHECK_INTERVAL = 8


class TranslatorTrainer(Seq2SeqTrainer):
    """A Hugging Face Trainer for a translator.

    Args:
        model: Translator.
        args: Arguments of Hugging Face's Trainer.
        training: The resolved `training` section, for early stopping and averaged checkpoints.
        checkpoints: The `checkpoints` section, with interval and retention.
        train_dataset: Training data of this rank.
        compute_scores: Function that evaluates a model on validation and returns the same scores
            on all ranks.
        run_callbacks: Callbacks that receive evaluations and may stop the run.
        recorder: Recorder of metrics; None on ranks other than 0.
        progress: State from which to continue.
        lower_is_better: Whether a lower score is better, for the metric that selects the best
            checkpoint.
        num_batch_parts: Number of parts in which each batch is computed.

    Attributes:
        progress: State of the run after the latest evaluation or stop request.
        checkpoints_dir: Folder of all checkpoints of the run.
    """

    def __init__(  # noqa: PLR0913 (Hugging Face's two arguments, and independent parts of a run)
        self,
        model: Translator,
        args: Seq2SeqTrainingArguments,
        training: ResolvedTrainingConfig,
        checkpoints: CheckpointsConfig,
        train_dataset: TrainDataset,
        compute_scores: Callable[[Translator], dict[str, float]],
        *,
        run_callbacks: RunCallbacks,
        recorder: MetricsRecorder | None,
        progress: TrainingProgress,
        lower_is_better: bool,
        num_batch_parts: int = 1,
    ) -> None:
        if args.ddp_find_unused_parameters is None and drops_layers(model):
            # With activation checkpointing, the Trainer would expect gradients of skipped layers.
            args.ddp_find_unused_parameters = True
        # Hugging Face requires an evaluation set for `eval_strategy`, but `evaluate` below ignores
        # it.
        super().__init__(model=model, args=args, eval_dataset=[])
        self.remove_callback(PrinterCallback)
        self.add_callback(StopCallback(self._is_stop_requested))
        self._training = training
        self._checkpoints = checkpoints
        self._lower_is_better = lower_is_better
        self._num_batch_parts = num_batch_parts
        self.progress = progress
        self.checkpoints_dir = Path(args.output_dir) / "checkpoints"
        self._compute_scores = compute_scores
        self._run_callbacks = run_callbacks
        self._recorder = recorder
        # On resuming, the measurements up to a checkpoint are kept, so they must be on disk first.
        before_publish = None if recorder is None else recorder.sync
        self._writer = CheckpointWriter(
            self.checkpoints_dir, checkpoints.keep, training.average_checkpoints, before_publish
        )
        num_batches = args.max_steps * args.gradient_accumulation_steps
        self._batches = StepDataLoader(train_dataset, num_batches, self._count_batches_read)
        # Clips of earlier calls; `StepDataLoader` counts only those of this process.
        self._samples_before = progress.samples
        self._throughput_snapshot = self._take_throughput_snapshot(progress.step, progress.samples)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as Hugging Face's Trainer does, and wait until the last checkpoint is written."""
        # Errors wait for it as well: the caller may resume at once.
        with self._writer:
            output = super().train(*args, **kwargs)
            self._join_checkpoint()
        return output

    def gather_full_model(self) -> Translator:
        """Return the model with all its weights; a collective call.

        Here this is the trained model itself, because each rank holds all weights. A subclass that
        shards the weights gathers them into a copy.
        """
        return self.model

    def create_optimizer(self, model: Any = None) -> Any:
        """Create the optimizer; parts of the model may have learning rates of their own."""
        optimizer = super().create_optimizer(model)
        split_parameter_groups(optimizer, self.model, self._training.learning_rates)
        return self.optimizer

    def get_train_dataloader(self) -> StepDataLoader:
        """Return the data loader of this rank's batches, which accelerate must not replace."""
        return self._batches

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Any:
        """Compute the gradient of a batch, part by part, and return its loss.

        The loss of each part is a sum divided by the labels of the whole optimizer step, so the
        gradients and the losses of the parts add up to those of the batch.
        """
        losses = []
        parts = split_batch(inputs, self._num_batch_parts)
        for index, part in enumerate(parts):
            # Distributed ranks exchange the gradients of a batch once, with its last part.
            is_last = index == len(parts) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        return sum(losses[1:], start=losses[0])

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluate the model, record the scores, call `report` and decide whether training ends.

        Does nothing if the current step has been evaluated or the run was stopped. The scores of a
        diverged model are neither recorded nor reported. Returns an empty dict; scores are in
        `progress`.
        """
        if self.progress.scores and self.progress.step == self.state.global_step:
            # The Trainer evaluates once more at the end of its epoch.
            return {}
        if self.progress.stop == "reported":
            return {}
        start_time = time.perf_counter()
        # Use the precision of training; only the final decoding always uses float32.
        with self.accelerator.autocast():
            scores = self._compute_scores(self.gather_full_model())
        step, samples = self.state.global_step, self._count_samples()
        self.progress = update_progress(
            self.progress, step, samples, scores, self._training, self._lower_is_better
        )
        # A resumed run reports evaluations after its checkpoint again. Waiting here keeps those
        # between two checkpoints the only ones; usually the checkpoint is written long ago.
        self._join_checkpoint()
        if self.progress.stop != "diverged":
            seconds = time.perf_counter() - start_time
            self._record_metrics(scores, {"evaluation_s": seconds})
            should_continue = self._run_callbacks.report(
                {"step": step, "samples": samples, **scores}
            )
            # Every rank calls `report`, as Ray Train requires, but all must act on the same answer.
            if not run_on_rank_zero(lambda: should_continue) and self.progress.stop is None:
                self.progress = replace(self.progress, stop="reported")
        self.control.should_training_stop |= self.progress.stop is not None
        # Restart the clock: evaluation time does not count as training time.
        self._throughput_snapshot = self._take_throughput_snapshot(step, samples)
        return {}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record loss, gradient norm, learning rate and throughput since the previous record.

        Hugging Face's summary at the end of training, which has no `loss`, is not recorded.
        """
        if "loss" not in logs:
            return
        previous, self._throughput_snapshot = (
            self._throughput_snapshot,
            self._take_throughput_snapshot(self.state.global_step, self._count_samples()),
        )
        self._record_metrics(logs, compute_throughput(previous, self._throughput_snapshot))

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Do what Hugging Face's Trainer does after a step, and also log before each evaluation."""
        # The loss is a mean since the last record. With a record at every checkpoint, it never
        # spans a resumption.
        self.control.should_log |= self.control.should_evaluate
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Start to write a checkpoint of this step, if the policy needs one; a collective call.

        Training waits for a copy of the state, and for the checkpoint before if it is in flight.
        """
        progress, interval = self.progress, self._checkpoints.every * self.args.eval_steps
        step = self.state.global_step
        # After a stop, the run continues or ends from this checkpoint.
        is_due = step % interval == 0 or progress.stop is not None
        if not should_write_checkpoint(self._checkpoints.keep, progress.best_step == step, is_due):
            return
        # All collectives come before the writer starts: its thread must never run one.
        full_model, optimizer = self.gather_full_model(), self._collect_optimizer_state()
        is_distributed = self.args.parallel_mode == ParallelMode.DISTRIBUTED
        scaler = self.accelerator.scaler
        states = collect_states(optimizer, self.lr_scheduler, scaler, is_distributed)

        build_content = partial(build_checkpoint_content, full_model, self.state, states)
        run_on_rank_zero(lambda: self._writer.write(build_content(), step, progress))

    def _collect_optimizer_state(self) -> Any:
        """Return the full state dict of the optimizer; a collective call."""
        return self.optimizer.state_dict()

    def _join_checkpoint(self) -> None:
        """Wait until no checkpoint is being written; raise its error on all ranks."""
        run_on_rank_zero(self._writer.join)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights of a checkpoint folder, which must match the model exactly.

        Raises:
            CheckpointError: See `load_training_weights`.
        """
        load_training_weights(self.model, Path(resume_from_checkpoint))

    def _is_stop_requested(self, step: int) -> bool:
        """Return whether the run is to stop here, and store a stop request in `progress`.

        Rank 0 asks `should_stop` and tells the other ranks.

        This is a collective call, so that all ranks stop at the same step. In distributed training
        only every eighth step asks (`_STOP_CHECK_INTERVAL`); the others return False.

        Args:
            step: Number of steps done.
        """
        if get_rank_and_world_size()[1] > 1 and step % _STOP_CHECK_INTERVAL:
            return False
        if self.progress.stop is None and run_on_rank_zero(self._ask_to_stop):
            self.progress = replace(self.progress, stop="reported")
        return self.progress.stop == "reported"

    def _ask_to_stop(self) -> bool:
        """Return whether the caller wants to stop the run; raise the error of a checkpoint."""
        # Here, because rank 0 asks between steps and tells the other ranks, errors included.
        self._writer.raise_error()
        return self._run_callbacks.should_stop()

    def _count_batches_read(self) -> int:
        """Return the number of batches that this rank has read over all calls of the run."""
        return int(self.state.global_step * self.args.gradient_accumulation_steps)

    def _take_throughput_snapshot(self, step: int, samples: int) -> ThroughputSnapshot:
        """Return a snapshot of the time and the counters at this moment, to measure throughput.

        Args:
            step: Number of steps done.
            samples: Number of clips seen by all ranks.
        """
        batches = self._batches
        return ThroughputSnapshot(
            time.perf_counter(), step, samples, batches.num_frames, batches.num_padded_frames
        )

    def _count_samples(self) -> int:
        """Return the number of clips seen by all ranks, counting repetitions; a collective call.

        The clips of earlier calls of a resumed run are included.
        """
        return self._samples_before + sum(all_gather(self._batches.num_clips))

    def _record_metrics(self, metrics: dict[str, float], timings: dict[str, float]) -> None:
        """Record metrics and timings of the current step on rank 0; a collective call.

        Args:
            metrics: Reproducible metrics.
            timings: Durations and throughput, which are not reproducible.
        """
        # Outside the condition: all ranks must take part in the collective call.
        samples = self._count_samples()
        if self._recorder is not None:
            self._recorder.record(self.state.global_step, samples, metrics, timings)
