"""Durations of a search's runs, which show how much of the budget is used and a run will need.

Ended runs are read from the journal. Runs in progress are known only to this process: after a crash
their time is lost, and a resumed run starts again at 0.
"""

from dataclasses import dataclass, field

from kinesweep.sweeps.journal.journal import Journal


@dataclass
class RunDurations:
    """The durations of the runs of a search, ended ones and those in progress.

    Attributes:
        journal: Journal with the durations of ended runs; its clock measures runs in progress.
    """

    journal: Journal
    _start_times: dict[str, float] = field(default_factory=dict, init=False)
    _projected_s: dict[str, float] = field(default_factory=dict, init=False)

    def start_run(self, key: str) -> None:
        """Record the start of a run, which is in progress until `end_run`."""
        self._start_times[key] = self.journal.clock()

    def project_run(self, key: str, step: float, max_steps: int) -> None:
        """Project the duration of a run in progress to all of its steps.

        Args:
            key: Name of the run.
            step: Number of optimizer steps so far, at least one.
            max_steps: Number of optimizer steps of the whole run.
        """
        elapsed_s = self.journal.clock() - self._start_times[key]
        self._projected_s[key] = elapsed_s * max_steps / step

    def end_run(self, key: str) -> None:
        """Remove a run in progress; the caller records its duration in the journal."""
        self._start_times.pop(key)
        self._projected_s.pop(key, None)

    def sum_run_hours(self) -> float:
        """Return the hours of all runs together, ended ones and those in progress."""
        now = self.journal.clock()
        running_s = sum(now - start_time for start_time in self._start_times.values())
        return self.journal.sum_run_seconds() / 3600 + running_s / 3600

    def estimate_run_hours(self) -> float | None:
        """Estimate the hours of one complete run, the slowest so far.

        Returns:
            Hours, or None before the first evaluation of any run.
        """
        # Finished trials are the best estimate; before there are any, running ones are projected to
        # their `max_steps`. The slowest counts, because the finals may consist of such runs.
        longest_s = self.journal.longest_trial_s
        if longest_s is None:
            longest_s = max(self._projected_s.values(), default=None)
        return None if longest_s is None else longest_s / 3600
