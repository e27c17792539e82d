"""Pretraining on Ray Train: a `TorchTrainer` whose workers each call `pretrain_run`.

As for other runs, Ray manages the processes only; a run started here can be finished without Ray
and produces the same bits if the number of workers is the same.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinesweep.core.collectives import is_rank_zero
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.training.distributed.ray_train import report_metrics, run_on_workers
from kinesweep.training.run_records.prometheus import PrometheusRunLogger
from kinesweep.training.run_records.result import RunResult


def pretrain_on_ray(spec: Any, open_log: Callable[[], RunLogger] = NullRunLogger) -> RunResult:
    """Pretrain with worker processes on the Ray cluster to which this process is connected.

    Args:
        spec: The `PretrainingSpec` of the run; its recipe sets the workers, CPUs and GPUs.
        open_log: Function that opens the run logger; called on rank 0.

    Returns:
        Result of the run, read from its folder.

    Raises:
        CheckpointError: If the workers end without a result, because they see another folder.
        KinesweepError: If `pretrain_run` raises it in a worker.
        ResourceError: If the cluster can never hold the workers, or if a worker exhausts the memory
            of its machine or GPU.
        TrainingError: If the workers were killed twice.
    """
    # The recipe as JSON, because a pickled pydantic model depends on its module path.
    values = {**vars(spec), "recipe": spec.recipe.model_dump_json()}
    values |= {name: str(values[name]) for name in ("store", "folder")}
    config = {"spec": values, "open_log": open_log}
    return run_on_workers(_pretrain_on_worker, config, spec.recipe.resources, spec.folder)


def _pretrain_on_worker(config: dict[str, Any]) -> None:
    """Pretrain on one worker of Ray Train.

    Args:
        config: Values of the specification at `spec`, and the function `open_log`.
    """
    # Imported here because the controller imports this module but trains nothing.
    from kinesweep.config.pretraining_recipe import PretrainingRecipe
    from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run

    values = dict(config["spec"])
    values["recipe"] = PretrainingRecipe.model_validate(json.loads(values["recipe"]))
    values |= {name: Path(values[name]) for name in ("store", "folder")}
    spec = PretrainingSpec(**values)
    log: RunLogger = NullRunLogger()
    if is_rank_zero():
        log = PrometheusRunLogger(config["open_log"](), spec.folder, "")
    pretrain_run(spec, log, report_metrics)
