"""Callbacks between a run and its caller, and the Trainer callback that stops the run for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

ReportCallback = Callable[[dict[str, float]], bool]
"""Function that receives the metrics of an evaluation; True continues training, False stops it."""


@dataclass(frozen=True)
class RunCallbacks:
    """The callbacks through which the caller receives evaluations and can stop a run.

    Attributes:
        report: Called with the metrics of each evaluation, on every rank. Its result on rank 0
            decides: True continues training, False stops the run.
        should_stop: Called between steps, on rank 0 only; True stops the run.
    """

    report: ReportCallback
    should_stop: Callable[[], bool]


class StopCallback(TrainerCallback):
    """A Trainer callback that checks after each step whether the run should stop.

    Args:
        should_stop: Function that gets the number of steps done; True stops the run there.
    """

    def __init__(self, should_stop: Callable[[int], bool]) -> None:
        self._should_stop = should_stop

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Stop training, without another evaluation or checkpoint, if `should_stop` says so."""
        if self._should_stop(state.global_step):
            control.should_training_stop = True
            control.should_evaluate = control.should_save = False
        return control
