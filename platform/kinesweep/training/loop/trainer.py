"""A `Seq2SeqTrainer` with the platform's data stream, evaluation and checkpoints.

Loop, optimizer, scheduler, precision, accumulation and data parallelism are Hugging Face's.
Replaced are the parts that are not reproducible to the bit: the data loader (accelerate repeats and
re-splits batches), the evaluation (repeats clips on several ranks), the checkpoints (not atomic)
and the record of training. LOG.md has measurements of the overhead compared with a plain loop.
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

from kinesweep.checkpoints.checkpoints import begin, is_kept, prune, publish
from kinesweep.checkpoints.progress import Progress, advance
from kinesweep.config.recipe import Recipe
from kinesweep.core.collectives import (
    barrier,
    gather,
    is_rank_zero,
    rank_and_world,
    run_on_rank_zero,
)
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.models.checkpoint_io import load_weights
from kinesweep.models.translator import Translator
from kinesweep.training.reproducibility.determinism import undisturbed
from kinesweep.training.run_records.metrics import Recorder
from kinesweep.training.run_records.throughput import Mark, pace

Report = Callable[[dict[str, float]], bool]
# Steps between two stop checks in distributed training, where the ranks must agree on the answer.
_ASK_EVERY = 8


@dataclass(frozen=True)
class RunCallbacks:
    """The callbacks through which a run can be stopped from outside.

    Attributes:
        report: Called with each evaluation, on every rank; rank 0's answer decides whether to
            continue.
        should_stop: Called between steps; rank 0's answer decides.
    """

    report: Report
    should_stop: Callable[[], bool]


class StopCallback(TrainerCallback):
    """A Trainer callback that checks between steps whether to stop the run at the current step."""

    def __init__(self, stop: Callable[[int], bool]) -> None:
        self._stop = stop

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Stop training without another evaluation or checkpoint if requested."""
        if self._stop(state.global_step):
            control.should_training_stop = True
            control.should_evaluate = control.should_save = False
        return control


class StepDataLoader:
    """A data loader that yields the remaining batches of the whole run as a single epoch.

    The epoch has exactly the length of the run: epochs of unequal length break the Trainer's count
    of steps (a run of 120 steps silently ended at 119).

    Args:
        stream: Training data with random access by position.
        num_batches: Number of batches of the whole run on this rank.
        position: Function that returns the current position; called when iteration starts.

    Attributes:
        num_clips: Number of clips read so far.
        num_frames: Number of frames read so far, without padding.
        num_padded_frames: Number of frames read so far, with padding.
    """

    def __init__(self, stream: TrainDataset, num_batches: int, position: Callable[[], int]) -> None:
        self._stream = stream
        self._num_batches = num_batches
        self._position = position
        self.num_clips = self.num_frames = self.num_padded_frames = 0

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Opening a loader draws from the CPU generator, which would change the dropout of a resumed
        # run.
        with undisturbed():
            batches = iter(self._stream.loader(self._position(), self._num_batches))
            batch = next(batches, None)
        while batch is not None:
            self.num_clips += batch.num_clips
            self.num_frames += batch.num_frames
            self.num_padded_frames += batch.num_padded_frames
            yield batch.inputs()
            batch = next(batches, None)


