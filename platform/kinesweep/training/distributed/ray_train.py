"""Training of a run on Ray Train: a `TorchTrainer` whose workers each call `train_run`.

Ray manages the processes only. Checkpoints, resumption and results use the run folder, so a run
started here can be finished without Ray and produces the same bits. All workers must see the run
folder. Startup takes 5 to 10 s, mostly for starting processes.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
from ray.exceptions import RayActorError
from ray.train import TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2._internal.execution.failure_handling.default import DefaultFailurePolicy

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.errors import (
    CheckpointError,
    KinesweepError,
    ResourceError,
    TrainingError,
    format_one_line,
)
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.training.run_records.pretraining_spec import PretrainingSpec
from kinesweep.training.run_records.result import RunResult, RunSpec, read_run_result
from kinesweep.training.run_records.run_failure import is_memory_error, make_memory_error
from kinesweep.training.run_records.task import TrainingTask

# Subfolder of the run folder for Ray Train's own state.
_RAY_STORAGE_DIR = "ray"


class TorchTrainerWithoutData(TorchTrainer):
    """A `TorchTrainer` without Ray Data, because each worker reads features from the store.

    Ray Train 2.60 starts a data set actor even without data sets, a process that costs 1.6 s of CPU
    time for each worker group.
    """

    excluded_callbacks: tuple[type, ...] = (DatasetsCallback,)

    def _create_default_callbacks(self) -> list[Any]:
        """Create Ray Train's default callbacks, except those in `excluded_callbacks`."""
        callbacks = super()._create_default_callbacks()
        return [
            callback for callback in callbacks if not isinstance(callback, self.excluded_callbacks)
        ]


