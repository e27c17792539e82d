"""From the end of a trial in a slot to the next one's first step: warm slots beside stock Ray.

Stock is what Ray's documentation shows: a Tune function that fits a `TorchTrainer`, with the
settings that Ray comes with. Both train the same tiny runs with the same function on one slot, and
each run notes when it trained its steps. Prints a table; `make bench` runs it.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune
from ray.train.torch import TorchTrainer

from kinesweep.sweeps.job_factory import JobFactory
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.search.ask_tell import RunRequest
from kinesweep.sweeps.workers.tune_runner import TuneRunner
from kinesweep.training.distributed.ray_train import TrainingTask
from kinesweep.training.loop.run import train_run
from sweeping import Lab, make_lab, times

_CPUS = 4
"""By Ray's count: a stock trial holds one itself, beside those of its two workers."""


def gaps(folder: Path) -> dict[str, list[float]]:
    """How the trial before ended → seconds from its last note to the next one's first step."""
    runs = sorted(times(folder).values(), key=lambda rows: rows[0]["time"])
    found: dict[str, list[float]] = {}
    for before, after in itertools.pairwise(runs):
        found.setdefault(before[-1]["finish"], []).append(after[0]["time"] - before[-1]["time"])
    return found


def warm(lab: Lab, folder: Path, workers: int, trials: int) -> dict[str, list[float]]:
    """Our runner; about half of the trials are pruned."""
    space = lab.space(
        search={"kind": "random", "trials": trials},
        pruner={"kind": "median", "grace_period": 1},
        resources={"workers": workers, "cpus": _CPUS // workers},
    )
    journal = Journal(folder)
    journal.start_session("bench", "?")
    with TuneRunner(space.resources, folder / "tune") as running:
        running.run_policy(lab.search(space, journal), lab.make_job(folder))
    return gaps(folder)


def _train(task: TrainingTask) -> None:
    """Body of each stock worker."""
    train_run(task.unpack_spec(), task.open_run_logger(), lambda _: True)


def _fit(config: dict[str, Any], make_job: JobFactory, workers: int, storage: str) -> None:
    """The stock trial."""
    job = make_job(RunRequest("", {"training.learning_rate": config["rate"]}, 0, "search"))
    TorchTrainer(
        _train,
        train_loop_config=job.build_task(),
        scaling_config=ray.train.ScalingConfig(num_workers=workers),
        run_config=ray.train.RunConfig(storage_path=storage),
    ).fit()


def stock(lab: Lab, folder: Path, workers: int, trials: int) -> dict[str, list[float]]:
    """One trial at a time, like the warm slot beside it."""
    trial = tune.with_parameters(
        _fit, make_job=lab.make_job(folder), workers=workers, storage=str(folder / "train")
    )
    rates = [1e-3 * (1 + number) for number in range(trials)]
    tune.Tuner(
        trial,
        param_space={"rate": tune.grid_search(rates)},
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(folder / "tune")),
    ).fit()
    return gaps(folder)


def table(stock_trials: int, warm_trials: int) -> Iterator[dict[str, Any]]:
    """Medians and their ratio, for one and two workers a trial."""
    with tempfile.TemporaryDirectory() as name:
        lab = make_lab(Path(name), training={"max_steps": 40, "eval_steps": 10})
        for workers in (1, 2):
            cold = stock(lab, Path(name) / f"stock{workers}", workers, stock_trials)
            reference = statistics.median(cold["finished"])
            ours = warm(lab, Path(name) / f"warm{workers}", workers, warm_trials)
            for ended, seconds in sorted(ours.items()):
                median = statistics.median(seconds)
                yield {
                    "workers": workers,
                    "after": ended,
                    "trials": len(seconds),
                    "warm_s": round(median, 3),
                    "stock_s": round(reference, 3),
                    "ratio": round(reference / median, 1),
                }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stock", type=int, default=6)
    parser.add_argument("--warm", type=int, default=24)
    given = parser.parse_args()
    ray.init(address="local", num_cpus=_CPUS, log_to_driver=False)
    for row in table(given.stock, given.warm):
        print(row, flush=True)


if __name__ == "__main__":
    main()
