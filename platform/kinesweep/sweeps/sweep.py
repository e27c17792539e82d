"""A sweep from search to winner, as its journal tells it.

Every step first looks at what the journal and the run folders hold; so going on after any death is
the same call again. Runs lie in `runs/CONFIG-sSEED` and resume from their own checkpoints.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from kinesweep.core.errors import CheckpointError, ResourceError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import RunLog
from kinesweep.core.units import format_bytes
from kinesweep.store import Store
from kinesweep.sweeps import runner
from kinesweep.sweeps.finals import Finalist, choose
from kinesweep.sweeps.journal import Journal, Trial
from kinesweep.sweeps.outcome import Outcome, judge
from kinesweep.sweeps.schedule import Asha
from kinesweep.sweeps.space import SearchSpace, apply
from kinesweep.training.result import RunResult, read_result

RUNS = "runs"
Say = Callable[[str], None]


class OpenRunLog(Protocol):
    """Opens a run's log by what is known of it; picklable."""

    def __call__(self, folder: Path, title: str, phase: str, params: Mapping[str, Any]) -> RunLog:
        """The log of one run."""


@dataclass(frozen=True)
class Sweep:
    """All that a sweep is made of.

    Attributes:
        space: the question.
        recipe: of whom it is asked.
        store: the features.
        folder: where it lives.
        open_log: of each run.
        say: told what happens, a line each.
        train: trains one job; replaced in tests.
    """

    space: SearchSpace
    recipe: Recipe
    store: Store
    folder: Path
    open_log: OpenRunLog
    say: Say
    train: runner.Train = runner.train_job

    @property
    def identity(self) -> str:
        """Hash of space, recipe and data: what must be equal to go on."""
        recipe = self.recipe.config_hash(self.store.fingerprint)
        asked = self.space.model_dump(mode="json", exclude={"search": {"trials"}, "recipe": True})
        return fingerprint({"space": asked, "recipe": recipe})

    def job(self, recipe: Recipe, phase: str, values: Mapping[str, Any]) -> runner.Job:
        """One run; the same configuration and seed is the same folder."""
        config = recipe.config_hash(self.store.fingerprint)
        folder = self.folder / RUNS / f"{config}-s{recipe.training.seed}"
        title = f"{phase} {config} s{recipe.training.seed}"
        log = partial(self.open_log, folder, title, phase, dict(values))
        return runner.Job(recipe, self.store.folder, folder, phase != "search", log)


def run_sweep(sweep: Sweep) -> Outcome:
    """Runs a sweep, or what is left of it, up to its ranking.

    Raises:
        CheckpointError: the folder holds another sweep, or no trial was finished.
        ResourceError: a run does not fit in the cluster, or its files on the disk.
    """
    runner.concurrency(sweep.space.resources)
    journal = Journal(sweep.folder)
    try:
        if journal.begin(sweep.identity, sweep.space.question):
            sweep.say(f"going on with the sweep in {sweep.folder}")
        _search(sweep, journal)
        finalists = choose(sweep.space, sweep.recipe, journal.trials())
        if not any(finalist.ranked for finalist in finalists):
            raise CheckpointError(_nothing(journal.trials()))
        results = _finals(sweep, journal, finalists)
        outcome = judge(sweep.space, sweep.store, finalists, results, journal.trials())
        journal.add("ranked", winner=outcome.winner)
        return outcome
    finally:
        journal.close()


def search_seeded(recipe: Recipe, seed: int, values: Mapping[str, Any]) -> Recipe:
    """The recipe of a search trial."""
    return apply(recipe, dict(values)).with_seed(seed)


@dataclass(frozen=True)
class _MakeJob:
    """Swept values → search run; crosses to Tune's processes without the sweep's callbacks."""

    recipe: Recipe
    seed: int
    sweep: Sweep

    def __call__(self, values: dict[str, Any]) -> runner.Job:
        recipe = search_seeded(self.recipe, self.seed, values)
        return self.sweep.job(recipe, "search", values)

    def __getstate__(self) -> dict[str, Any]:
        plain = {k: v for k, v in vars(self.sweep).items() if k != "say"}
        return {"recipe": self.recipe, "seed": self.seed, "sweep": Sweep(**plain, say=_silent)}


def _silent(_: str) -> None:
    """Says nothing: only the driver speaks."""


@dataclass
class _Watcher:
    """Writes what a search tells into the journal, with the journal's trial numbers."""

    sweep: Sweep
    journal: Journal
    make_job: _MakeJob
    numbers: dict[str, int] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def events(self) -> runner.SearchEvents:
        return runner.SearchEvents(self.created, self.reported, self.ended)

    def created(self, trial: str, values: dict[str, Any]) -> None:
        """A proposal; one that an earlier driver left running keeps its number."""
        known = self.journal.trials()
        again = [t for t in known if t.state == "running" and t.values == values]
        number = again[0].number if again else len(known)
        self.numbers[trial], self.values[trial] = number, values
        if not again:
            config = self.make_job(values).recipe.config_hash(self.sweep.store.fingerprint)
            self.journal.add("trial_created", trial=number, values=values, config=config)
        self.sweep.say(f"trial {number}: {_shown(values)}")

    def reported(self, trial: str, result: Mapping[str, Any]) -> float:
        """An evaluation; answers the samples beyond the trial's warm-up."""
        warmup = self.make_job(self.values[trial]).recipe.training.warmup_steps
        share = max(0.0, 1 - warmup / max(1, result["step"]))
        beyond = float(result["samples"] * share)
        facts = {"samples": result["samples"], "beyond": beyond, "token_loss": result["token_loss"]}
        self.journal.add("trial_reported", trial=self.numbers[trial], **facts)
        return beyond

    def ended(self, trial: str, state: str, score: float | None) -> None:
        """An end."""
        number = self.numbers[trial]
        self.journal.add("trial_ended", trial=number, state=state, score=score)
        name = self.sweep.space.metric.name
        self.sweep.say(f"trial {number}: {state}" + (f", {name} {score:.2f}" if score else ""))


