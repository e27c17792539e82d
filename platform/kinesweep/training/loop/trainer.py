"""A `Seq2SeqTrainer` with the platform's data stream, evaluation and checkpoints.

Loop, optimizer, scheduler, precision, accumulation and data parallelism are Hugging Face's. This
module replaces the parts that are not bit-reproducible: the data loader (accelerate repeats and
re-splits batches), the evaluation (repeats clips on several ranks), the checkpoints (not atomic)
and the logging of metrics. LOG.md has measurements of the overhead compared with a plain loop.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import (
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)

from kinesweep.checkpoints.checkpoints import (
    create_checkpoint_folder,
    prune_checkpoints,
    publish_checkpoint,
    should_write_checkpoint,
)
from kinesweep.checkpoints.progress import TrainingProgress, update_progress
from kinesweep.config.recipe import Recipe
from kinesweep.core.collectives import (
    all_gather,
    barrier,
    get_rank_and_world_size,
    is_rank_zero,
    run_on_rank_zero,
)
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.models.checkpoint_io import load_checkpoint_weights
from kinesweep.models.translator import Translator
from kinesweep.training.reproducibility.determinism import preserve_rng_state
from kinesweep.training.run_records.metrics import MetricsRecorder
from kinesweep.training.run_records.throughput import ThroughputSnapshot, compute_throughput

ReportCallback = Callable[[dict[str, float]], bool]
# Steps between two stop checks in distributed training, where the ranks must agree on the answer.
_STOP_CHECK_INTERVAL = 8


@dataclass(frozen=True)
class RunCallbacks:
    """The callbacks through which the caller receives evaluations and can stop a run.

    Attributes:
        report: Called with each evaluation, on every rank; rank 0's answer decides whether to
            continue.
        should_stop: Called between steps; rank 0's answer decides.
    """

    report: ReportCallback
    should_stop: Callable[[], bool]


class StopCallback(TrainerCallback):
    """A Trainer callback that checks after each step whether the run should stop.

    Args:
        should_stop: Function from the current step to whether the run stops there.
    """

    def __init__(self, should_stop: Callable[[int], bool]) -> None:
        self._should_stop = should_stop

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Stop training without another evaluation or checkpoint if requested."""
        if self._should_stop(state.global_step):
            control.should_training_stop = True
            control.should_evaluate = control.should_save = False
        return control


class StepDataLoader:
    """A data loader that yields the remaining batches of the whole run as a single epoch.

    The epoch has exactly the length of the run: epochs of unequal length break the Trainer's count
    of steps (a run of 120 steps silently ended at 119).

    Args:
        dataset: Training data with random access by batch position.
        num_batches: Number of batches of the whole run on this rank.
        get_position: Function that returns the number of batches read before; called when iteration
            starts.

    Attributes:
        num_clips: Number of clips read so far.
        num_frames: Number of frames read so far, without padding.
        num_padded_frames: Number of frames read so far, with padding.
    """

    def __init__(
        self, dataset: TrainDataset, num_batches: int, get_position: Callable[[], int]
    ) -> None:
        self._dataset = dataset
        self._num_batches = num_batches
        self._get_position = get_position
        self.num_clips = self.num_frames = self.num_padded_frames = 0

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Opening a loader draws from the CPU generator, which would change the dropout of a resumed
        # run.
        with preserve_rng_state():
            batches = iter(self._dataset.build_loader(self._get_position(), self._num_batches))
            batch = next(batches, None)
        while batch is not None:
            self.num_clips += batch.num_clips
            self.num_frames += batch.num_frames
            self.num_padded_frames += batch.num_padded_frames
            yield batch.get_forward_kwargs()
            batch = next(batches, None)


