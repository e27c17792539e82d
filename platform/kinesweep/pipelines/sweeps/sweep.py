"""Sweeps for commands: search, finals, test scores and bundle of the winner, and the report.

Configurations are ranked on validation. Test is scored once, for the winner only, and noted in a
ledger beside the store. Finished trials, runs and test scores are found in the sweep's folder, so
the same call resumes a sweep after an interruption.
"""

import logging
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kinesweep.config.any_recipe import AnyRecipe, get_corpus_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError, TrainingError
from kinesweep.core.hashing import flatten_mapping
from kinesweep.core.html_table import format_html_key_values
from kinesweep.core.paths import get_state_dir
from kinesweep.core.provenance import collect_provenance
from kinesweep.core.run_logger import RunLogger
from kinesweep.evaluation.metrics.preflight import check_metrics
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.progress import show_sweep_progress
from kinesweep.pipelines.sweeps.sweep_lock import check_sweep_name, lock_sweep
from kinesweep.pipelines.sweeps.sweep_report import write_sweep_report
from kinesweep.pipelines.sweeps.winner import (
    compute_mean_test_metrics,
    finish_winner,
    try_register_winner,
)
from kinesweep.pipelines.tracking import RunLogOpener, check_trackers, create_tracker
from kinesweep.store import Store
from kinesweep.sweeps.feature_stores import extract_all_features
from kinesweep.sweeps.job_factory import RunLoggerFactory
from kinesweep.sweeps.journal.journal import JOURNAL, build_trials, read_journal
from kinesweep.sweeps.journal.prometheus import iter_sweep_readings
from kinesweep.sweeps.results.failures import explain_failed_trials
from kinesweep.sweeps.results.outcome_file import write_sweep_outcome
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.storage import check_study_driver
from kinesweep.sweeps.sweep import Sweep, run_sweep
from kinesweep.tracking.backends import MlflowTracker
from kinesweep.tracking.places import find_recorded_places
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.training.run_records.prometheus import export_gauges

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepResult:
    """The result of a finished sweep.

    Attributes:
        outcome: Ranking, scores and conclusion.
        folder: Folder of the sweep.
        bundle: Folder of the winner's bundle.
        report: Path of the report's page.
        tracking: Address of the MLflow server; empty if the sweep was not recorded there.
        places: Tracker → address, or command that shows or uploads the runs.
    """

    outcome: SweepOutcome
    folder: Path
    bundle: Path
    report: Path
    tracking: str
    places: dict[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """Return the conclusion and the paths of the results as HTML, which notebooks show."""
        paths = {"folder": self.folder, "bundle": self.bundle, "report": self.report}
        return format_html_key_values(self.outcome.answer, paths)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome, the paths and the server's address as values for JSON."""
        return {
            **asdict(self.outcome),
            "folder": str(self.folder),
            "bundle": str(self.bundle),
            "report": str(self.report),
            "mlflow": self.tracking,
            "trackers": self.places,
        }


@dataclass(frozen=True)
class SweepRequest:
    """A request to run a sweep.

    Attributes:
        path: File of the search space.
        overrides: Overrides of the space; those that begin with `recipe.` are for its recipe.
        name: Name of the sweep's folder and of its bundle.
        base: Folder that relative paths in the recipe start from.
        num_extra_trials: Number of additional trials.
    """

    path: Path
    overrides: tuple[str, ...]
    name: str
    base: Path
    num_extra_trials: int = 0

    def __post_init__(self) -> None:
        """Check the name, which is that of a folder that `--overwrite` removes."""
        check_sweep_name(self.name)


def run_requested_sweep(
    request: SweepRequest, resume: bool = False, overwrite: bool = False
) -> SweepResult:
    """Run or resume a requested sweep in the state folder, from its search space to the report.

    Args:
        request: Sweep to run.
        resume: Whether an existing sweep may be continued.
        overwrite: Whether an existing sweep is removed first.

    Raises:
        ConfigError: If the search space or its recipe is invalid.
        InputError: If there is no sweep to extend, if one exists that may not be continued, or if
            another process runs it.
        KinesweepError: If `run_sweep_pipeline` raises it.
    """
    space, recipe = load_space(request.path, request.overrides, request.base)
    state_dir = get_state_dir()
    # The journal is checked, not the folder: a sweep that failed before its search has a folder but
    # no trials to add to.
    if request.num_extra_trials and not (state_dir / "sweeps" / request.name / JOURNAL).exists():
        raise InputError(f"there is no sweep `{request.name}` to extend; leave `--extend` out")
    folder, bundle = (state_dir / kind / request.name for kind in ("sweeps", "exports"))
    with lock_sweep(request.name):
        prepare_sweep_dir(folder, resume=resume, overwrite=overwrite)
        return run_sweep_pipeline(folder, space, recipe, bundle, request.num_extra_trials)


def run_sweep_pipeline(
    folder: Path,
    space: SearchSpace,
    recipe: AnyRecipe,
    bundle: Path,
    num_extra_trials: int = 0,
    open_log: RunLoggerFactory | None = None,
) -> SweepResult:
    """Run or resume a sweep in a folder, from the extraction of features to the report.

    The winner is scored on test, exported as a bundle and, with MLflow, registered. Logs what
    `extract_features` and `create_tracker` log, the events of search and finals, the verification
    of the bundle and the decision about the registered model.

    Args:
        folder: Folder of the sweep.
        space: Search space.
        recipe: Recipe to which the values of the space are applied.
        bundle: Output folder for the winner's bundle, or for its weights in pretraining.
        num_extra_trials: Number of additional trials.
        open_log: Function that opens the log of each run; None: as `recipe.tracking` specifies.

    Raises:
        CheckpointError: If the folder contains another sweep.
        InputError: If the pose estimator, its videos or a file of a metric is missing.
        ResourceError: If a run does not fit in the cluster, or if its files do not fit on disk.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped, if there is too little disk space, or if the
            stores of a search over features differ in their validation or test clips.
        TrackingError: If a tracker that the recipe names cannot be used.
        TrainingError: If no configuration finished on two seeds of the finals.
        BundleError: If the bundle generates other texts than the winner.
    """
    check_trackers(recipe.tracking)
    check_study_driver(space.study_storage)
    stores = extract_all_features(
        space, recipe, lambda tuned: extract_features(get_corpus_recipe(tuned))
    )
    if isinstance(recipe, Recipe):
        # Otherwise every trial would fail with the same error.
        check_metrics(recipe.evaluation, stores.base, set(stores.base.splits) - {"train"})
    tracker = create_tracker(get_corpus_recipe(recipe), space.question, folder)
    # The sweep is itself a tracked run, the parent of the runs that it trains.
    sweep_log = tracker.open_run_logger(_identify_sweep(folder, space), folder)
    sweep_log.log_params(collect_sweep_params(space, stores.base))
    sweep_log.log_dataset(recipe.name, stores.base.fingerprint)
    try:
        # Runs of a sweep use the resources of the space, so these are what their logs must show.
        logged_recipe = recipe.model_copy(update={"resources": space.resources})
        opener = open_log or RunLogOpener(tracker, logged_recipe, parent=str(folder))
        with export_gauges(partial(iter_sweep_readings, folder)), show_sweep_progress(folder):
            outcome = run_sweep(
                Sweep(space, recipe, stores, folder, opener, logger.info), num_extra_trials
            )
        outcome = finish_winner(outcome, recipe, stores, folder, bundle)
        page = _write_results(folder, outcome, sweep_log)
    except BaseException:
        # Including KeyboardInterrupt: otherwise the run would appear as running forever.
        sweep_log.finish("failed")
        raise
    sweep_log.finish("finished")
    # Now that all writers have ended, send what they could not send while the server was down.
    tracker.flush_pending(folder)
    mlflow = next((each for each in tracker.members if isinstance(each, MlflowTracker)), None)
    places = find_recorded_places(folder).commands if tracker.members else {}
    if mlflow is None:
        return SweepResult(outcome, folder, bundle, page, "", places)
    try_register_winner(mlflow, folder, recipe, outcome, stores, bundle)
    return SweepResult(outcome, folder, bundle, page, mlflow.uri, {"MLflow": mlflow.uri, **places})


def raise_if_search_failed(result: SweepResult) -> None:
    """Raise an error if all trials of a sweep's search failed; its report has been written.

    The finals of such a sweep hold the untuned recipe alone, so a ranking exists, but the question
    of the sweep is not answered.

    Raises:
        TrainingError: If the search had trials and all of them failed.
    """
    if result.outcome.has_failed_search:
        reasons = explain_failed_trials(build_trials(read_journal(result.folder)))
        raise TrainingError(
            f"{reasons}. Only the untuned recipe was trained, see `{result.report}`; correct the"
            " search space and run the sweep again with `--overwrite`"
        )


def _write_results(folder: Path, outcome: SweepOutcome, sweep_log: RunLogger) -> Path:
    """Write the outcome and the report of a sweep, and log both with the winner's scores.

    Args:
        folder: Folder of the sweep.
        outcome: Result of the sweep, whose winner has been exported.
        sweep_log: Log of the tracked run that stands for the sweep.

    Returns:
        Path of the report's page.
    """
    # `result.json` is written after the bundle, so a sweep with a result also has a bundle. The
    # report is built from files, among them this one.
    sweep_log.log_artifact(write_sweep_outcome(folder, outcome))
    page = write_sweep_report(folder)
    sweep_log.log_artifact(page.parent)
    winner_metrics = {f"winner_{outcome.metric}": outcome.ranking[0].mean}
    sweep_log.log_metrics({**winner_metrics, **compute_mean_test_metrics(outcome.test)}, 0)
    return page


def _identify_sweep(folder: Path, space: SearchSpace) -> RunIdentifiers:
    """Return the identity of the tracked run that stands for a sweep."""
    types = {
        name: _classify_values(parameter.bounds_or_choices)
        for name, parameter in space.searched_parameters.items()
    }
    objectives = tuple(objective.name for objective in space.objectives)
    title = f"sweep {folder.name}"
    return RunIdentifiers(str(folder), title, objectives=objectives, swept_params=types)


def _classify_values(values: Iterable[object]) -> str:
    """Return `flag` for Boolean values, `number` for numbers, and otherwise `text`."""
    if all(isinstance(value, bool) for value in values):
        return "flag"
    is_number = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    return "number" if is_number else "text"


def collect_sweep_params(space: SearchSpace, store: Store) -> dict[str, object]:
    """Collect the settings of the space, the store's fingerprint and the provenance of a sweep.

    They are the parameters of the tracked run that stands for the sweep.
    """
    space_params = flatten_mapping(space.model_dump(mode="json", exclude_none=True))
    return {**space_params, "store": store.fingerprint, **collect_provenance()}


def prepare_sweep_dir(folder: Path, resume: bool, overwrite: bool) -> Path:
    """Check that a sweep may use a folder, remove its content if requested, and return the folder.

    The folder is not created.

    Args:
        folder: Folder of the sweep.
        resume: Whether an existing sweep may be continued.
        overwrite: Whether an existing sweep is removed.

    Raises:
        InputError: If the folder exists and neither `resume` nor `overwrite` is set.
    """
    if folder.exists() and overwrite:
        shutil.rmtree(folder)
    if folder.exists() and not resume:
        raise InputError(
            f"the sweep `{folder.name}` already exists in `{folder}`; pass `--resume` to continue"
            " it or to see its result, `--overwrite` to start again, or another `--name`"
        )
    return folder
