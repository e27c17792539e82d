"""When to stop: what a sweep has cost, what its end will cost, and what it may cost.

The finals are the purpose of a search, so their cost is set aside first. Until one run has shown
how long a run takes, nothing can be set aside.
"""

from dataclasses import dataclass

from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.core.units import format_bytes, parse_bytes
from kinesweep.sweeps.space import BudgetConfig

_FINALS_SLOWER = 1.2
"""A final run decodes all of validation with all beams; measured 1.1 to 1.2 of a search run."""


@dataclass(frozen=True)
class Spent:
    """What a sweep has cost so far.

    Attributes:
        hours: by the clock.
        run_hours: of all runs that have ended.
        disk_bytes: in its run folders.
        in_flight: runs that go on now.
    """

    hours: float
    run_hours: float
    disk_bytes: int
    in_flight: int


@dataclass(frozen=True)
class Budget:
    """Decides whether another run may start, and whether the search must end.

    Attributes:
        config: the limits.
        resources: of one run.
        slots: runs at a time.
        final_runs: that the finals will hold.
    """

    config: BudgetConfig
    resources: ResourcesConfig
    slots: int
    final_runs: int

    @property
    def devices(self) -> float:
        """Devices that a run occupies."""
        return self.resources.workers * (self.resources.gpus or 1.0)

    def finals_hours(self, run_hours: float) -> float:
        """The finals by the clock."""
        return -(-self.final_runs // self.slots) * run_hours * _FINALS_SLOWER

    def why_no_more(self, spent: Spent, run_hours: float | None, model_bytes: int) -> str | None:
        """Why no further trial may start, or None.

        Args:
            spent: so far.
            run_hours: that one whole run takes; None: not known yet.
            model_bytes: that a run leaves on disk.
        """
        hours, devices, disk = self.config.hours, self.config.device_hours, self.config.disk
        one = run_hours or 0.0
        if hours is not None and spent.hours + one + self.finals_hours(one) > hours:
            return f"of {hours:g} hours {spent.hours:.2g} are over, and the finals need theirs"
        running = (spent.in_flight + 1 + self.final_runs * _FINALS_SLOWER) * one
        if devices is not None and (spent.run_hours + running) * self.devices > devices:
            used = spent.run_hours * self.devices
            return f"of {devices:g} device hours {used:.2g} are used, and the finals need theirs"
        if disk is not None:
            left = parse_bytes(disk) - spent.disk_bytes
            if (spent.in_flight + 1 + self.final_runs) * model_bytes > left:
                used_disk = format_bytes(spent.disk_bytes)
                return f"of {disk} on disk {used_disk} are used, and the finals need theirs"
        return None

    def must_end(self, spent: Spent, run_hours: float | None) -> bool:
        """Whether running trials must end now so that the finals fit."""
        one = run_hours or 0.0
        hours = self.config.hours
        return hours is not None and spent.hours + self.finals_hours(one) > hours

    def over(self, spent: Spent) -> bool:
        """Whether nothing is left at all."""
        hours, devices = self.config.hours, self.config.device_hours
        if hours is not None and spent.hours >= hours:
            return True
        return devices is not None and spent.run_hours * self.devices >= devices
