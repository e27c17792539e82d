"""A run on Ray Train: a `TorchTrainer` whose workers each call `train_run`.

Nothing of the run is Ray's business but its processes: checkpoints, resume and results are those
of the run folder, so a run started here may be finished without Ray and has the same bits. The run
folder must lie where all workers see it. Starting costs 5 to 10 s, mostly process starts.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from kinesweep.core.errors import CheckpointError, KinesweepError
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import NullRunLog, RunLog
from kinesweep.training.ranks import is_first
from kinesweep.training.result import RunResult, RunSpec, read_result
from kinesweep.training.run import train_run

_STORAGE = "ray"
"""Folder of Ray Train's own bookkeeping, in the run folder."""


@dataclass(frozen=True)
class Task:
    """What crosses to the workers: plain values and a picklable way to open the log."""

    spec: dict[str, Any]
    open_log: Callable[[], RunLog]


def train_on_ray(
    spec: RunSpec,
    open_log: Callable[[], RunLog] = NullRunLog,
    callbacks: Sequence[ray.train.UserCallback] = (),
    retries: int = 1,
) -> RunResult:
    """Trains a run on the running Ray.

    Args:
        spec: the run; `recipe.resources` says how many workers, cores and GPUs.
        open_log: called on rank 0.
        callbacks: of Ray Train; inside of a Tune trial its `TuneReportCallback`.
        retries: worker groups that may die before the run counts as failed; each new one goes on
            from the last whole checkpoint.

    Raises:
        KinesweepError: as `train_run`; also when the workers died too often.
    """
    resources = spec.recipe.resources
    per_worker = {"CPU": float(resources.cpus), "GPU": float(resources.gpus)}
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"task": Task(_plain(spec), open_log)},
        torch_config=TorchConfig(backend="nccl" if resources.gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus > 0,
            resources_per_worker={k: v for k, v in per_worker.items() if v},
        ),
        run_config=ray.train.RunConfig(
            name=spec.folder.name,
            storage_path=str(spec.folder / _STORAGE),
            failure_config=ray.train.FailureConfig(max_failures=retries),
            callbacks=list(callbacks),
        ),
    )
    try:
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


def _worker(config: dict[str, Any]) -> None:
    """Body of each worker."""
    task: Task = config["task"]
    log = task.open_log() if is_first() else NullRunLog()
    train_run(_spec(task.spec), log, _report)


def _report(metrics: dict[str, float]) -> bool:
    """Hands an evaluation to Ray Train on every rank; Tune ends a pruned trial by killing it."""
    ray.train.report(dict(metrics))
    return True


def _plain(spec: RunSpec) -> dict[str, Any]:
    """A spec as plain values: pydantic models pickle by module, JSON by meaning."""
    return {
        "recipe": spec.recipe.model_dump_json(),
        "store": str(spec.store),
        "folder": str(spec.folder),
        "full_decoding": spec.full_decoding,
        "score_test": spec.score_test,
        "overwrite": spec.overwrite,
    }


def _spec(plain: dict[str, Any]) -> RunSpec:
    recipe = Recipe.model_validate(json.loads(plain["recipe"]))
    paths = {name: Path(plain[name]) for name in ("store", "folder")}
    return replace(
        RunSpec(recipe=recipe, store=paths["store"], folder=paths["folder"]),
        full_decoding=plain["full_decoding"],
        score_test=plain["score_test"],
        overwrite=plain["overwrite"],
    )


def _foreseen(error: BaseException) -> KinesweepError | None:
    """What a worker said, when it is an error for people."""
    failures = getattr(error, "worker_failures", None) or {}
    for found in [error, *failures.values(), error.__cause__]:
        original = getattr(found, "cause", None) or found
        if isinstance(original, KinesweepError):
            return original
    return None