def _search(sweep: Sweep, journal: Journal) -> None:
    """The search, or what is left of it."""
    space, trials = sweep.space, journal.trials()
    make_job = _MakeJob(sweep.recipe, space.search.seed, sweep)
    asha = None
    if space.scheduler.kind == "asha":
        grace = space.scheduler.grace_evaluations * _samples_per_evaluation(sweep)
        asha = Asha(grace, space.scheduler.reduction)
        for trial in trials:
            for beyond, loss in sorted(trial.losses.items()):
                asha.goes_on(f"journal {trial.number}", beyond, loss)
    watcher = _Watcher(sweep, journal, make_job)
    scratch = sweep.folder / "tune"
    runner.search(space, trials, make_job, asha, watcher.events(), scratch, sweep.train)
    for trial in journal.trials():
        if trial.state == "pruned" and trial.number in watcher.numbers.values():
            # Its worker was killed in mid-run and could not end its own record.
            make_job(trial.values).open_log().finish("pruned")


def _samples_per_evaluation(sweep: Sweep) -> float:
    """Clips seen from one evaluation to the next under the recipe's own settings."""
    batch, training = sweep.recipe.batch, sweep.recipe.training
    clips = batch.clips
    if clips is None:
        lengths = [sum(r.lengths.values()) for r in sweep.store.records("train")]
        clips = max(1, (batch.max_frames or 4096) * len(lengths) // max(1, sum(lengths)))
    steps = training.eval_steps * training.gradient_accumulation_steps
    return float(clips * steps * sweep.space.resources.workers)


def _finals(
    sweep: Sweep, journal: Journal, finalists: Sequence[Finalist]
) -> dict[str, list[RunResult]]:
    """Trains every finalist on its seeds. Returns finalist → its results."""
    owners: dict[Path, str] = {}
    jobs = []
    for finalist in finalists:
        for seed in finalist.seeds:
            phase = "finals" if finalist.ranked else "sanity"
            job = sweep.job(finalist.recipe.with_seed(seed), phase, finalist.values)
            owners.setdefault(job.folder, finalist.name)
            jobs.append(job)
    wanted = {job.folder: job for job in jobs}
    missing = [job for folder, job in wanted.items() if not _finished(folder)]
    _check_disk(sweep, len(missing))
    sweep.say(f"finals: {len(wanted)} runs, {len(wanted) - len(missing)} of them finished before")

    def on_end(job: runner.Job, result: RunResult | str) -> None:
        name, run = owners[job.folder], job.folder.name
        if isinstance(result, str) or result.status != "finished":
            why = result if isinstance(result, str) else result.reason
            journal.add("run_failed", run=run, finalist=name, reason=why)
            sweep.say(f"{name} ({run}): failed, {why}")
            return
        journal.add("run_finished", run=run, finalist=name, scores=result.scores)
        shown = ", ".join(f"{k} {v:.2f}" for k, v in result.scores.items())
        sweep.say(f"{name} seed {job.recipe.training.seed}: {shown}")

    scratch = sweep.folder / "tune"
    for _ in range(2):  # once more for what failed
        runner.train_all(missing, sweep.space.resources, on_end, scratch, sweep.train)
        missing = [job for job in missing if not _finished(job.folder)]
    return {
        finalist.name: [
            result
            for seed in finalist.seeds
            if (result := _result(sweep, finalist, seed)) is not None
        ]
        for finalist in finalists
    }


def _result(sweep: Sweep, finalist: Finalist, seed: int) -> RunResult | None:
    job = sweep.job(finalist.recipe.with_seed(seed), "finals", finalist.values)
    result = read_result(job.folder)
    return result if result is not None and result.status == "finished" else None


def _finished(folder: Path) -> bool:
    result = read_result(folder)
    return result is not None and result.status == "finished"


def _check_disk(sweep: Sweep, num_runs: int) -> None:
    """What the finals will leave on disk, against the recipe's bound; a best model each."""
    done = list((sweep.folder / RUNS).glob("*/best/model.safetensors"))
    one = max((p.stat().st_size for p in done), default=0)
    bound = sweep.recipe.checkpoints.max_disk_bytes
    if one * (num_runs + len(done)) > bound:
        raise ResourceError(
            f"{num_runs} more runs leave {format_bytes(one * (num_runs + len(done)))} of models,"
            f" more than `checkpoints.max_disk` ({format_bytes(bound)}); raise it"
        )


def _nothing(trials: Sequence[Trial]) -> str:
    states = {t.state for t in trials}
    return f"none of {len(trials)} trials was finished ({', '.join(sorted(states))}); see the logs"


def _shown(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name.rpartition('.')[2]}={value:.3g}"
        if isinstance(value, float)
        else f"{name.rpartition('.')[2]}={value}"
        for name, value in values.items()
    )


def write_outcome(folder: Path, outcome: Outcome) -> Path:
    """Writes `result.json` of a sweep, in one step."""
    path = folder / "result.json"
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(asdict(outcome), indent=1, default=str), encoding="utf-8")
    beside.replace(path)
    return path
