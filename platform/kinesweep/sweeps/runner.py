"""Runs on Ray Tune: each trial's driver starts a `TorchTrainer` and takes no core itself.

Two calls: `search` lets Optuna propose and ASHA prune, `train_all` trains a fixed list. Both bound
the runs in flight by what the cluster holds, computed before the first one starts: a driver that
waits for workers which can never be placed would wait for ever. The trial driver asks for one byte
of memory, since Tune refuses a request for nothing and a fraction of a core breaks packing.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from kinesweep.core.errors import KinesweepError, ResourceError
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.core.runlog import NullRunLog, RunLog
from kinesweep.sweeps.journal import Trial
from kinesweep.sweeps.schedule import Asha
from kinesweep.sweeps.search import STATE_NAMES, build_sampler, told_trial, verdict
from kinesweep.sweeps.space import SearchSpace
from kinesweep.training.distributed import train_on_ray
from kinesweep.training.result import RunResult, RunSpec, read_result

OpenLog = Callable[[], RunLog]
_CONFIG = "job"


@dataclass(frozen=True)
class Job:
    """One run to be trained.

    Attributes:
        recipe: the configuration, its seed included.
        store: folder of the features.
        folder: the run's own.
        full_decoding: as the finals want it.
        open_log: picklable; called by the run's first worker.
    """

    recipe: Recipe
    store: Path
    folder: Path
    full_decoding: bool
    open_log: OpenLog = NullRunLog


MakeJob = Callable[[dict[str, Any]], Job]
Train = Callable[[Job], RunResult]


def train_job(job: Job) -> RunResult:
    """Trains a job on Ray Train, inside of a Tune trial."""
    spec = RunSpec(job.recipe, job.store, job.folder, full_decoding=job.full_decoding)
    return train_on_ray(spec, job.open_log, [TuneReportCallback()])


def concurrency(resources: ResourcesConfig) -> int:
    """How many runs fit in the cluster at once.

    Raises:
        ResourceError: not even one.
    """
    have = ray.cluster_resources()
    need = {"CPU": resources.workers * resources.cpus, "GPU": resources.workers * resources.gpus}
    fits = [int(have.get(kind, 0) // count) for kind, count in need.items() if count]
    if min(fits) < 1:
        shown = ", ".join(f"{count:g} {kind}" for kind, count in need.items() if count)
        there = ", ".join(f"{have.get(kind, 0):g} {kind}" for kind in need)
        raise ResourceError(
            f"one run needs {shown}, but the cluster has {there};"
            " lower `resources.workers`, `resources.cpus` or `resources.gpus`"
        )
    return min(fits)


@dataclass(frozen=True)
class SearchEvents:
    """Whom a search tells, by Tune's trial id: each proposal, report and end.

    `reported` answers how many samples beyond its warm-up the trial has seen.
    """

    created: Callable[[str, dict[str, Any]], None]
    reported: Callable[[str, Mapping[str, Any]], float]
    ended: Callable[[str, str, float | None], None]


def search(
    space: SearchSpace,
    trials: Sequence[Trial],
    make_job: MakeJob,
    asha: Asha | None,
    events: SearchEvents,
    scratch: Path,
    train: Train = train_job,
) -> None:
    """Runs what is left of a search.

    Args:
        space: the question.
        trials: what the journal knows; those that were running are tried again first.
        make_job: picklable; swept values → run.
        asha: prunes; None: nothing does.
        events: told what happens, in this process.
        scratch: for Tune's own files.
        train: picklable; trains a job and reports by `tune.report`.
    """
    left = space.search.trials - sum(trial.state != "running" for trial in trials)
    if left <= 0:
        return
    _run(
        partial(_search_trial, make_job, train),
        space.resources,
        scratch,
        num_samples=left,
        search_alg=_Searcher(space, trials, events),
        scheduler=_Scheduler(asha, events),
    )


def train_all(
    jobs: Sequence[Job],
    resources: ResourcesConfig,
    on_end: Callable[[Job, RunResult | str], None],
    scratch: Path,
    train: Train = train_job,
) -> None:
    """Trains a list of runs; `on_end` is told each result, or why there is none."""
    if not jobs:
        return
    grid = _run(
        partial(_listed_trial, list(jobs), train),
        resources,
        scratch,
        param_space={_CONFIG: tune.grid_search(list(range(len(jobs))))},
        callbacks=[_Ends(jobs, on_end)],
    )
    assert len(grid) == len(jobs)


def _run(trainable: Any, resources: ResourcesConfig, scratch: Path, **rest: Any) -> Any:
    """One Tune experiment."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    param_space = rest.pop("param_space", None)
    callbacks = rest.pop("callbacks", None)
    in_flight = concurrency(resources)
    searcher = rest.pop("search_alg", None)
    if searcher is not None:
        # Tune's own bound is ignored beside a searcher, which then runs one trial at a time.
        rest["search_alg"] = ConcurrencyLimiter(searcher, in_flight)
    else:
        rest["max_concurrent_trials"] = in_flight
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 0, "memory": 1}),
        param_space=param_space,
        tune_config=tune.TuneConfig(reuse_actors=False, **rest),
        run_config=tune.RunConfig(
            storage_path=str(scratch), verbose=0, callbacks=callbacks, log_to_file=False
        ),
    )
    return tuner.fit()


