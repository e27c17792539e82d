"""Types of the executors of a sweep's policies: Ray Tune, or simulated time in plans and tests."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.sweeps.search.ask_tell import SweepPolicy
from kinesweep.sweeps.workers import tune_runner

MessageCallback = Callable[[str], None]
"""Function that receives progress messages, one line each."""


class PolicyRunner(Protocol):
    """An executor of sweep policies; implemented by `tune_runner.TuneRunner`."""

    @property
    def num_slots(self) -> int:
        """Number of runs at a time."""

    def run_policy(self, policy: SweepPolicy, build_job: tune_runner.BuildJob) -> None:
        """Execute the requests of a policy until it is finished; see `tune_runner.TuneRunner`."""


RunnerFactory = Callable[[ResourcesConfig, Path], AbstractContextManager[PolicyRunner]]
"""Function from the resources of one run and a scratch folder to an executor of policies."""
