"""A sweep from search to winner.

Every step first checks what the journal and the run folders hold, so resuming after any crash is
the same call again. Runs are in `runs/CONFIG-sSEED` and resume from their own checkpoints.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.core.errors import CheckpointError, ResourceError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.paths import directory_size
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.units import format_bytes
from kinesweep.sweeps.feature_stores import Stores
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.journal.run_folders import RUNS, run_name
from kinesweep.sweeps.journal.sweep_metadata import Record, write_record
from kinesweep.sweeps.results.rounds import Rounds, publish_during_search
from kinesweep.sweeps.results.sweep_result import SweepOutcome, summarize
from kinesweep.sweeps.search.ask_tell import RunRequest, SweepPolicy
from kinesweep.sweeps.search.budget import Budget, Spent
from kinesweep.sweeps.search.finals import Finalist, Finals, final_runs, select_finalists
from kinesweep.sweeps.search.samples_per_eval import evaluation_samples
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.sweeps.space.parameter import Values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.workers import tune_runner
from kinesweep.training.run_records.result import RunResult, read_finished

Say = Callable[[str], None]


class OpenRunLog(Protocol):
    """A picklable function that opens the log of a run."""

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the log of one run."""


class Runner(Protocol):
    """An executor of policies; see `tune_runner.Runner`."""

    @property
    def slots(self) -> int:
        """Number of runs at a time."""

    def drive(self, policy: SweepPolicy, make_job: tune_runner.MakeJob) -> None:
        """Execute an policy until it is over."""


OpenRunner = Callable[[ResourcesConfig, Path], AbstractContextManager[Runner]]


@dataclass(frozen=True)
class MakeJob:
    """A factory that turns requests into runs.

    Attributes:
        recipe: Recipe that the proposed values override.
        stores: Feature stores.
        folder: Folder of the sweep.
        open_log: Function that opens the log of a run.
    """

    recipe: Recipe
    stores: Stores
    folder: Path
    open_log: OpenRunLog

    def __call__(self, request: RunRequest) -> tune_runner.Job:
        """Build a run; equal configurations and seeds share a run folder."""
        recipe = apply_overrides(self.recipe, request.values).with_seed(request.seed)
        store = self.stores.of(recipe)
        config = recipe.config_hash(store.fingerprint)
        folder = self.folder / RUNS / run_name(config, request.seed)
        title = f"{request.phase} {config} s{request.seed}"
        log = partial(self.open_log, folder, title, request.phase, dict(request.values))
        # Search runs are scored as during training; only the others decode all of validation.
        full = request.phase != "search"
        return tune_runner.Job(recipe, store.folder, folder, full, log, self.folder.name)


@dataclass(frozen=True)
class Sweep:
    """The parts of a sweep.

    Attributes:
        space: The search space.
        recipe: Recipe that the sweep tunes.
        stores: Feature stores.
        folder: Folder of the sweep.
        open_log: Function that opens the log of a run.
        on_message: Function that receives progress messages, one line each.
        open_runner: Function that opens the executor of runs; replaced in tests.
    """

    space: SearchSpace
    recipe: Recipe
    stores: Stores
    folder: Path
    open_log: OpenRunLog
    on_message: Say
    open_runner: OpenRunner = tune_runner.Runner

    @property
    def identity(self) -> str:
        """Hash of space, recipe and data, which must be equal to resume."""
        # Budget and number of trials may change between sessions, and so may the recipe's path.
        asked = self.space.model_dump(
            mode="json", exclude={"recipe": True, "budget": True, "search": {"trials"}}
        )
        known: dict[str, Any] = {"space": asked, "recipe": self.config_of(self.recipe)}
        if len(self.stores.others) > 1:
            known["stores"] = self.stores.fingerprints
        return fingerprint(known)

    @property
    def make_job(self) -> MakeJob:
        """The factory of this sweep's runs."""
        return MakeJob(self.recipe, self.stores, self.folder, self.open_log)

    def config_of(self, recipe: Recipe) -> str:
        """Return the hash of a recipe's configuration and data."""
        return recipe.config_hash(self.stores.of(recipe).fingerprint)

    def run_folder(self, values: Values, seed: int) -> Path:
        """Return the folder of a run."""
        config = self.config_of(apply_overrides(self.recipe, values))
        return self.folder / RUNS / run_name(config, seed)


def run_sweep(sweep: Sweep, extend: int = 0) -> SweepOutcome:
    """Run a sweep, or the rest of it, up to its ranking.

    Args:
        sweep: Sweep to run.
        extend: Number of trials to add to those of the space and of earlier extensions.

    Raises:
        CheckpointError: If the folder holds another sweep, or no trial finished.
        ResourceError: If a run does not fit in the cluster, or its files do not fit on disk.
    """
    with sweep.open_runner(sweep.space.resources, sweep.folder / "tune") as running:
        # Opened after the runner: a run that cannot fit in the cluster leaves no journal behind.
        journal = Journal(sweep.folder)
        try:
            return _run(sweep, journal, running, extend)
        finally:
            journal.close()


def _run(sweep: Sweep, journal: Journal, running: Runner, extend: int) -> SweepOutcome:
    """Run search, finals and ranking."""
    if journal.begin(sweep.identity, sweep.space.question):
        sweep.on_message(f"resuming the sweep in {sweep.folder}")
    # Written before the search, so that the table of a sweep in progress can be built.
    write_record(sweep.folder, Record(sweep.space, sweep.recipe, sweep.stores.base.folder))
    _search(sweep, journal, running, extend)
    finalists = select_finalists(sweep.space, sweep.recipe, journal.trials)
    if not any(finalist.ranked for finalist in finalists):
        raise CheckpointError(_nothing(journal.trials))
    results = _finals(sweep, journal, running, finalists)
    protocol = sweep.recipe.evaluation.protocol_config
    outcome = summarize(sweep.space, sweep.stores.base, finalists, results, journal, protocol)
    journal.add("ranked", winner=outcome.winner)
    # Weights are removed only after the ranking is on record; a crash here repeats this step.
    _drop_search_weights(sweep, journal)
    return outcome