def _search_trial(make_job: MakeJob, train: Train, config: dict[str, Any]) -> None:
    """Body of a search trial's driver."""
    job = make_job(dict(config))
    _end_with(train(job))


def _listed_trial(jobs: Sequence[Job], train: Train, config: dict[str, Any]) -> None:
    """Body of a listed run's driver."""
    try:
        _end_with(train(jobs[config[_CONFIG]]))
    except KinesweepError as error:
        # The list goes on; the reason reaches the journal.
        tune.report({"finished": False, "reason": f"{type(error).__name__}: {error}"})


def _end_with(result: RunResult) -> None:
    """The last report of a run carries its final scores, whatever was reported before."""
    tune.report(
        {
            "finished": result.status == "finished",
            "step": result.step,
            "samples": result.samples,
            **result.scores,
        }
    )


class _Searcher(OptunaSearch):
    """Optuna under Tune, with each end told as it was (see `search.verdict`)."""

    def __init__(self, space: SearchSpace, trials: Sequence[Trial], events: SearchEvents) -> None:
        ended = [trial for trial in trials if trial.state != "running"]
        super().__init__(
            {name: parameter.distribution() for name, parameter in space.parameters.items()},
            metric=space.metric.name,
            mode=space.metric.mode,
            points_to_evaluate=[t.values for t in trials if t.state == "running"],
            sampler=build_sampler(space, len(ended)),
            study_name=space.question,
        )
        self._events = events
        for trial in ended:
            self._ot_study.add_trial(told_trial(trial, space))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        values: dict[str, Any] | None = super().suggest(trial_id)
        if values is not None:
            self._events.created(trial_id, dict(self._ot_trials[trial_id].params))
        return values

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        loss = result.get("token_loss", math.nan)
        if trial_id in self._ot_trials and math.isfinite(loss) and not result.get("finished"):
            self._ot_trials[trial_id].report(loss, int(result["samples"]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id not in self._ot_trials or trial_id in self._completed_trials:
            return
        state, score = verdict(result, error, self._metric)
        self._ot_study.tell(self._ot_trials[trial_id], score, state)
        self._completed_trials.add(trial_id)
        self._events.ended(trial_id, STATE_NAMES[state], score)


class _Scheduler(FIFOScheduler):
    """Passes reports on, and tells Tune what `Asha` decides."""

    def __init__(self, asha: Asha | None, events: SearchEvents) -> None:
        super().__init__()
        self._asha, self._events = asha, events

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "token_loss" not in result or result.get("finished"):
            return str(TrialScheduler.CONTINUE)
        beyond = self._events.reported(trial.trial_id, result)
        loss = result["token_loss"]
        goes_on = self._asha is None or self._asha.goes_on(trial.trial_id, beyond, loss)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Ends(tune.Callback):
    """Tells the ends of listed runs as they come."""

    def __init__(self, jobs: Sequence[Job], on_end: Callable[[Job, RunResult | str], None]) -> None:
        self._jobs, self._on_end = jobs, on_end

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(trial)

    def _tell(self, trial: Any) -> None:
        job = self._jobs[trial.config[_CONFIG]]
        reason = (trial.last_result or {}).get("reason") or "its process died"
        self._on_end(job, read_result(job.folder) or reason)
