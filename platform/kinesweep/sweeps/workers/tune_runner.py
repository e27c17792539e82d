"""Execution of an policy on Ray Tune in warm slots, for the search and the finals alike.

Tune places the trials and stops those that it is told to stop. The policy decides what to try,
which trials continue, and how an end is interpreted. The number of runs at a time is computed from
the cluster's size before the first run starts, because a driver would wait forever for workers that
can never be placed. A trial's actor requests one byte of memory: Tune rejects an empty request, and
a fraction of a core would break the packing of the workers.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.core.errors import CheckpointError
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy
from kinesweep.sweeps.workers.placement import slots
from kinesweep.sweeps.workers.tune_trainable import WarmTrial, run_end_of
from kinesweep.sweeps.workers.worker_pool import Pool, pack_task
from kinesweep.training.run_records.result import RunSpec
from kinesweep.training.run_records.task import Task

OpenLog = Callable[[], RunLogger]


@dataclass(frozen=True)
class Job:
    """A run to be trained.

    Attributes:
        recipe: Configuration, including the seed.
        store: Folder of the feature store.
        folder: Run folder.
        full_decoding: Whether to decode all of validation at the end, as the finals require.
        open_log: Picklable function that opens the run's log; called by the run's first worker.
        sweep: Name of the sweep, or an empty string.
    """

    recipe: Recipe
    store: Path
    folder: Path
    full_decoding: bool
    open_log: OpenLog = NullRunLogger
    sweep: str = ""

    def task(self) -> Task:
        """Pack the run for the workers."""
        spec = RunSpec(self.recipe, self.store, self.folder, full_decoding=self.full_decoding)
        return Task.of(spec, self.open_log, self.sweep)


MakeJob = Callable[[RunRequest], Job]


def live_nodes() -> list[dict[str, float]]:
    """Return the resources of each live node of the cluster, `{"CPU": …, "GPU": …}`."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class Runner:
    """A context manager that executes policies one after the other in the same warm slots.

    Args:
        resources: Resources of one run.
        scratch: Folder for files of Ray Tune and Ray Train.

    Attributes:
        slots: Number of runs at a time.

    Raises:
        ResourceError: If no run fits in the cluster.
    """

    def __init__(self, resources: ResourcesConfig, scratch: Path) -> None:
        self._resources, self._scratch = resources, scratch
        self.slots = slots(resources, live_nodes())
        self._pool: Pool | None = None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()

    def drive(self, policy: SweepPolicy, make_job: MakeJob) -> None:
        """Execute an policy until it is over.

        Args:
            policy: Policy that decides what to run; called in this process only.
            make_job: Function that turns a request into a run; called in this process.
        """
        if policy.is_finished:
            return
        # Slots start late: a resumed sweep with nothing left to run starts no process.
        if self._pool is None:
            self._pool = Pool(self._resources, self.slots, self._scratch)
        gate, client = self._pool.gate(), self._pool.client
        trial = tune.with_parameters(WarmTrial, client=client, gate=gate)

        def configure(request: RunRequest) -> dict[str, Any]:
            return {"task": pack_task(make_job(request).task())}

        tune_agenda(policy, trial, configure, self._pool.size, self._scratch, gate.open)


Configure = Callable[[RunRequest], dict[str, Any]]
"""Function that turns a request into the configuration of a `tune.Trainable`."""


