"""Budget rules: whether another run may start and whether running trials must stop.

The search only selects configurations for the finals, so the cost of the finals is reserved first.
Nothing is reserved until the duration of a run is known from a first trial or evaluation.
"""

from dataclasses import dataclass

from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.core.units import format_bytes, parse_bytes
from kinesweep.sweeps.space.space import BudgetConfig

_FINALS_SLOWER = 1.2
"""Duration of a final run relative to a search run; measured 1.1 to 1.2.

Final runs decode the whole validation split with all beams.
"""


@dataclass(frozen=True)
class Spent:
    """Resources that a sweep has used so far.

    Attributes:
        hours: Wall-clock hours of work.
        run_hours: Hours of all runs together, in the search including runs in progress.
        disk_bytes: Size of the run folders in bytes.
        in_flight: Number of runs in progress.
    """

    hours: float
    run_hours: float
    disk_bytes: int
    in_flight: int


@dataclass(frozen=True)
class Budget:
    """The limits of a sweep and the rules that enforce them.

    Attributes:
        config: Limits of the search space.
        resources: Resources of one run.
        slots: Number of runs that fit in the cluster at a time.
        final_runs: Number of runs in the finals.
    """

    config: BudgetConfig
    resources: ResourcesConfig
    slots: int
    final_runs: int

    @property
    def devices(self) -> float:
        """Number of devices that one run occupies; without GPUs each worker is one device."""
        return self.resources.workers * (self.resources.gpus or 1.0)

    def finals_hours(self, run_hours: float) -> float:
        """Return the expected wall-clock hours of the finals.

        Args:
            run_hours: Hours of one search run.
        """
        # Ceiling division: a last, incomplete round of runs takes as long as a full one.
        return -(-self.final_runs // self.slots) * run_hours * _FINALS_SLOWER

    def stop_reason(self, spent: Spent, run_hours: float | None, model_bytes: int) -> str | None:
        """Return the reason why no further trial may start, or None.

        Args:
            spent: Resources used so far.
            run_hours: Hours of one complete run; None if not known yet.
            model_bytes: Bytes that one run leaves on disk.
        """
        hours, devices, disk = self.config.hours, self.config.device_hours, self.config.disk
        one = run_hours or 0.0
        if hours is not None and spent.hours + one + self.finals_hours(one) > hours:
            return f"{spent.hours:.2g} of {hours:g} hours are used; the finals need the rest"
        # A run in progress counts as a whole run here although its elapsed time is part of
        # `spent`. The estimate is therefore on the high side, in favour of the finals.
        running = (spent.in_flight + 1 + self.final_runs * _FINALS_SLOWER) * one
        if devices is not None and (spent.run_hours + running) * self.devices > devices:
            used = spent.run_hours * self.devices
            return f"{used:.2g} of {devices:g} device hours are used; the finals need the rest"
        if disk is not None:
            left = parse_bytes(disk) - spent.disk_bytes
            if (spent.in_flight + 1 + self.final_runs) * model_bytes > left:
                used_disk = format_bytes(spent.disk_bytes)
                return f"{used_disk} of {disk} on disk are used; the finals need the rest"
        return None

    def must_end(self, spent: Spent, run_hours: float | None) -> bool:
        """Return whether running trials must stop now to leave enough time for the finals."""
        one = run_hours or 0.0
        # Device hours and disk are not checked here: a trial starts only if it fits together with
        # all runs in progress, each of them counted as a complete run.
        hours = self.config.hours
        return hours is not None and spent.hours + self.finals_hours(one) > hours

    def is_exhausted(self, spent: Spent) -> bool:
        """Return whether the budget of hours or device hours is used up."""
        hours, devices = self.config.hours, self.config.device_hours
        if hours is not None and spent.hours >= hours:
            return True
        return devices is not None and spent.run_hours * self.devices >= devices
