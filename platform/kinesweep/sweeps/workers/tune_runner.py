"""Execution of sweep policies on Ray Tune in warm slots, for both the search and the finals.

Tune places the trials and stops those that the policy stops. The policy decides which
configurations are tried, which trials continue, and how an end is interpreted. The number of runs
at a time is computed from the cluster's size before the first run starts, because a driver would
wait forever for workers that can never be placed. A trial's actor requests one byte of memory: Tune
rejects an empty request, and a fraction of a core would break the packing of the workers.
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
from kinesweep.sweeps.workers.placement import count_slots
from kinesweep.sweeps.workers.tune_trainable import WarmSlotTrainable, parse_run_end
from kinesweep.sweeps.workers.worker_pool import WorkerPool, pack_task
from kinesweep.training.run_records.result import RunSpec
from kinesweep.training.run_records.task import TrainingTask

OpenLog = Callable[[], RunLogger]


@dataclass(frozen=True)
class TrainingJob:
    """A run to be trained, built from a request of a policy.

    Attributes:
        recipe: Configuration, including the seed.
        store: Folder of the feature store.
        folder: Run folder.
        full_decoding: Whether to decode all of validation at the end, as the finals require.
        open_log: Picklable function that opens the run logger; called by the first worker.
        sweep: Name of the sweep, or an empty string.
    """

    recipe: Recipe
    store: Path
    folder: Path
    full_decoding: bool
    open_log: OpenLog = NullRunLogger
    sweep: str = ""

    def build_task(self) -> TrainingTask:
        """Build the task that the workers receive."""
        spec = RunSpec(self.recipe, self.store, self.folder, full_decoding=self.full_decoding)
        return TrainingTask.from_spec(spec, self.open_log, self.sweep)


BuildJob = Callable[[RunRequest], TrainingJob]


def get_live_nodes() -> list[dict[str, float]]:
    """Return the resources of each live node of the cluster, `{"CPU": …, "GPU": …}`."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class TuneRunner:
    """A context manager that executes policies on Ray Tune, one after the other in warm slots.

    Args:
        resources: Resources of one run.
        scratch_dir: Folder for files of Ray Tune and Ray Train.

    Attributes:
        num_slots: Number of runs at a time.

    Raises:
        ResourceError: If no run fits in the cluster.
    """

    def __init__(self, resources: ResourcesConfig, scratch_dir: Path) -> None:
        self._resources, self._scratch = resources, scratch_dir
        self.num_slots = count_slots(resources, get_live_nodes())
        self._pool: WorkerPool | None = None

    def __enter__(self) -> "TuneRunner":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()

    def run_policy(self, policy: SweepPolicy, build_job: BuildJob) -> None:
        """Execute the requests of a policy until it is finished.

        Args:
            policy: Policy that decides what to run; called in this process only.
            build_job: Function that turns a request into a training job; called in this process.
        """
        if policy.is_finished:
            return
        # Slots start late: a resumed sweep with nothing left to run starts no process.
        if self._pool is None:
            self._pool = WorkerPool(self._resources, self.num_slots, self._scratch)
        barrier, client = self._pool.create_barrier(), self._pool.client
        trainable = tune.with_parameters(WarmSlotTrainable, client=client, barrier=barrier)

        def build_config(request: RunRequest) -> dict[str, Any]:
            return {"task": pack_task(build_job(request).build_task())}

        run_on_tune(policy, trainable, build_config, self._pool.size, self._scratch, barrier.open)


BuildConfig = Callable[[RunRequest], dict[str, Any]]
"""Function that turns a request into the configuration of a `tune.Trainable`."""


