"""Execution of sweep policies on Ray Tune in warm slots, for both the search and the finals.

Tune places the trials and stops those that the policy stops. The policy decides which
configurations are tried, which trials continue, and how an end is interpreted. The number of runs
at a time is computed from the cluster's size before the first run starts, because a driver would
wait forever for workers that can never be placed. A trial's actor requests one byte of memory: Tune
rejects an empty request, and a fraction of a core would break the packing of the workers.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import ConcurrencyLimiter

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.errors import CheckpointError
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.sweeps.search.ask_tell import RunRequest, SweepPolicy
from kinesweep.sweeps.workers.placement import count_slots
from kinesweep.sweeps.workers.tune_components import (
    BuildConfig,
    PolicyScheduler,
    PolicySearcher,
    StartCallback,
    TrialRegistry,
)
from kinesweep.sweeps.workers.tune_trainable import WarmSlotTrainable
from kinesweep.sweeps.workers.worker_pool import WorkerPool, pack_task
from kinesweep.training.run_records.pretraining_spec import PretrainingSpec
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
        full_decoding: Whether to decode the whole validation split at the end, as finals require;
            pretraining decodes nothing.
        open_log: Picklable function that opens the run logger; called by the first worker.
        sweep: Name of the sweep; empty for a run that belongs to none.
    """

    recipe: AnyRecipe
    store: Path
    folder: Path
    full_decoding: bool
    open_log: OpenLog = NullRunLogger
    sweep: str = ""

    def build_task(self) -> TrainingTask:
        """Build the task that the workers receive."""
        spec: RunSpec | PretrainingSpec
        if isinstance(self.recipe, PretrainingRecipe):
            spec = PretrainingSpec(self.recipe, self.store, self.folder)
        else:
            spec = RunSpec(self.recipe, self.store, self.folder, full_decoding=self.full_decoding)
        return TrainingTask.from_spec(spec, self.open_log, self.sweep)


BuildJob = Callable[[RunRequest], TrainingJob]
"""Function that turns a request of a policy into a training job."""


def get_live_nodes() -> list[dict[str, float]]:
    """Ask Ray for the resources of each live node of the cluster, `{"CPU": …, "GPU": …}`."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class TuneRunner:
    """A context manager that executes policies on Ray Tune, one after the other in warm slots.

    Creating it asks Ray for the size of the cluster. The slots start with the first policy and are
    closed on exit.

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
            policy: Policy that decides which runs to start; called in this process only.
            build_job: Function that turns a request into a training job; called in this process.

        Raises:
            CheckpointError: If Ray Tune stopped before the policy was finished.
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


def run_on_tune(
    policy: SweepPolicy,
    trainable: Any,
    build_config: BuildConfig,
    max_concurrent: int,
    scratch_dir: Path,
    on_all_started: Callable[[], None] = lambda: None,
) -> None:
    """Execute the requests of a policy as Ray Tune trials until the policy is finished.

    Environment variables and the log level of Ray Tune are set for the whole process.

    Args:
        policy: Policy that decides which runs to start, continue and stop.
        trainable: Class of the trials, a subclass of `tune.Trainable`.
        build_config: Function that turns a request into the configuration of a trial.
        max_concurrent: Maximum number of trials at a time.
        scratch_dir: Folder for Ray Tune's files.
        on_all_started: Callback, called once when all trials that were started have an actor.

    Raises:
        CheckpointError: If Ray Tune stopped before the policy was finished.
        KeyboardInterrupt: If the user pressed Ctrl-C.
    """
    _configure_tune()
    registry = TrialRegistry(policy, on_all_started)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 0, "memory": 1}),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            reuse_actors=True,
            # Without a limiter Tune keeps only one trial of a custom searcher pending at a time.
            search_alg=ConcurrencyLimiter(PolicySearcher(registry, build_config), max_concurrent),
            scheduler=PolicyScheduler(registry),
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch_dir),
            verbose=0,
            log_to_file=False,
            callbacks=[StartCallback(registry)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    with registry.catch_interrupts():
        tuner.fit()
    if not policy.is_finished:
        raise CheckpointError(
            "Ray Tune stopped before all runs were done; run the same command again to continue"
        )


def _configure_tune() -> None:
    """Set the environment variables and the log level of Ray Tune for this process."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Tune's handler would end the search as if it were complete, and the finals would start.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # Tune would write the state of all trials repeatedly; a sweep resumes from the journal alone.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    # The new output engine only prints a box that says that the number of trials is infinite.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Tune warns about result files, which are disabled; the policy reports why a trial died.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
