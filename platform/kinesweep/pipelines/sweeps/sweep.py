"""Run a sweep from search space to bundle: search, finals, test score of the winner, export.

Configurations are ranked on validation. Test is scored once, for the winner only, and noted in a
ledger beside the store. Finished trials, runs and test scores are found in the sweep's folder, so
the same call resumes a sweep after an interruption.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.model_dir_files import read_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError, TrackingError
from kinesweep.core.hashing import flatten_mapping
from kinesweep.core.html_table import format_html_key_values
from kinesweep.core.paths import get_state_dir
from kinesweep.core.provenance import collect_provenance
from kinesweep.evaluation.evaluate import evaluate_model
from kinesweep.evaluation.predictions import write_predictions
from kinesweep.export import export_bundle, verify_bundle
from kinesweep.pipelines.extraction import extract_features
from kinesweep.pipelines.progress import show_sweep_progress
from kinesweep.pipelines.sweeps.model_registry import register_winner
from kinesweep.pipelines.sweeps.sweep_report import write_sweep_report
from kinesweep.pipelines.tracking import RunLogOpener, create_tracker
from kinesweep.store import Store
from kinesweep.store.format.test_set_ledger import count_test_evaluations, log_test_evaluation
from kinesweep.sweeps.feature_stores import extract_all_features
from kinesweep.sweeps.journal.journal import JOURNAL
from kinesweep.sweeps.journal.prometheus import iter_sweep_readings
from kinesweep.sweeps.journal.sweep_metadata import write_sweep_outcome
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.sweep import RunLoggerFactory, Sweep, record_test_scores, run_sweep
from kinesweep.tracking.backends import MlflowTracker
from kinesweep.tracking.runlog import RunIdentifiers
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
        tracking: Address of the MLflow server; empty if the sweep was not recorded.
    """

    outcome: SweepOutcome
    folder: Path
    bundle: Path
    report: Path
    tracking: str

    def _repr_html_(self) -> str:
        """Return the conclusion and the written files as HTML, which notebooks show."""
        files = {"folder": self.folder, "bundle": self.bundle, "report": self.report}
        return format_html_key_values(self.outcome.answer, files)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as values that JSON can represent."""
        outcome_dict = asdict(self.outcome)
        return {
            **outcome_dict,
            "folder": str(self.folder),
            "bundle": str(self.bundle),
            "report": str(self.report),
            "mlflow": self.tracking,
        }


@dataclass(frozen=True)
class SweepRequest:
    """A request to run a sweep.

    Attributes:
        path: File of the search space.
        overrides: Overrides of the space; those that begin with `recipe.` are for its recipe.
        name: Name of the sweep's folder and of its bundle.
        base: Folder that relative paths in the recipe start from.
        extend: Number of additional trials.
    """

    path: Path
    overrides: tuple[str, ...]
    name: str
    base: Path
    extend: int = 0


def run_requested_sweep(
    request: SweepRequest, resume: bool = False, overwrite: bool = False
) -> SweepResult:
    """Run a requested sweep in the state folder, from its search space to a bundle.

    Args:
        request: Sweep to run.
        resume: Whether an existing sweep may be continued.
        overwrite: Whether an existing sweep is removed first.

    Raises:
        InputError: If there is no sweep to extend, or if one exists that may not be continued.
    """
    space, recipe = load_space(request.path, request.overrides, request.base)
    state_dir = get_state_dir()
    # The journal is checked, not the folder: a sweep that failed before its search has a folder but
    # no trials to add to.
    if request.extend and not (state_dir / "sweeps" / request.name / JOURNAL).exists():
        raise InputError(f"there is no sweep `{request.name}` to extend; leave `--extend` out")
    folder = prepare_sweep_dir(
        state_dir / "sweeps" / request.name, resume=resume, overwrite=overwrite
    )
    return run_sweep_pipeline(
        folder, space, recipe, state_dir / "exports" / request.name, request.extend
    )


def run_sweep_pipeline(
    folder: Path,
    space: SearchSpace,
    recipe: Recipe,
    bundle: Path,
    extend: int = 0,
    open_log: RunLoggerFactory | None = None,
) -> SweepResult:
    """Run extraction, search, finals, test scoring, export and report in a sweep folder.

    Args:
        folder: Folder of the sweep.
        space: Search space.
        recipe: Recipe to which the values of the space are applied.
        bundle: Output folder for the winner's bundle.
        extend: Number of additional trials.
        open_log: Opens the log of each run; None: as `recipe.tracking` specifies.
    """
    stores = extract_all_features(space, recipe, extract_features)
    tracker = create_tracker(recipe, space.question, folder)
    # The sweep has an MLflow run of its own, which is the parent of the runs that it trains.
    sweep_log = tracker.open_run_logger(RunIdentifiers(str(folder), f"sweep {folder.name}"), folder)
    sweep_log.log_params(collect_sweep_params(space, stores.base))
    sweep_log.log_dataset(recipe.name, stores.base.fingerprint)
    try:
        # Runs of a sweep use the resources of the space, so these are what their logs must show.
        logged_recipe = recipe.model_copy(update={"resources": space.resources})
        opener = open_log or RunLogOpener(tracker, logged_recipe, parent=str(folder))
        with export_gauges(partial(iter_sweep_readings, folder)), show_sweep_progress(folder):
            outcome = run_sweep(Sweep(space, recipe, stores, folder, opener, logger.info), extend)
        store = stores.get_store(read_recipe(Path(outcome.winner_runs[0]) / "best"))
        # Test comes after the ranking, so it cannot influence the choice. It is noted in the
        # journal, so that a search that is extended later is reported as having seen test.
        outcome = add_test_scores(outcome, store)
        record_test_scores(folder, outcome.test)
        export_winner(outcome, store, bundle)
        # `result.json` is written after the bundle, so a sweep with a result also has a bundle. The
        # report is built from files, among them this one.
        sweep_log.log_artifact(write_sweep_outcome(folder, outcome))
        page = write_sweep_report(folder)
        sweep_log.log_artifact(page.parent)
        mean = outcome.ranking[0].mean
        sweep_log.log_metrics(
            {f"winner_{outcome.metric}": mean, **compute_mean_test_metrics(outcome.test)}, 0
        )
    except BaseException:
        # Including KeyboardInterrupt: otherwise the run would appear as running forever.
        sweep_log.finish("failed")
        raise
    sweep_log.finish("finished")
    # Now that all writers have ended, send what they could not send while the server was down.
    tracker.flush_pending(folder)
    uri = tracker.uri if isinstance(tracker, MlflowTracker) else ""
    if isinstance(tracker, MlflowTracker):
        _try_register_winner(tracker, folder, recipe, outcome, store, bundle)
    return SweepResult(outcome, folder, bundle, page, uri)


def _try_register_winner(
    tracker: MlflowTracker,
    folder: Path,
    recipe: Recipe,
    outcome: SweepOutcome,
    store: Store,
    bundle: Path,
) -> None:
    """Register the winner; if the server cannot be reached, print how to do it later."""
    try:
        protocol = recipe.evaluation.protocol_config
        message = register_winner(tracker, folder, recipe.name, outcome, store, bundle, protocol)
    except TrackingError as error:
        message = f"not registered: {error}. `kinesweep sweep … --resume` tries again"
    logger.info(f"registry  {message}")


def export_winner(outcome: SweepOutcome, store: Store, bundle: Path) -> Path:
    """Export the best seed of the winner as a bundle and verify it; return the bundle's folder."""
    # `winner_runs` is sorted by validation score.
    run = Path(outcome.winner_runs[0])
    test = outcome.test.get(run.name.rpartition("-s")[2])
    export_bundle(
        run, bundle, store, overwrite=True, test=test, facts=_summarize_for_model_card(outcome)
    )
    texts = verify_bundle(bundle, store.folder, run)
    logger.info(f"bundle verified: {texts} texts are identical in a fresh process")
    return bundle


