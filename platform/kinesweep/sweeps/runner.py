"""Runs on Ray Tune: each trial's driver starts a `TorchTrainer` and takes no core itself.

Two calls: `search` lets Optuna propose and ASHA prune, `train_all` trains a fixed list. Both bound
the runs in flight by what the cluster holds, computed before the first one starts: a driver that
waits for workers which can never be placed would wait for ever. The trial driver asks for one byte
of memory, since Tune refuses a request for nothing and a fraction of a core breaks packing.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
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
from kinesweep.training.result import RunResult, RunSpec

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


def search(
    space: SearchSpace,
    trials: Sequence[Trial],
    make_job: MakeJob,
    events: "SearchEvents",
    scratch: Path,
    train: Train = train_job,
) -> None:
    """Runs what is left of a search.

    Args:
        space: the question.
        trials: what the journal knows.
        make_job: swept values → run.
        events: told what happens, in this process.
        scratch: for Tune's own files.
        train: trains a job and reports by `tune.report`.
    """
    ended = sum(trial.state != "running" for trial in trials)
    if space.search.trials <= ended:
        return
    policy = _policy(space, trials, make_job)
    _run(
        partial(_search_trial, make_job, train),
        space.resources,
        scratch,
        num_samples=space.search.trials - ended,
        search_alg=_Searcher(space, trials, events),
        scheduler=_AshaScheduler(policy, events) if policy else FIFOScheduler(),
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


@dataclass(frozen=True)
class SearchEvents:
    """Whom a search tells: each proposal, each report, each end; by Tune's trial id."""

    created: Callable[[str, dict[str, Any]], None]
    reported: Callable[[str, Mapping[str, Any]], None]
    ended: Callable[[str, str, float | None], None]


def _run(trainable: Any, resources: ResourcesConfig, scratch: Path, **rest: Any) -> Any:
    """One Tune experiment."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    param_space = rest.pop("param_space", None)
    callbacks = rest.pop("callbacks", None)
    in_flight = concurrency(resources)
    if isinstance(rest.get("search_alg"), OptunaSearch):
        rest["search_alg"] = tune.search.ConcurrencyLimiter(rest["search_alg"], in_flight)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 0, "memory": 1}),
        param_space=param_space,
        tune_config=tune.TuneConfig(max_concurrent_trials=in_flight, **rest)
        if "search_alg" not in rest
        else tune.TuneConfig(**rest),
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
    plain = json.dumps({**asdict(result), "folder": str(result.folder)}, default=str)
    tune.report(
        {
            "finished": result.status == "finished",
            "step": result.step,
            "samples": result.samples,
            **result.scores,
            "result": plain,
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


class _AshaScheduler(FIFOScheduler):
    """Tells Tune what `Asha` decides."""

    def __init__(self, policy: "_WarmAsha", events: SearchEvents) -> None:
        super().__init__()
        self._policy, self._events = policy, events

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "token_loss" not in result or result.get("finished"):
            return str(TrialScheduler.CONTINUE)
        self._events.reported(trial.trial_id, result)
        goes_on = self._policy(trial.trial_id, trial.config, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


@dataclass
class _WarmAsha:
    """ASHA beyond each trial's own warm-up."""

    asha: Asha
    make_job: MakeJob

    def __call__(self, trial: str, config: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
        warmup = self.make_job(dict(config)).recipe.training.warmup_steps
        share = min(1.0, warmup / max(1, result["step"]))
        beyond = result["samples"] * (1 - share)
        return self.asha.goes_on(trial, beyond, result["token_loss"])


def _policy(
    space: SearchSpace, trials: Sequence[Trial], make_job: MakeJob
) -> _WarmAsha | None:
    """The pruning of a search, with what the journal's trials had reached."""
    if space.scheduler.kind == "none":
        return None
    return _WarmAsha(Asha(_grace(space, make_job), space.scheduler.reduction), make_job)


def _grace(space: SearchSpace, make_job: MakeJob) -> float:
    raise AssertionError("set by the driver")


class _Ends(tune.Callback):
    """Tells the ends of listed runs as they come."""

    def __init__(self, jobs: Sequence[Job], on_end: Callable[[Job, RunResult | str], None]) -> None:
        self._jobs, self._on_end = jobs, on_end

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(trial)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._tell(trial)

    def _tell(self, trial: Any) -> None:
        last = trial.last_result or {}
        job = self._jobs[trial.config[_CONFIG]]
        if "result" in last:
            self._on_end(job, RunResult.from_json(json.loads(last["result"])))
        else:
            self._on_end(job, last.get("reason") or str(trial.error_file or "its process died"))