def run_on_tune(
    policy: SweepPolicy,
    trainable: Any,
    build_config: BuildConfig,
    max_concurrent: int,
    scratch_dir: Path,
    on_all_started: Callable[[], None] = lambda: None,
) -> None:
    """Execute the requests of a policy as Ray Tune trials until the policy is finished.

    Args:
        policy: Policy that decides what to run.
        trainable: A `tune.Trainable`.
        build_config: Function that turns a request into the configuration of a trial.
        max_concurrent: Maximum number of trials at a time.
        scratch_dir: Folder for Ray Tune's files.
        on_all_started: Callback, called once when all trials that were started have an actor.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Tune's handler would end the search as if it were complete, and the finals would start.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # Tune would write the state of all trials repeatedly; a sweep resumes from the journal alone.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    # The new output engine only prints a box that says that the number of trials is infinite.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Tune warns about result files, which are disabled; the policy reports why a trial died.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    registry = _TrialRegistry(policy, on_all_started)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 0, "memory": 1}),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            reuse_actors=True,
            # Without a limiter Tune keeps only one trial of a custom searcher pending at a time.
            search_alg=ConcurrencyLimiter(_PolicySearcher(registry, build_config), max_concurrent),
            scheduler=_PolicyScheduler(registry),
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch_dir),
            verbose=0,
            log_to_file=False,
            callbacks=[_StartCallback(registry)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    with registry.catch_interrupts():
        tuner.fit()
    if not policy.is_finished:
        raise CheckpointError(
            "Ray Tune stopped before all runs were done; run the same command again to continue"
        )


class _TrialRegistry:
    """A registry that maps Tune's trial ids to the policy's keys, with start times and errors."""

    def __init__(self, policy: SweepPolicy, on_all_started: Callable[[], None]) -> None:
        self.policy = policy
        self._on_all_started: Callable[[], None] | None = on_all_started
        self._starting: set[str] = set()
        self.keys: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self._interrupted = False
        self._start_times: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune copies its searcher for its own files; a copy must not carry the policy.
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_TrialRegistry":
        return self

    @contextmanager
    def catch_interrupts(self) -> Iterator[None]:
        """Record Ctrl-C, because Ray may swallow a KeyboardInterrupt raised in a callback."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous_handler = signal.getsignal(signal.SIGINT)

        def record_interrupt(number: int, frame: Any) -> None:
            self._interrupted = True
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, record_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous_handler)

    def raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed, even if Ray swallowed the first one."""
        if self._interrupted:
            raise KeyboardInterrupt

    def register_trial(self, trial_id: str, request: RunRequest) -> None:
        """Register a request under Tune's trial id."""
        self.keys[trial_id] = request.key
        self._start_times[trial_id] = time.monotonic()
        self._starting.add(trial_id)

    def mark_started(self, trial_id: str) -> None:
        """Record that a trial has an actor or has ended without one."""
        self._starting.discard(trial_id)
        # The start barrier opens once, when no trial of the first wave is starting any more.
        if not self._starting and self._on_all_started is not None:
            self._on_all_started()
            self._on_all_started = None

    def end_trial(self, trial_id: str, end: RunEnd) -> None:
        """Tell the policy how a trial ended and how long it took, and remove the trial."""
        self.mark_started(trial_id)
        seconds = time.monotonic() - self._start_times.pop(trial_id)
        timed_end = RunEnd(end.state, end.scores, end.reason, round(seconds, 3))
        self.policy.tell(self.keys.pop(trial_id), timed_end)


class _PolicySearcher(Searcher):
    """A Tune searcher that suggests the requests of a policy and tells it how trials ended."""

    def __init__(self, registry: _TrialRegistry, build_config: BuildConfig) -> None:
        super().__init__(metric="training_iteration", mode="max")  # present in every result
        self._registry, self._build_config = registry, build_config

    def suggest(self, trial_id: str) -> Any:
        self._registry.raise_if_interrupted()
        request = self._registry.policy.propose()
        if request is None:
            return Searcher.FINISHED if self._registry.policy.is_finished else None
        self._registry.register_trial(trial_id, request)
        return self._build_config(request)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id in self._registry.keys:
            reason = self._registry.errors.pop(trial_id, "")
            self._registry.end_trial(trial_id, parse_run_end(result, error, reason))

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: a sweep resumes from the journal."""


class _StartCallback(tune.Callback):
    """A Tune callback that records which trials have an actor."""

    def __init__(self, registry: _TrialRegistry) -> None:
        self._registry = registry

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record that the trial has an actor."""
        self._registry.mark_started(trial.trial_id)


class _PolicyScheduler(FIFOScheduler):
    """A Tune scheduler that reports evaluations to a policy and applies its decisions."""

    def __init__(self, registry: _TrialRegistry) -> None:
        super().__init__()
        self._registry = registry

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self._registry.raise_if_interrupted()
        key = self._registry.keys.get(trial.trial_id)
        if key is None or result.get("ended") or "token_loss" not in result:
            return str(TrialScheduler.CONTINUE)
        should_continue = self._registry.policy.report_evaluation(key, result)
        return str(TrialScheduler.CONTINUE if should_continue else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep the error message: Tune calls the searcher next, without the reason."""
        # `trial.get_error` looks in the storage folder, where the file does not exist yet.
        error_path = Path(trial.error_file or "")
        lines = error_path.read_text().strip().splitlines() if error_path.is_file() else []
        self._registry.errors[trial.trial_id] = lines[-1].strip() if lines else ""
