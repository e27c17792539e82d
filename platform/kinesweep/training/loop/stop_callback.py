"""A Trainer callback that stops a run between two steps."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState


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