def _summarize_for_model_card(outcome: SweepOutcome) -> dict[str, str]:
    """Summarize the sweep for the model card; the score to quote is the mean over seeds."""
    best, trials = outcome.ranking[0], sum(outcome.trials.values())
    seeds = ", ".join(map(str, best.scores))
    return {
        "seeds": f"trained with {seeds}; this model is the one with the best validation score",
        f"validation {outcome.metric}, mean over seeds": f"{best.mean:.2f}"
        f" [{best.low:.2f}, {best.high:.2f}], 95 %",
        "chosen from": f"{trials} trials and {len(outcome.ranking)} configurations in the finals",
        "question": outcome.question,
    }


def collect_sweep_params(space: SearchSpace, store: Store) -> dict[str, object]:
    """Collect the parameters that are logged to the sweep's own MLflow run."""
    space_params = flatten_mapping(space.model_dump(mode="json", exclude_none=True))
    return {**space_params, "store": store.fingerprint, **collect_provenance()}


def compute_mean_test_metrics(test: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Compute the mean test scores over seeds, as metrics of the sweep's own MLflow run."""
    seeds = list(test.values())
    names = seeds[0] if seeds else {}
    return {f"test_{name}": sum(s[name] for s in seeds) / len(seeds) for name in names}


def prepare_sweep_dir(folder: Path, resume: bool, overwrite: bool) -> Path:
    """Prepare the folder of a sweep, removing an existing one if requested, and return it.

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


def add_test_scores(outcome: SweepOutcome, store: Store) -> SweepOutcome:
    """Add the winner's test scores to an outcome, with a note on how often test was scored."""
    test = evaluate_winner_on_test(store, outcome)
    if not test:
        return outcome
    note = f"Test has been scored {count_test_evaluations(store)} times on these features so far."
    return replace(outcome, test=test, notes=[*outcome.notes, note])


def evaluate_winner_on_test(store: Store, outcome: SweepOutcome) -> dict[str, dict[str, float]]:
    """Evaluate the winner's seeds on test; each run is scored and counted only once.

    Returns:
        Seed → metric → score; empty if the corpus has no test split.
    """
    if "test" not in store.splits:
        return {}
    scores = {}
    for run in map(Path, outcome.winner_runs):
        # Written last: if it exists, the texts and the ledger's line exist too, and a resumed sweep
        # neither decodes nor counts this run again.
        scores_path = run / "test.json"
        if not scores_path.exists():
            evaluation = evaluate_model(run / "best", store, "test")
            write_predictions(run / "predictions" / "test.tsv", evaluation.predictions)
            log_test_evaluation(store, str(run), evaluation.scores)
            scores_path.write_text(json.dumps(evaluation.scores), encoding="utf-8")
        scores[run.name.rpartition("-s")[2]] = json.loads(scores_path.read_text(encoding="utf-8"))
    return scores