class UserErrorPolicy(DefaultFailurePolicy):
    """Ray Train's failure policy, except that errors which would occur again are not retried.

    Ray Train retries whatever a worker raises. A clip that does not fit or exhausted memory would
    cost a second start of all workers, only to be reported afterwards.
    """

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Return whether Ray Train starts new workers or raises the error."""
        causes = _list_causes(training_failed_error)
        if any(isinstance(cause, KinesweepError) or is_memory_error(cause) for cause in causes):
            return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


class SingleRunTrainer(TorchTrainerWithoutData):
    """A trainer for one run, which raises errors that would occur again at once."""

    def _initialize_and_run_controller(self, **arguments: Any) -> ray.train.Result:
        """Run the controller with `UserErrorPolicy`; see `DataParallelTrainer`."""
        # Ray Train 2.60 has no setting for the policy.
        arguments["failure_policy"] = UserErrorPolicy(self.run_config.failure_config)
        return super()._initialize_and_run_controller(**arguments)


class WorkerSlotTrainer(TorchTrainerWithoutData):
    """A trainer for worker slots, which remove the placement groups of killed workers themselves.

    Ray Train's own cleaner is one more process for each worker group, and it learns of the group
    only after all workers have started.
    """

    excluded_callbacks = (DatasetsCallback, PlacementGroupCleanerCallback)


def build_worker_group_arguments(
    resources: ResourcesConfig, memory_bytes: int = 0
) -> dict[str, Any]:
    """Build the arguments of `TorchTrainer` that describe the worker group.

    Args:
        resources: Number of workers, with the CPUs and GPUs of each.
        memory_bytes: Memory to reserve for each worker in bytes; 0 reserves none.

    Returns:
        Name of the argument → value: `torch_config` and `scaling_config`.
    """
    per_worker = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": memory_bytes}
    return {
        "torch_config": TorchConfig(backend="nccl" if resources.gpus else "gloo"),
        "scaling_config": ray.train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker={
                name: float(amount) for name, amount in per_worker.items() if amount
            },
        ),
    }


def train_on_ray(
    spec: RunSpec | PretrainingSpec, open_log: Callable[[], RunLogger] = NullRunLogger
) -> RunResult:
    """Train a run with worker processes on the Ray cluster to which this process is connected.

    Workers that die are replaced once. An error that the run would raise again is not retried.

    Args:
        spec: Specification of the run; `recipe.resources` sets the number of workers, CPUs and
            GPUs.
        open_log: Function that opens the run logger; called on rank 0.

    Returns:
        Result of the run, read from its folder.

    Raises:
        CheckpointError: If the workers end without a result, because they see another folder.
        KinesweepError: If `train_run` or `pretrain_run` raises it in a worker.
        ResourceError: If the cluster can never hold the workers, or if a worker exhausts the memory
            of its machine or GPU.
        TrainingError: If the workers were killed twice.
    """
    task = TrainingTask.from_spec(spec, open_log)
    return run_on_workers(_train_on_worker, {"task": task}, spec.recipe.resources, spec.folder)


def run_on_workers(
    train: Callable[[dict[str, Any]], None],
    config: dict[str, Any],
    resources: ResourcesConfig,
    folder: Path,
) -> RunResult:
    """Run a training function on worker processes and return the result in its run folder.

    Args:
        train: Picklable function that each worker calls.
        config: Argument of the function; it must be picklable.
        resources: Number of workers, with the CPUs and GPUs of each.
        folder: Run folder, to which rank 0 writes the result.

    Raises:
        CheckpointError: If the workers end without a result, because they see another folder.
        KinesweepError: If the function raises it in a worker.
        ResourceError: If the cluster can never hold the workers, or if a worker exhausts the memory
            of its machine or GPU.
        TrainingError: If the workers were killed twice.
    """
    check_cluster_resources(resources)
    trainer = SingleRunTrainer(
        train,
        train_loop_config=config,
        **build_worker_group_arguments(resources),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=str(folder / _RAY_STORAGE_DIR),
            # New workers resume from the last complete checkpoint. A second failure is not retried,
            # because the cause is then unlikely to be chance.
            failure_config=ray.train.FailureConfig(max_failures=1),
        ),
    )
    try:
        with _restore_interrupt_handler():
            trainer.fit()
    except Exception as error:
        # Ray wraps a worker's exception, with its traceback; users should see the original message
        # only. Any other error is a bug and keeps its traceback.
        user_error = find_user_error(error)
        if user_error is not None:
            raise user_error from None
        raise
    result = read_run_result(folder)
    if result is None:
        raise CheckpointError(
            f"the workers ended, but `{folder}` contains no result; check that all nodes see"
            " this folder, then run the command again to resume"
        )
    return result


def check_cluster_resources(resources: ResourcesConfig) -> None:
    """Check that the cluster has the requested resources, for which Ray would wait forever.

    Args:
        resources: Number of workers, with the CPUs and GPUs of each.

    Raises:
        ResourceError: If the workers need more CPUs or GPUs than the cluster has.
    """
    # The total, not what is free at the moment: Ray may wait for busy resources.
    cluster_resources = ray.cluster_resources()
    for name, key, per_worker in (("GPU", "gpus", resources.gpus), ("CPU", "cpus", resources.cpus)):
        required = per_worker * resources.workers
        available = cluster_resources.get(name, 0.0)
        if required > available:
            raise ResourceError(
                f"{resources.workers} workers with {per_worker:g} {name}s each (`resources.{key}`)"
                f" need {required:g}, but the cluster has {available:g}; lower `resources.workers`"
                f" or `resources.{key}`"
            )


@contextmanager
def _restore_interrupt_handler() -> Iterator[None]:
    """Restore the SIGINT handler at the end of the `with` block.

    Ray Train replaces the handler and never restores it, which would keep its controller alive.
    """
    # Signal handlers can only be set in the main thread, so Ray Train sets none in other threads.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _train_on_worker(config: dict[str, Any]) -> None:
    """Train the run of a task; each worker of Ray Train executes this function.

    Args:
        config: Ray Train's configuration of the training loop, with the `TrainingTask` at `task`.
    """
    # Imported here because the controller and the worker slots import this module but train
    # nothing.
    from kinesweep.training.loop.run_callbacks import RunCallbacks

    task: TrainingTask = config["task"]
    task.train(task.open_run_logger(), RunCallbacks(report_metrics, lambda: False))


def report_metrics(metrics: dict[str, float]) -> bool:
    """Report the metrics of an evaluation to Ray Train, which requires the call on every rank.

    Returns:
        True, so that training always continues: a run outside of a sweep is never pruned.
    """
    ray.train.report(dict(metrics))
    return True


def find_user_error(error: Exception) -> KinesweepError | None:
    """Find the cause of an exception of Ray Train, if it is one that a user can fix.

    Args:
        error: Exception of Ray Train.

    Returns:
        The first `KinesweepError` of a worker; else an error that says that the memory is exhausted
        or that the workers were killed; None if the cause is a bug.
    """
    causes = _list_causes(error)
    user_error = next((cause for cause in causes if isinstance(cause, KinesweepError)), None)
    if user_error is not None:
        return user_error
    memory_error = next((cause for cause in causes if is_memory_error(cause)), None)
    if memory_error is not None:
        return make_memory_error(memory_error)
    death = next((cause for cause in causes if isinstance(cause, RayActorError)), None)
    if death is None:
        return None
    return TrainingError(
        f"the workers were killed twice: {format_one_line(death, max_chars=600)}. If the system"
        " killed them because the memory was exhausted, lower `batch.max_frames` or limit the"
        " longest clips with `batch.max_clip_frames`; run the command again to resume"
    )


def _list_causes(error: Exception) -> list[Exception]:
    """List an exception of Ray Train, the failures of its workers, and the originals in them."""
    failures = getattr(error, "worker_failures", None) or {}
    causes: list[Exception] = []
    for candidate in [error, *failures.values(), error.__cause__]:
        # Ray keeps the original under `cause`, and that of a failed health check under its name.
        for name in ("cause", "health_check_failure"):
            original = getattr(candidate, name, None)
            if isinstance(original, Exception):
                causes.append(original)
        if isinstance(candidate, Exception):
            causes.append(candidate)
    return causes
