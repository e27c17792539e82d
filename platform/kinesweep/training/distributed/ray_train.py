"""Training of a run on Ray Train: a `TorchTrainer` whose workers each call `train_run`.

Ray manages the processes only. Checkpoints, resumption and results use the run folder, so a run
started here can be finished without Ray and produces the same bits. All workers must see the run
folder. Startup takes 5 to 10 s, mostly for starting processes.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.core.errors import CheckpointError, KinesweepError, ResourceError
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.training.run_records.result import RunResult, RunSpec, read_result
from kinesweep.training.run_records.task import Task

# Subfolder of the run folder for Ray Train's own state.
_STORAGE = "ray"


class Trainer(TorchTrainer):
    """A `TorchTrainer` without Ray Data, because each worker reads features from the store.

    Ray Train 2.60 starts a data set actor even without data sets, a process that costs 1.6 s of CPU
    time for each worker group.
    """

    unneeded_callbacks: tuple[type, ...] = (DatasetsCallback,)

    def _create_default_callbacks(self) -> list[Any]:
        """Return Ray Train's callbacks without the unneeded ones."""
        callbacks = super()._create_default_callbacks()
        return [made for made in callbacks if not isinstance(made, self.unneeded_callbacks)]


class SlotTrainer(Trainer):
    """A trainer for worker slots, which remove the placement groups of killed workers themselves.

    Ray Train's own cleaner is one more process for each worker group, and it learns of the group
    only after all workers have started.
    """

    unneeded_callbacks = (DatasetsCallback, PlacementGroupCleanerCallback)


def worker_group(resources: ResourcesConfig, memory: int = 0) -> dict[str, Any]:
    """Return the `TorchTrainer` arguments that describe the worker group.

    Args:
        resources: Number of workers, with the CPUs and GPUs of each.
        memory: Memory of each worker in bytes; 0 reserves none.
    """
    per_worker = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": memory}
    return {
        "torch_config": TorchConfig(backend="nccl" if resources.gpus else "gloo"),
        "scaling_config": ray.train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker={k: float(v) for k, v in per_worker.items() if v},
        ),
    }


def train_on_ray(spec: RunSpec, open_log: Callable[[], RunLogger] = NullRunLogger) -> RunResult:
    """Train a run on the running Ray cluster.

    If the workers die more than once, Ray's own error is raised.

    Args:
        spec: Specification of the run; `recipe.resources` sets the number of workers, cores and
            GPUs.
        open_log: Function that opens the run's log; called on rank 0.

    Raises:
        KinesweepError: If `train_run` raises it in a worker.
        ResourceError: If the cluster can never hold the workers.
    """
    check_cluster(spec.recipe.resources)
    trainer = Trainer(
        _worker,
        train_loop_config={"task": Task.of(spec, open_log)},
        **worker_group(spec.recipe.resources),
        run_config=ray.train.RunConfig(
            name=spec.folder.name,
            storage_path=str(spec.folder / _STORAGE),
            # New workers resume from the last complete checkpoint. A second failure is not retried,
            # because the cause is then unlikely to be chance.
            failure_config=ray.train.FailureConfig(max_failures=1),
        ),
    )
    try:
        with _interrupts_restored():
            trainer.fit()
    except Exception as error:
        # Ray wraps a worker's exception, with its traceback; users should see the original message
        # only.
        known = _foreseen(error)
        if known is not None:
            raise known from None
        raise
    result = read_result(spec.folder)
    if result is None:
        raise CheckpointError(
            f"the workers ended, but `{spec.folder}` contains no result; check that all nodes see"
            " this folder, then run the command again to resume"
        )
    return result


def check_cluster(resources: ResourcesConfig) -> None:
    """Raise an error for resources that Ray would wait for indefinitely.

    Raises:
        ResourceError: If the workers need more CPUs or GPUs than the cluster has.
    """
    # The total, not what is free at the moment: Ray may wait for busy resources.
    have = ray.cluster_resources()
    for name, key, each in (("GPU", "gpus", resources.gpus), ("CPU", "cpus", resources.cpus)):
        asked = each * resources.workers
        if asked > have.get(name, 0.0):
            raise ResourceError(
                f"{resources.workers} workers with {each:g} {name}s each (`resources.{key}`) need"
                f" {asked:g}, but the cluster has {have.get(name, 0.0):g}; lower"
                f" `resources.workers` or `resources.{key}`"
            )


@contextmanager
def _interrupts_restored() -> Iterator[None]:
    """Restore the Ctrl-C handler; Ray Train's would stay and keep its controller alive."""
    # Signal handlers can only be set in the main thread, so Ray Train sets none in other threads.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _worker(config: dict[str, Any]) -> None:
    """Train the run; each worker process executes this function."""
    # Imported here because the controller and the worker slots import this module but train
    # nothing.
    from kinesweep.training.loop.run import train_run

    task: Task = config["task"]
    train_run(task.spec(), task.log(), _report)


def _report(metrics: dict[str, float]) -> bool:
    """Report an evaluation to Ray Train, which requires the call on every rank.

    Always returns True, because no run is pruned here.
    """
    ray.train.report(dict(metrics))
    return True


def _foreseen(error: BaseException) -> KinesweepError | None:
    """Return the worker's original exception if it is meant for users, else None."""
    failures = getattr(error, "worker_failures", None) or {}
    # The KinesweepError may be the exception itself, a worker failure, or its cause.
    for found in [error, *failures.values(), error.__cause__]:
        original = getattr(found, "cause", None) or found
        if isinstance(original, KinesweepError):
            return original
    return None