class TranslatorTrainer(Seq2SeqTrainer):
    """A Hugging Face Trainer for a translator.

    Args:
        model: Translator.
        args: Arguments of Hugging Face's Trainer.
        recipe: Recipe of the run.
        train_dataset: Training data of this rank.
        compute_scores: Function that evaluates a model and returns the same scores on all ranks.
        run_callbacks: Callbacks that receive evaluations and may stop the run.
        recorder: Recorder of metrics; None on ranks other than 0.
        progress: State from which to continue.
    """

    def __init__(
        self,
        model: Translator,
        args: Seq2SeqTrainingArguments,
        recipe: Recipe,
        train_dataset: TrainDataset,
        compute_scores: Callable[[Translator], dict[str, float]],
        run_callbacks: RunCallbacks,
        recorder: MetricsRecorder | None,
        progress: TrainingProgress,
    ) -> None:
        # Hugging Face requires an evaluation set for `eval_strategy`, but `evaluate` below ignores
        # it.
        super().__init__(model=model, args=args, eval_dataset=[])
        self.remove_callback(PrinterCallback)
        self.add_callback(StopCallback(self._is_stop_requested))
        self.recipe = recipe
        self.progress = progress
        self.checkpoints_dir = Path(args.output_dir) / "checkpoints"
        self._compute_scores = compute_scores
        self._run_callbacks = run_callbacks
        self._recorder = recorder
        num_batches = args.max_steps * args.gradient_accumulation_steps
        self._batches = StepDataLoader(train_dataset, num_batches, self._count_batches_read)
        # Clips of earlier calls; `StepDataLoader` counts only those of this process.
        self._samples_before = progress.samples
        self._throughput_snapshot = self._take_throughput_snapshot(progress.step, progress.samples)

    def get_full_model(self) -> Translator:
        """Return the model with all its weights, gathered from all ranks; a collective call."""
        return self.model

    def get_train_dataloader(self) -> StepDataLoader:
        """Return the training batches, bypassing accelerate's data loader."""
        return self._batches

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluate the model, record the scores, call `report` and decide whether training ends.

        Returns:
            An empty dict, because the scores are stored in `progress`.
        """
        if self.progress.scores and self.progress.step == self.state.global_step:
            # The Trainer evaluates once more at the end of its epoch.
            return {}
        if self.progress.stop == "reported":
            return {}
        start_time = time.perf_counter()
        # Use the precision of training; only the final decoding always uses float32.
        with self.accelerator.autocast():
            scores = self._compute_scores(self.get_full_model())
        step, samples = self.state.global_step, self._count_samples()
        self.progress = update_progress(self.progress, step, samples, scores, self.recipe.training)
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
        """Record loss, gradient norm and learning rate; Hugging Face's final summary is skipped."""
        if "loss" not in logs:
            return
        previous, self._throughput_snapshot = (
            self._throughput_snapshot,
            self._take_throughput_snapshot(self.state.global_step, self._count_samples()),
        )
        self._record_metrics(logs, compute_throughput(previous, self._throughput_snapshot))

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Log at every evaluation, then log, save and evaluate as Hugging Face's Trainer does."""
        # The loss is a mean since the last record. With a record at every checkpoint, it never
        # spans a resumption.
        self.control.should_log |= self.control.should_evaluate
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint atomically, then remove those that `checkpoints.keep` excludes."""
        step, keep = self.state.global_step, self.recipe.checkpoints.keep
        if not should_write_checkpoint(keep, self.progress.best_step == step):
            return
        staging_dir = run_on_rank_zero(lambda: create_checkpoint_folder(self.checkpoints_dir, step))
        full_model = self.get_full_model()
        if self.args.should_save:
            full_model.save_pretrained(staging_dir)
            self.state.save_to_json(str(staging_dir / "trainer_state.json"))
        self._save_optimizer_and_scheduler(str(staging_dir))
        self._save_scaler(str(staging_dir))
        self._save_rng_state(str(staging_dir))
        # All ranks must have written their RNG states before the folder is hashed and published.
        barrier()
        if is_rank_zero():
            if self._recorder is not None:
                # On resuming, the measurements up to this checkpoint are kept, so they must be on
                # disk first.
                self._recorder.sync()
            publish_checkpoint(staging_dir, step, self.progress)
            count = self.recipe.training.average_checkpoints
            prune_checkpoints(self.checkpoints_dir, keep, step, self.progress.best_step, count)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights strictly; tied weights are stored once."""
        load_checkpoint_weights(self.model, Path(resume_from_checkpoint))

    def _is_stop_requested(self, step: int) -> bool:
        """Return whether a stop of the run was requested on rank 0.

        This is a collective call, so that all ranks stop at the same step.
        """
        if get_rank_and_world_size()[1] > 1 and step % _STOP_CHECK_INTERVAL:
            return False
        if self.progress.stop is None and run_on_rank_zero(self._run_callbacks.should_stop):
            self.progress = replace(self.progress, stop="reported")
        return self.progress.stop == "reported"

    def _count_batches_read(self) -> int:
        """Return the number of batches that this rank has trained on, from the number of steps."""
        return int(self.state.global_step * self.args.gradient_accumulation_steps)

    def _take_throughput_snapshot(self, step: int, samples: int) -> ThroughputSnapshot:
        """Return a snapshot of the time and the counters of this rank, to measure throughput."""
        batches = self._batches
        return ThroughputSnapshot(
            time.perf_counter(), step, samples, batches.num_frames, batches.num_padded_frames
        )

    def _count_samples(self) -> int:
        """Return the number of clips seen by all ranks, with repetitions; a collective call."""
        return self._samples_before + sum(all_gather(self._batches.num_clips))

    def _record_metrics(self, values: dict[str, float], timings: dict[str, float]) -> None:
        """Record metrics and timings of the current step on rank 0; a collective call."""
        # Outside the condition: all ranks must take part in the collective call.
        samples = self._count_samples()
        if self._recorder is not None:
            self._recorder.record(self.state.global_step, samples, values, timings)