class StreamTrainer(Seq2SeqTrainer):
    """A Trainer for a translator on a training stream.

    Args:
        model: Translator.
        args: Arguments of Hugging Face's Trainer.
        recipe: Recipe of the run.
        stream: Training data of this rank.
        measure: Function that evaluates a model and returns the same scores on all ranks.
        ears: Callbacks that may stop the run.
        recorder: Writer of measurements; None on ranks other than 0.
        progress: State from which to continue.
    """

    def __init__(
        self,
        model: Translator,
        args: Seq2SeqTrainingArguments,
        recipe: Recipe,
        stream: TrainDataset,
        measure: Callable[[Translator], dict[str, float]],
        ears: RunCallbacks,
        recorder: Recorder | None,
        progress: Progress,
    ) -> None:
        # Hugging Face requires an evaluation set for `eval_strategy`, but `evaluate` below ignores
        # it.
        super().__init__(model=model, args=args, eval_dataset=[])
        self.remove_callback(PrinterCallback)
        self.add_callback(StopCallback(self._told_to_stop))
        self.recipe = recipe
        self.progress = progress
        self.root = Path(args.output_dir) / "checkpoints"
        self._measure = measure
        self._ears = ears
        self._recorder = recorder
        num_batches = args.max_steps * args.gradient_accumulation_steps
        self._batches = StepDataLoader(stream, num_batches, self._position)
        # Clips of earlier calls; `StepDataLoader` counts only those of this process.
        self._samples_before = progress.samples
        self._mark = self._now(progress.step, progress.samples)

    def full_model(self) -> Translator:
        """Return the model with all its weights; a collective call."""
        return self.model

    def get_train_dataloader(self) -> StepDataLoader:
        """Return the training batches, bypassing accelerate's data loader."""
        return self._batches

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluate, record the scores, call `report` and decide whether training ends here."""
        if self.progress.scores and self.progress.step == self.state.global_step:
            # The Trainer evaluates once more at the end of its epoch.
            return {}
        if self.progress.stop == "reported":
            return {}
        started = time.perf_counter()
        # Use the precision of training; only the final decoding always uses float32.
        with self.accelerator.autocast():
            scores = self._measure(self.full_model())
        step, samples = self.state.global_step, self._samples()
        self.progress = advance(self.progress, step, samples, scores, self.recipe.training)
        if self.progress.stop != "diverged":
            seconds = time.perf_counter() - started
            self._record(scores, {"evaluation_s": seconds})
            go_on = self._ears.report({"step": step, "samples": samples, **scores})
            # Every rank calls `report`, as Ray Train requires, but all must act on the same answer.
            if not run_on_rank_zero(lambda: go_on) and self.progress.stop is None:
                self.progress = replace(self.progress, stop="reported")
        self.control.should_training_stop |= self.progress.stop is not None
        # Restart the clock: evaluation time does not count as training time.
        self._mark = self._now(step, samples)
        return {}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record loss, gradient norm and learning rate; Hugging Face's final summary is skipped."""
        if "loss" not in logs:
            return
        before, self._mark = self._mark, self._now(self.state.global_step, self._samples())
        self._record(logs, pace(before, self._mark))

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Log at every evaluation, then proceed as the Trainer does."""
        # The loss is a mean since the last record. With a record at every checkpoint, it never
        # spans a resumption.
        self.control.should_log |= self.control.should_evaluate
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write and publish a checkpoint, then remove those that the policy does not keep."""
        step, keep = self.state.global_step, self.recipe.checkpoints.keep
        if not is_kept(keep, self.progress.best_step == step):
            return
        saving = run_on_rank_zero(lambda: begin(self.root, step))
        whole = self.full_model()
        if self.args.should_save:
            whole.save_pretrained(saving)
            self.state.save_to_json(str(saving / "trainer_state.json"))
        self._save_optimizer_and_scheduler(str(saving))
        self._save_scaler(str(saving))
        self._save_rng_state(str(saving))
        # All ranks must have written their RNG states before the folder is hashed and published.
        barrier()
        if is_rank_zero():
            if self._recorder is not None:
                # On resuming, the measurements up to this checkpoint are kept, so they must be on
                # disk first.
                self._recorder.sync()
            publish(saving, step, self.progress)
            count = self.recipe.training.average_checkpoints
            prune(self.root, keep, step, self.progress.best_step, count)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights strictly; tied weights are stored once."""
        load_weights(self.model, Path(resume_from_checkpoint))

    def _told_to_stop(self, step: int) -> bool:
        """Return whether rank 0 was asked to stop.

        This is a collective call, so that all ranks stop at the same step.
        """
        if rank_and_world()[1] > 1 and step % _ASK_EVERY:
            return False
        if self.progress.stop is None and run_on_rank_zero(self._ears.should_stop):
            self.progress = replace(self.progress, stop="reported")
        return self.progress.stop == "reported"

    def _position(self) -> int:
        """Return the number of batches that this rank has seen."""
        return int(self.state.global_step * self.args.gradient_accumulation_steps)

    def _now(self, step: int, samples: int) -> Mark:
        """Return the current state of this rank for throughput measurements."""
        read = self._batches
        return Mark(time.perf_counter(), step, samples, read.num_frames, read.num_padded_frames)

    def _samples(self) -> int:
        """Return the number of clips seen by all ranks, counting repetitions; a collective call."""
        return self._samples_before + sum(gather(self._batches.num_clips))

    def _record(self, values: dict[str, float], clock: dict[str, float]) -> None:
        """Record measurements on rank 0."""
        # Outside the condition: all ranks must take part in the collective call.
        samples = self._samples()
        if self._recorder is not None:
            self._recorder.record(self.state.global_step, samples, values, clock)
