"""Budget rules: whether another run may start and whether running trials must stop.

The search only selects configurations for the finals, so the cost of the finals is reserved first.
Nothing is reserved until a first trial or evaluation shows how long a run takes.
"""

from dataclasses import dataclass

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.units import format_bytes, parse_bytes
from kinesweep.sweeps.space.space import BudgetConfig

_FINALS_SLOWDOWN = 1.2
"""Ratio of the duration of a final run to that of a search run; measured 1.1 to 1.2.

Final runs decode the whole validation split with all beams.
"""


@dataclass(frozen=True)
class ResourceUsage:
    """Resources that a sweep has used so far.

    Attributes:
        hours: Wall-clock hours of work.
        run_hours: Hours of all runs together, in the search including runs in progress.
        disk_bytes: Size of the run folders in bytes.
        num_running: Number of runs in progress.
    """

    hours: float
    run_hours: float
    disk_bytes: int
    num_running: int


@dataclass(frozen=True)
class Budget:
    """The limits of a sweep and the rules that enforce them.

    Attributes:
        config: Limits of the search space.
        resources: Resources of one run.
        num_slots: Number of runs that fit in the cluster at a time.
        num_final_runs: Number of final runs for which part of the budget is reserved.
    """

    config: BudgetConfig
    resources: ResourcesConfig
    num_slots: int
    num_final_runs: int

    @property
    def devices_per_run(self) -> float:
        """Number of devices that one run occupies; without GPUs each worker is one device."""
        return self.resources.workers * (self.resources.gpus or 1.0)

    def estimate_finals_hours(self, run_hours: float) -> float:
        """Estimate the wall-clock hours of the reserved final runs.

        Args:
            run_hours: Hours of one search run.
        """
        # Ceiling division: a last, incomplete round of runs takes as long as a full one.
        return -(-self.num_final_runs // self.num_slots) * run_hours * _FINALS_SLOWDOWN

    def find_stop_reason(
        self, usage: ResourceUsage, run_hours: float | None, model_bytes: int
    ) -> str | None:
        """Return the reason why no further trial may start, or None if another one may.

        Args:
            usage: Resources used so far.
            run_hours: Hours of one complete run; None if not known yet.
            model_bytes: Bytes that one run leaves on disk.
        """
        max_hours, max_device_hours = self.config.hours, self.config.device_hours
        hours_per_run = run_hours or 0.0
        if (
            max_hours is not None
            and usage.hours + hours_per_run + self.estimate_finals_hours(hours_per_run) > max_hours
        ):
            return f"{usage.hours:.2g} of {max_hours:g} hours are used; the finals need the rest"
        # A run in progress counts as a complete run here although its elapsed time is part of
        # `usage`. The estimate is therefore on the high side, in favor of the finals.
        committed_run_hours = (
            usage.num_running + 1 + self.num_final_runs * _FINALS_SLOWDOWN
        ) * hours_per_run
        if (
            max_device_hours is not None
            and (usage.run_hours + committed_run_hours) * self.devices_per_run > max_device_hours
        ):
            used_device_hours = usage.run_hours * self.devices_per_run
            return (
                f"{used_device_hours:.2g} of {max_device_hours:g} device hours are used; the finals"
                " need the rest"
            )
        if self.config.disk is not None:
            free_bytes = parse_bytes(self.config.disk) - usage.disk_bytes
            if (usage.num_running + 1 + self.num_final_runs) * model_bytes > free_bytes:
                used_disk = format_bytes(usage.disk_bytes)
                return (
                    f"{used_disk} of {self.config.disk} on disk are used; the finals need the rest"
                )
        return None

    def should_stop_trials(self, usage: ResourceUsage, run_hours: float | None) -> bool:
        """Return whether all running trials must stop now to leave enough time for the finals.

        Args:
            usage: Resources used so far.
            run_hours: Hours of one complete run; None if not known yet.
        """
        hours_per_run = run_hours or 0.0
        # Device hours and disk are not checked here: a trial starts only if it fits together with
        # all runs in progress, each of them counted as a complete run.
        max_hours = self.config.hours
        return (
            max_hours is not None
            and usage.hours + self.estimate_finals_hours(hours_per_run) > max_hours
        )

    def is_exhausted(self, usage: ResourceUsage) -> bool:
        """Return whether the budget of hours or of device hours is used up; disk does not count."""
        max_hours, max_device_hours = self.config.hours, self.config.device_hours
        if max_hours is not None and usage.hours >= max_hours:
            return True
        used_device_hours = usage.run_hours * self.devices_per_run
        return max_device_hours is not None and used_device_hours >= max_device_hours