def note_tested(folder: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Record that test was scored: everything searched afterwards may depend on it."""
    if scores:
        journal = Journal(folder)
        journal.add("tested", scores=scores)
        journal.close()


def _search(sweep: Sweep, journal: Journal, running: Runner, extend: int) -> None:
    """Run the search, or the rest of it."""
    space = _extended(sweep.space, journal, extend)
    journal.add("search_started", trials=space.search.trials)
    probable = space.finalists.count + space.baseline
    budget = Budget(space.budget, space.resources, running.slots, probable * len(space.final_seeds))
    facts = SearchContext(
        recipe=sweep.recipe,
        config_of=sweep.config_of,
        evaluation_samples=evaluation_samples(sweep.recipe, sweep.stores.base, space.resources),
        budget=budget,
        disk_bytes=lambda: directory_size(sweep.folder / RUNS),
        model_bytes=lambda: _model_bytes(sweep.folder),
        on_message=sweep.on_message,
        trial_ended=lambda: publish_during_search(space, journal, sweep.folder, sweep.on_message),
    )
    running.drive(SearchPolicy(space, facts, journal), sweep.make_job)


def _extended(space: SearchSpace, journal: Journal, extend: int) -> SearchSpace:
    """Return the space with the trials of all extensions so far."""
    if extend and space.search.trials is None:
        raise ResourceError("a full grid cannot be extended: it contains all combinations already")
    if extend:
        journal.add("extended", trials=extend)
    more = sum(e["trials"] for e in journal.events if e["event"] == "extended")
    trials = None if space.search.trials is None else space.search.trials + more
    return space.model_copy(update={"search": space.search.model_copy(update={"trials": trials})})


def _finals(
    sweep: Sweep,
    journal: Journal,
    running: Runner,
    finalists: Sequence[Finalist],
) -> dict[str, list[RunResult]]:
    """Train every finalist on its seeds, and return finalist → results."""
    wanted = final_runs(finalists, lambda values, seed: sweep.run_folder(values, seed).name)
    missing = [run for run in wanted if read_finished(sweep.folder / RUNS / run.run) is None]
    _check_disk(sweep, len(missing))
    rounds = _rounds(sweep, journal, finalists)
    if missing:
        rounds.publish()
    sweep.on_message(f"finals: {len(wanted)} runs, {len(wanted) - len(missing)} already finished")
    journal.add("finals_started", runs=len(wanted), missing=len(missing))
    # Nothing needs to be reserved any more, hence 0 final runs.
    budget = Budget(sweep.space.budget, sweep.space.resources, running.slots, 0)

    def used_up() -> bool:
        return budget.is_exhausted(Spent(journal.hours(), journal.run_seconds() / 3600, 0, 0))

    objectives = [metric.name for metric in sweep.space.objectives]
    finals = Finals(missing, journal, used_up, sweep.on_message, rounds.publish, objectives)
    running.drive(finals, sweep.make_job)
    return {
        finalist.name: [
            result
            for seed in finalist.seeds
            if (result := read_finished(sweep.run_folder(finalist.values, seed))) is not None
        ]
        for finalist in finalists
    }


def _rounds(sweep: Sweep, journal: Journal, finalists: Sequence[Finalist]) -> Rounds:
    """Build the publisher of provisional rankings during the finals."""
    return Rounds(
        space=sweep.space,
        store=sweep.stores.base,
        protocol=sweep.recipe.evaluation.protocol_config,
        folder=sweep.folder,
        journal=journal,
        finalists=finalists,
        run_folder=sweep.run_folder,
        on_message=sweep.on_message,
    )


def _drop_search_weights(sweep: Sweep, journal: Journal) -> None:
    """Remove the weights of search runs, which the finals do not use; their results stay."""
    for trial in journal.trials:
        folder = sweep.folder / RUNS / run_name(trial.config, sweep.space.search.seed)
        for name in ("best", "checkpoints"):
            shutil.rmtree(folder / name, ignore_errors=True)


def _check_disk(sweep: Sweep, num_runs: int) -> None:
    """Check that the best models of all final runs fit within the recipe's `max_disk`."""
    needed = _model_bytes(sweep.folder) * num_runs + directory_size(sweep.folder / RUNS)
    if needed > sweep.recipe.checkpoints.max_disk_bytes:
        raise ResourceError(
            f"with {num_runs} more runs the run folders need {format_bytes(needed)}, more than"
            f" `checkpoints.max_disk` ({sweep.recipe.checkpoints.max_disk}); raise it"
        )


def _model_bytes(folder: Path) -> int:
    """Return the size of the largest saved model; runs may replace theirs meanwhile."""
    runs = os.listdir(folder / RUNS) if (folder / RUNS).is_dir() else []
    return max((directory_size(folder / RUNS / run / "best") for run in runs), default=0)


def _nothing(trials: Sequence[Trial]) -> str:
    """Explain why there are no finalists."""
    reasons = {t.reason for t in trials if t.reason}
    states = ", ".join(sorted({t.state for t in trials}))
    shown = f": {'; '.join(sorted(reasons)[:3])}" if reasons else "; see the logs"
    return f"none of {len(trials)} trials was finished ({states}){shown}"
