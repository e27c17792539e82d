"""A run in a form that can be sent between processes: plain values and a picklable log factory.

Drivers, trials and worker slots pass a `Task` on; only a worker unpacks it. This module therefore
imports neither torch nor transformers, which would cost each of those processes 5 s of CPU time at
startup.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger, RunLogger

if TYPE_CHECKING:
    from kinesweep.training.run_records.result import RunSpec


@dataclass(frozen=True)
class Task:
    """One run to be trained by the workers of a group.

    Attributes:
        plain: Run specification as plain values. The recipe is JSON, because a pickled pydantic
            model depends on its module path.
        open_log: Function that opens the run's log; called on rank 0.
        sweep: Name of the sweep that the run belongs to, shown on the dashboards; empty without
            one.
    """

    plain: dict[str, Any]
    open_log: Callable[[], RunLogger] = NullRunLogger
    sweep: str = ""

    @classmethod
    def of(
        cls, spec: "RunSpec", open_log: Callable[[], RunLogger] = NullRunLogger, sweep: str = ""
    ) -> "Task":
        """Pack a run specification."""
        plain = {**vars(spec), "recipe": spec.recipe.model_dump_json()}
        plain |= {name: str(plain[name]) for name in ("store", "folder")}
        return cls(plain, open_log, sweep)

    def spec(self) -> "RunSpec":
        """Unpack the run specification."""
        from kinesweep.training.run_records.result import RunSpec

        recipe = Recipe.model_validate(json.loads(self.plain["recipe"]))
        paths = {name: Path(self.plain[name]) for name in ("store", "folder")}
        return RunSpec(**{**self.plain, **paths, "recipe": recipe})

    def log(self) -> RunLogger:
        """Open the run's log and its gauges on rank 0; other ranks record nothing."""
        from kinesweep.core.collectives import is_rank_zero
        from kinesweep.training.run_records.prometheus import PrometheusRunLogger

        if not is_rank_zero():
            return NullRunLogger()
        return PrometheusRunLogger(self.open_log(), self.spec().folder, self.sweep)
