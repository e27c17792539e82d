"""`Seq2SeqTrainer` over our stream, with our evaluation and our checkpoints; no more than that.

The loop, optimiser, schedule, precision, accumulation and data parallelism are Hugging Face's.
Replaced is what loses bits there: its loader (accelerate would repeat and re-split batches), its
evaluation (repeats clips on several ranks), its checkpoints (not atomic), its record of training.
What it adds to a bare loop is measured in LOG.md.
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

from kinesweep.batches.stream import TrainStream
from kinesweep.core.recipe import Recipe
from kinesweep.models.saving import load_weights
from kinesweep.models.translator import Translator
from kinesweep.training.checkpoints import begin, is_kept, prune, publish
from kinesweep.training.determinism import undisturbed
from kinesweep.training.metrics import Recorder
from kinesweep.training.pace import Mark, pace
from kinesweep.training.progress import Progress, advance
from kinesweep.training.ranks import gather, is_first, on_first, rank_and_world, wait_for_all

Report = Callable[[dict[str, float]], bool]
_ASK_EVERY = 8
"""Steps between two questions whether to stop, where several ranks must agree on the answer."""


@dataclass(frozen=True)
class Ears:
    """Who may end a run from outside.

    Attributes:
        report: told each evaluation, on every rank; rank 0's answer decides whether to go on.
        should_stop: asked between steps; rank 0's answer decides.
    """

    report: Report
    should_stop: Callable[[], bool]


class _Listener(TrainerCallback):
    """Asks between steps whether to stop where the run is."""

    def __init__(self, stop: Callable[[int], bool]) -> None:
        self._stop = stop

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self._stop(state.global_step):
            control.should_training_stop = True
            control.should_evaluate = control.should_save = False
        return control


class StepBatches:
    """The batches of all steps as one epoch, from where the run stands.

    One epoch of exactly the run's length: epochs of uneven length break the Trainer's count of
    steps (a run of 120 ended at 119 in silence).

    Args:
        stream: any position of it can be read.
        num_batches: of the whole run, on this rank.
        position: asked when iteration begins.
    """

    def __init__(self, stream: TrainStream, num_batches: int, position: Callable[[], int]) -> None:
        self._stream = stream
        self._num_batches = num_batches
        self._position = position
        self.num_clips = self.num_frames = self.num_places = 0

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with undisturbed():
            batches = iter(self._stream.loader(self._position(), self._num_batches))
            batch = next(batches, None)
        while batch is not None:
            self.num_clips += batch.num_clips
            self.num_frames += batch.num_frames
            self.num_places += batch.num_places
            yield batch.inputs()
            batch = next(batches, None)


class StreamTrainer(Seq2SeqTrainer):
    """Trains a translator on a stream.

    Args:
        model: the translator.
        args: of Hugging Face.
        recipe: the run's.
        stream: this rank's training data.
        measure: scores of a model as it is, the same on all ranks.
        ears: who may end the run.
        recorder: writes what is measured; None on other ranks.
        progress: where the run stands.
    """

    def __init__(
        self,
        model: Translator,
        args: Seq2SeqTrainingArguments,
        recipe: Recipe,
        stream: TrainStream,
        measure: Callable[[Translator], dict[str, float]],
        ears: Ears,
        recorder: Recorder | None,
        progress: Progress,
    ) -> None:
        # Not evaluated by Hugging Face, but it insists on something when `eval_strategy` is set.
        super().__init__(model=model, args=args, eval_dataset=[])
        self.remove_callback(PrinterCallback)
        self.add_callback(_Listener(self._told_to_stop))
        self.recipe = recipe
        self.progress = progress
        self.root = Path(args.output_dir) / "checkpoints"
        self._measure = measure
        self._ears = ears
        self._recorder = recorder
        num_batches = args.max_steps * args.gradient_accumulation_steps
        self._batches = StepBatches(stream, num_batches, self._position)
        self._samples_before = progress.samples
        self._mark = self._now(progress.step, progress.samples)

    def whole(self) -> Translator:
        """The model with all its weights; a collective."""
        return self.model

    def get_train_dataloader(self) -> StepBatches:
        """Our stream; accelerate never sees it."""
        return self._batches

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measures, records, asks `report`, and notes whether this was the last step."""
        if self.progress.scores and self.progress.step == self.state.global_step:
            return {}  # the Trainer asks once more where its epoch ends
        if self.progress.stop == "reported":
            return {}
        started = time.perf_counter()
        with self.accelerator.autocast():
            scores = self._measure(self.whole())
        step, samples = self.state.global_step, self._samples()
        self.progress = advance(self.progress, step, samples, scores, self.recipe.training)
        if self.progress.stop != "diverged":
            seconds = time.perf_counter() - started
            self._record(scores, {"evaluation_s": seconds})
            go_on = self._ears.report({"step": step, "samples": samples, **scores})
            if not on_first(lambda: go_on) and self.progress.stop is None:
                self.progress = replace(self.progress, stop="reported")
        self.control.should_training_stop |= self.progress.stop is not None
        self._mark = self._now(step, samples)
        return {}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Records loss, gradient norm and learning rate; Hugging Face's summary is left out."""
        if "loss" not in logs:
            return
        before, self._mark = self._mark, self._now(self.state.global_step, self._samples())
        self._record(logs, pace(before, self._mark))

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        # A record at every checkpoint: the mean loss since the last one then never spans a resume.
        self.control.should_log |= self.control.should_evaluate
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a checkpoint that counts once it is whole, then removes those not kept."""
        step, keep = self.state.global_step, self.recipe.checkpoints.keep
        if not is_kept(keep, self.progress.best_step == step):
            return
        saving = on_first(lambda: begin(self.root, step))
        whole = self.whole()
        if self.args.should_save:
            whole.save_pretrained(saving)
            self.state.save_to_json(str(saving / "trainer_state.json"))
        self._save_optimizer_and_scheduler(str(saving))
        self._save_scaler(str(saving))
        self._save_rng_state(str(saving))
        wait_for_all()
        if is_first():
            if self._recorder is not None:
                self._recorder.sync()
            publish(saving, step, self.progress)
            count = self.recipe.training.average_checkpoints
            prune(self.root, keep, step, self.progress.best_step, count)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Loads weights strictly; tied ones are stored once."""
        load_weights(self.model, Path(resume_from_checkpoint))

    def _told_to_stop(self, step: int) -> bool:
        """Whether rank 0 was told to; a collective, so that all ranks stop at the same step."""
        if rank_and_world()[1] > 1 and step % _ASK_EVERY:
            return False
        if self.progress.stop is None and on_first(self._ears.should_stop):
            self.progress = replace(self.progress, stop="reported")
        return self.progress.stop == "reported"

    def _position(self) -> int:
        """Batches that this rank has seen."""
        return int(self.state.global_step * self.args.gradient_accumulation_steps)

    def _now(self, step: int, samples: int) -> Mark:
        """Where this rank stands."""
        read = self._batches
        return Mark(time.perf_counter(), step, samples, read.num_frames, read.num_places)

    def _samples(self) -> int:
        """Clips seen by all ranks, repeats counted; a collective."""
        return self._samples_before + sum(gather(self._batches.num_clips))

    def _record(self, values: dict[str, float], clock: dict[str, float]) -> None:
        samples = self._samples()
        if self._recorder is not None:
            self._recorder.record(self.state.global_step, samples, values, clock)
