"""A run in a form that can be sent between processes: plain values and a picklable logger factory.

Drivers, trials and worker slots pass a `TrainingTask` on; only a worker unpacks it. This module
therefore imports neither torch nor transformers, which would cost each of those processes 5 s of
CPU time at startup.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinesweep.config.any_recipe import get_recipe_class
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.training.run_records.pretraining_spec import PretrainingSpec

if TYPE_CHECKING:
    from kinesweep.training.loop.run_callbacks import RunCallbacks
    from kinesweep.training.run_records.result import RunResult, RunSpec


@dataclass(frozen=True)
class TrainingTask:
    """One run to be trained by the workers of a group, in picklable form.

    Attributes:
        spec_values: Run specification as plain values. The recipe is JSON, because a pickled
            pydantic model depends on its module path.
        open_log: Function that opens the run logger; called on rank 0.
        sweep: Name of the sweep that the run belongs to, shown on the dashboards; empty without
            one.
    """

    spec_values: dict[str, Any]
    open_log: Callable[[], RunLogger] = NullRunLogger
    sweep: str = ""

    @classmethod
    def from_spec(
        cls,
        spec: "RunSpec | PretrainingSpec",
        open_log: Callable[[], RunLogger] = NullRunLogger,
        sweep: str = "",
    ) -> "TrainingTask":
        """Create a task from a run specification.

        Args:
            spec: Specification of the run.
            open_log: Function that opens the run logger; it must be picklable.
            sweep: Name of the sweep that the run belongs to; empty without one.
        """
        spec_values = {**vars(spec), "recipe": spec.recipe.model_dump_json()}
        spec_values |= {name: str(spec_values[name]) for name in ("store", "folder")}
        return cls(spec_values, open_log, sweep)

    def unpack_spec(self) -> "RunSpec | PretrainingSpec":
        """Build the run specification from the plain values of the task."""
        from kinesweep.training.run_records.result import RunSpec

        values = json.loads(self.spec_values["recipe"])
        recipe = get_recipe_class(values).model_validate(values)
        paths = {name: Path(self.spec_values[name]) for name in ("store", "folder")}
        fields: dict[str, Any] = {**self.spec_values, **paths, "recipe": recipe}
        if isinstance(recipe, PretrainingRecipe):
            return PretrainingSpec(**fields)
        return RunSpec(**fields)

    def train(self, log: RunLogger, callbacks: "RunCallbacks") -> "RunResult":
        """Train the run of this task in this process, resume it, or return its result.

        Args:
            log: Run logger of this rank; it is finished on return.
            callbacks: Callbacks that receive evaluations and may stop the run.

        Raises:
            KinesweepError: If the run cannot be trained; see `train_run` and `pretrain_run`.
        """
        spec = self.unpack_spec()
        # Imported in the worker that needs it: each loop costs seconds at startup.
        if isinstance(spec, PretrainingSpec):
            from kinesweep.training.pretraining.run import pretrain_run

            return pretrain_run(spec, log, callbacks.report, callbacks.should_stop)
        from kinesweep.training.loop.run import train_run

        return train_run(spec, log, callbacks.report, callbacks.should_stop)

    def open_run_logger(self) -> RunLogger:
        """Open the run logger of this rank.

        Returns:
            On rank 0, a run logger that also exports Prometheus gauges; on other ranks, one that
            discards everything.
        """
        from kinesweep.core.collectives import is_rank_zero
        from kinesweep.training.run_records.prometheus import PrometheusRunLogger

        if not is_rank_zero():
            return NullRunLogger()
        return PrometheusRunLogger(self.open_log(), self.unpack_spec().folder, self.sweep)
