"""A run on Ray Train: a `TorchTrainer` whose workers each call `train_run`.

Nothing of the run is Ray's business but its processes: checkpoints, resume and results are those
of the run folder, so a run started here may be finished without Ray and has the same bits. The run
folder must lie where all workers see it. Starting costs 5 to 10 s, mostly process starts.
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

from kinesweep.core.errors import CheckpointError, KinesweepError, ResourceError
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.core.runlog import NullRunLog, RunLog
from kinesweep.training.result import RunResult, RunSpec, read_result
from kinesweep.training.task import Task

_STORAGE = "ray"
"""Folder of Ray Train's own bookkeeping, in the run folder."""


class Trainer(TorchTrainer):
    """A `TorchTrainer` without Ray Data: features are read from the store by each worker.

    Ray Train 2.60 starts an actor for data sets even when it is given none, a process of 1.6 s of
    CPU for each worker group.
    """

    unneeded_callbacks: tuple[type, ...] = (DatasetsCallback,)

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [made for made in callbacks if not isinstance(made, self.unneeded_callbacks)]


class SlotTrainer(Trainer):
    """A trainer whose slot removes the placement groups of killed workers itself.

    Ray Train's own cleaner is one more process for each worker group, and learns of the group only
    when all workers have started.
    """

    unneeded_callbacks = (DatasetsCallback, PlacementGroupCleanerCallback)


def worker_group(resources: ResourcesConfig, memory: int = 0) -> dict[str, Any]:
    """What a `TorchTrainer` must know of its workers; `memory` is theirs, in bytes."""
    per_worker = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": memory}
    return {
        "torch_config": TorchConfig(backend="nccl" if resources.gpus else "gloo"),
        "scaling_config": ray.train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker={k: float(v) for k, v in per_worker.items() if v},
        ),
    }


def train_on_ray(spec: RunSpec, open_log: Callable[[], RunLog] = NullRunLog) -> RunResult:
    """Trains a run on the running Ray.

    Args:
        spec: the run; `recipe.resources` says how many workers, cores and GPUs.
        open_log: called on rank 0.

    Raises:
        KinesweepError: as `train_run`; also when the workers died more than once.
        ResourceError: the cluster can never hold the workers.
    """
    check_cluster(spec.recipe.resources)
    trainer = Trainer(
        _worker,
        train_loop_config={"task": Task.of(spec, open_log)},
        **worker_group(spec.recipe.resources),
        run_config=ray.train.RunConfig(
            name=spec.folder.name,
            storage_path=str(spec.folder / _STORAGE),
            # New workers go on from the last whole checkpoint.
            failure_config=ray.train.FailureConfig(max_failures=1),
        ),
    )
    try:
        with _interrupts_restored():
            trainer.fit()
    except Exception as error:
        known = _foreseen(error)
        if known is not None:
            raise known from None
        raise
    result = read_result(spec.folder)
    if result is None:
        raise CheckpointError(f"the workers ended, but `{spec.folder}` holds no result")
    return result


def check_cluster(resources: ResourcesConfig) -> None:
    """Refuses what Ray would wait for without end.

    Raises:
        ResourceError: names what is asked for and what there is.
    """
    have = ray.cluster_resources()
    for name, key, each in (("GPU", "gpus", resources.gpus), ("CPU", "cpus", resources.cpus)):
        asked = each * resources.workers
        if asked > have.get(name, 0.0):
            raise ResourceError(
                f"{resources.workers} workers with {each:g} {name}s each (`resources.{key}`) need"
                f" {asked:g}, but the cluster has {have.get(name, 0.0):g}"
            )


@contextmanager
def _interrupts_restored() -> Iterator[None]:
    """Takes Ray Train's handler of Ctrl-C away again, which would stay and hold its controller."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Ray Train sets none here
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _worker(config: dict[str, Any]) -> None:
    """Train the run; body of each worker."""
    # Here and not above: the controller and the slots import this module and train nothing.
    from kinesweep.training.run import train_run

    task: Task = config["task"]
    train_run(task.spec(), task.log(), _report)


def _report(metrics: dict[str, float]) -> bool:
    """Hands an evaluation to Ray Train, on every rank as it demands; no run is given up here."""
    ray.train.report(dict(metrics))
    return True


def _foreseen(error: BaseException) -> KinesweepError | None:
    """What a worker said, when it is an error for people."""
    failures = getattr(error, "worker_failures", None) or {}
    for found in [error, *failures.values(), error.__cause__]:
        original = getattr(found, "cause", None) or found
        if isinstance(original, KinesweepError):
            return original
    return None