def tune_agenda(
    policy: SweepPolicy,
    trial: Any,
    configure: Configure,
    size: int,
    scratch: Path,
    all_started: Callable[[], None] = lambda: None,
) -> None:
    """Execute an policy with a trainable.

    Args:
        policy: Policy that decides what to run.
        trial: A `tune.Trainable`.
        configure: Function that turns a request into its configuration.
        size: Number of trials at a time.
        scratch: Folder for Ray Tune's files.
        all_started: Callback for the moment when all trials begun so far have an actor.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Tune's handler would end the search as if it were complete, and the finals would follow.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # Tune would write the state of all trials repeatedly; a sweep resumes from the journal alone.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    # The new output is a box that only says that the number of trials is infinite.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Tune warns about result files that were disabled; the policy reports why a trial died.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ends = _Ends(policy, all_started)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 0, "memory": 1}),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            reuse_actors=True,
            # Without a limiter Tune keeps only one trial of a custom searcher pending at a time.
            search_alg=ConcurrencyLimiter(_Searcher(ends, configure), size),
            scheduler=_Scheduler(ends),
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            verbose=0,
            log_to_file=False,
            callbacks=[_Starts(ends)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    with ends.interrupts():
        tuner.fit()
    if not policy.is_finished:
        raise CheckpointError(
            "Ray Tune stopped before all runs were done; run the same command again to continue"
        )


class _Ends:
    """The link between Tune's trial ids and the policy's keys, with start times and errors."""

    def __init__(self, policy: SweepPolicy, all_started: Callable[[], None]) -> None:
        self.policy = policy
        self._all_started: Callable[[], None] | None = all_started
        self._starting: set[str] = set()
        self.keys: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self._interrupted = False
        self._began: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune copies its searcher for its own files; a copy must not carry the policy.
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Ends":
        return self

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Remember Ctrl-C, because Ray may swallow a KeyboardInterrupt raised in a callback."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def remember(number: int, frame: Any) -> None:
            self._interrupted = True
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check_interrupt(self) -> None:
        """Raise KeyboardInterrupt again if it was swallowed."""
        if self._interrupted:
            raise KeyboardInterrupt

    def start(self, trial_id: str, request: RunRequest) -> None:
        """Register a request under Tune's trial id."""
        self.keys[trial_id] = request.key
        self._began[trial_id] = time.monotonic()
        self._starting.add(trial_id)

    def started(self, trial_id: str) -> None:
        """Record that a trial has its actor or has ended without one."""
        self._starting.discard(trial_id)
        # The start barrier opens once, when no trial of the first wave is starting any more.
        if not self._starting and self._all_started is not None:
            self._all_started()
            self._all_started = None

    def end(self, trial_id: str, end: RunEnd) -> None:
        """Tell the policy how a trial ended."""
        self.started(trial_id)
        seconds = time.monotonic() - self._began.pop(trial_id)
        ended = RunEnd(end.state, end.scores, end.reason, round(seconds, 3))
        self.policy.tell(self.keys.pop(trial_id), ended)


class _Searcher(Searcher):
    """A Tune searcher that passes requests to Tune and ends to the policy."""

    def __init__(self, ends: _Ends, configure: Configure) -> None:
        super().__init__(metric="training_iteration", mode="max")  # present in every result
        self._ends, self._configure = ends, configure

    def suggest(self, trial_id: str) -> Any:
        self._ends.check_interrupt()
        request = self._ends.policy.propose()
        if request is None:
            return Searcher.FINISHED if self._ends.policy.is_finished else None
        self._ends.start(trial_id, request)
        return self._configure(request)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id in self._ends.keys:
            reason = self._ends.errors.pop(trial_id, "")
            self._ends.end(trial_id, run_end_of(result, error, reason))

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: a sweep resumes from the journal."""


class _Starts(tune.Callback):
    """A Tune callback that reports which trials have an actor."""

    def __init__(self, ends: _Ends) -> None:
        self._ends = ends

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `tune.Callback`."""
        self._ends.started(trial.trial_id)


class _Scheduler(FIFOScheduler):
    """A Tune scheduler that passes reports to the policy and returns its decisions."""

    def __init__(self, ends: _Ends) -> None:
        super().__init__()
        self._ends = ends

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self._ends.check_interrupt()
        key = self._ends.keys.get(trial.trial_id)
        if key is None or result.get("ended") or "token_loss" not in result:
            return str(TrialScheduler.CONTINUE)
        goes_on = self._ends.policy.report(key, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep the error message: Tune calls the searcher next, without the reason."""
        # `trial.get_error` looks in the storage folder, where the file does not exist yet.
        file = Path(trial.error_file or "")
        lines = file.read_text().strip().splitlines() if file.is_file() else []
        self._ends.errors[trial.trial_id] = lines[-1].strip() if lines else ""
