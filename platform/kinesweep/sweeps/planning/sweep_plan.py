"""The plan of a sweep: its estimated cost on a cluster and on other numbers of devices."""

from collections.abc import Sequence
from dataclasses import dataclass

from kinesweep.core.html_table import format_html_table
from kinesweep.core.units import format_bytes


@dataclass(frozen=True)
class CostRow:
    """The estimated cost of the sweep on a number of devices.

    Attributes:
        devices: Number of GPUs, or of CPUs if runs use no GPU.
        slots: Number of runs at a time.
        hours: Wall-clock hours, median over the simulations.
        low: 10th percentile of the hours over the simulations.
        high: 90th percentile of the hours over the simulations.
        device_hours: Hours of all runs multiplied by the devices that they occupy, as
            `budget.device_hours` counts them (GPUs; without GPUs workers), mean over the
            simulations.
        finished: Mean number of trials that train to their end.
        pruned: Mean number of trials that are stopped early.
        disk_bytes: Upper bound of the disk space in bytes, features included.
    """

    devices: float
    slots: int
    hours: float
    low: float
    high: float
    device_hours: float
    finished: float
    pruned: float
    disk_bytes: int


@dataclass(frozen=True)
class SweepPlan:
    """The estimated cost of a sweep; the fields are the keys of `kinesweep plan --json`.

    Attributes:
        here: Estimate for the given cluster.
        rows: Estimates for 1 to 512 devices, without numbers too small for one run.
        min_detectable_difference: Smallest difference that the finals detect with 80 % power.
    """

    here: CostRow
    rows: Sequence[CostRow]
    min_detectable_difference: float

    def _repr_html_(self) -> str:
        """Return the estimates as HTML, which notebooks show."""
        header = ("devices", "parallel runs", "hours", "10–90 %", "device hours", "disk")
        rows = [
            (
                f"{row.devices:g}",
                row.slots,
                f"{row.hours:.3g}",
                f"{row.low:.3g}–{row.high:.3g}",
                f"{row.device_hours:.3g}",
                format_bytes(row.disk_bytes),
            )
            for row in (self.here, *self.rows)
        ]
        difference = f"Smallest detectable difference: {self.min_detectable_difference:.2f}"
        return f"{format_html_table(header, rows)}<p>{difference}</p>"
