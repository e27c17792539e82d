"""A sweep from search space to bundle: search, finals, test score of the winner, export.

Validation ranks; test is scored once, for the winner, and noted in a ledger beside the store.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kinesweep.cli.crowning import register_winner
from kinesweep.cli.display import sweep_display
from kinesweep.cli.output import say
from kinesweep.cli.reporting import report_sweep
from kinesweep.cli.workflows import LogOpener, extract_features, open_logs
from kinesweep.core.errors import InputError, TrackingError
from kinesweep.core.hashing import flatten
from kinesweep.core.paths import state_home
from kinesweep.core.provenance import provenance
from kinesweep.core.recipe import Recipe
from kinesweep.export import export_bundle, verify_bundle
from kinesweep.store import Store
from kinesweep.store.ledger import count_tests, note_test
from kinesweep.sweeps.gauges import sweep_readings
from kinesweep.sweeps.journal import JOURNAL
from kinesweep.sweeps.loading import load_space
from kinesweep.sweeps.outcome import Outcome
from kinesweep.sweeps.record import write_outcome
from kinesweep.sweeps.space import SearchSpace
from kinesweep.sweeps.stores import extract_all
from kinesweep.sweeps.sweep import OpenRunLog, Sweep, note_tested, run_sweep
from kinesweep.tracking.factory import MlflowLogs
from kinesweep.tracking.runlog import RunName
from kinesweep.training.evaluate import evaluate_model
from kinesweep.training.gauges import showing
from kinesweep.training.model_files import read_recipe
from kinesweep.training.predictions import write_predictions


@dataclass(frozen=True)
class SweepDone:
    """A finished sweep.

    Attributes:
        outcome: what it found.
        folder: where it lives.
        bundle: the winner's.
        report: the page.
        tracking: address of its experiment, or empty.
    """

    outcome: Outcome
    folder: Path
    bundle: Path
    report: Path
    tracking: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = asdict(self.outcome)
        return {
            **plain,
            "folder": str(self.folder),
            "bundle": str(self.bundle),
            "report": str(self.report),
            "mlflow": self.tracking,
        }


@dataclass(frozen=True)
class Order:
    """Which sweep is asked for.

    Attributes:
        path: the search space.
        overrides: of the space, and under `recipe.` of its recipe.
        name: of the sweep's folder and bundle.
        base: folder that the recipe's paths start at.
        extend: further trials.
    """

    path: Path
    overrides: tuple[str, ...]
    name: str
    base: Path
    extend: int = 0


def run_space(order: Order, resume: bool = False, overwrite: bool = False) -> SweepDone:
    """A sweep from a search space to a bundle.

    Raises:
        InputError: there is nothing to extend, or something that nobody asked to go on with.
    """
    space, recipe = load_space(order.path, order.overrides, order.base)
    home = state_home()
    # One that failed before its search has a folder, but nothing to extend.
    if order.extend and not (home / "sweeps" / order.name / JOURNAL).exists():
        raise InputError(f"there is no sweep `{order.name}` to extend; leave `--extend` out")
    folder = claim_sweep(home / "sweeps" / order.name, resume=resume, overwrite=overwrite)
    return run_in(folder, space, recipe, home / "exports" / order.name, order.extend)


def run_in(
    folder: Path,
    space: SearchSpace,
    recipe: Recipe,
    bundle: Path,
    extend: int = 0,
    open_log: OpenRunLog | None = None,
) -> SweepDone:
    """Extraction, search, finals, test, bundle, in a folder that is the sweep's.

    Args:
        folder: the sweep's.
        space: the question.
        recipe: of whom it is asked.
        bundle: folder of the winner's.
        extend: further trials.
        open_log: of each run; default: as the recipe says.
    """
    stores = extract_all(space, recipe, extract_features)
    logs = open_logs(recipe, space.question, folder)
    whole = logs.open(RunName(str(folder), f"sweep {folder.name}"), folder)
    whole.params(sweep_facts(space, stores.base))
    whole.dataset(recipe.name, stores.base.fingerprint)
    try:
        used = recipe.model_copy(update={"resources": space.resources})
        opener = open_log or LogOpener(logs, used, parent=str(folder))
        with showing(partial(sweep_readings, folder)), sweep_display(folder):
            outcome = run_sweep(Sweep(space, recipe, stores, folder, opener, say), extend)
        store = stores.of(read_recipe(Path(outcome.winner_runs[0]) / "best"))
        outcome = with_test(outcome, store)
        note_tested(folder, outcome.test)
        export_winner(outcome, store, bundle)
        whole.artifact(write_outcome(folder, outcome))
        page = report_sweep(folder)
        whole.artifact(page.parent)
        mean = outcome.ranking[0].mean
        whole.metrics({f"winner_{outcome.metric}": mean, **means(outcome.test)}, 0)
    except BaseException:
        whole.finish("failed")
        raise
    whole.finish("finished")
    logs.replay(folder)
    uri = logs.uri if isinstance(logs, MlflowLogs) else ""
    if isinstance(logs, MlflowLogs):
        _register(logs, folder, recipe, outcome, store, bundle)
    return SweepDone(outcome, folder, bundle, page, uri)


def _register(
    logs: MlflowLogs, folder: Path, recipe: Recipe, outcome: Outcome, store: Store, bundle: Path
) -> None:
    """Registers the winner; a server that is away does not cost the sweep its result."""
    try:
        protocol = recipe.evaluation.treatment
        told = register_winner(logs, folder, recipe.name, outcome, store, bundle, protocol)
    except TrackingError as error:
        told = f"not now: {error}. `kinesweep sweep … --resume` does it"
    say(f"registry  {told}")


def export_winner(outcome: Outcome, store: Store, bundle: Path) -> Path:
    """The bundle of the winner's best seed, verified."""
    run = Path(outcome.winner_runs[0])
    test = outcome.test.get(run.name.rpartition("-s")[2])
    export_bundle(run, bundle, store, overwrite=True, test=test, facts=_standing(outcome))
    texts = verify_bundle(bundle, store.folder, run)
    say(f"bundle verified: {texts} texts are the same in a fresh process")
    return bundle


def _standing(outcome: Outcome) -> dict[str, str]:
    """What the card says of the sweep: the figure to quote is the mean over seeds."""
    best, trials = outcome.ranking[0], sum(outcome.trials.values())
    seeds = ", ".join(map(str, best.scores))
    return {
        "seeds": f"trained on {seeds}; this is the one that was best on validation",
        f"validation {outcome.metric}, mean over seeds": f"{best.mean:.2f}"
        f" [{best.low:.2f}, {best.high:.2f}], 95 %",
        "chosen from": f"{trials} trials and {len(outcome.ranking)} configurations in the finals",
        "question": outcome.question,
    }


def sweep_facts(space: SearchSpace, store: Store) -> dict[str, object]:
    """Parameters of a sweep's own run in MLflow."""
    asked = flatten(space.model_dump(mode="json", exclude_none=True))
    return {**asked, "store": store.fingerprint, **provenance()}


def means(test: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean test scores over seeds, for the sweep's own run."""
    seeds = list(test.values())
    names = seeds[0] if seeds else {}
    return {f"test_{name}": sum(s[name] for s in seeds) / len(seeds) for name in names}


def claim_sweep(folder: Path, resume: bool, overwrite: bool) -> Path:
    """The folder of a sweep.

    Raises:
        InputError: it is there, and neither going on nor beginning again was asked for.
    """
    if folder.exists() and overwrite:
        shutil.rmtree(folder)
    if folder.exists() and not resume:
        raise InputError(
            f"the sweep `{folder.name}` exists in `{folder}`; give `--resume` to go on with it or"
            " see its result, `--overwrite` to begin again, or another `--name`"
        )
    return folder


def with_test(outcome: Outcome, store: Store) -> Outcome:
    """The outcome with the winner's test scores, and how often test was scored by now."""
    test = test_winner(store, outcome)
    if not test:
        return outcome
    note = f"Test was scored {count_tests(store)} times by now on these features."
    return replace(outcome, test=test, notes=[*outcome.notes, note])


def test_winner(store: Store, outcome: Outcome) -> dict[str, dict[str, float]]:
    """Test scores of the winner's seeds; scored once, and noted in the ledger."""
    if "test" not in store.splits:
        return {}
    scores = {}
    for run in map(Path, outcome.winner_runs):
        noted = run / "test.json"
        if not noted.exists():
            found = evaluate_model(run / "best", store, "test")
            write_predictions(run / "predictions" / "test.tsv", found.predictions)
            note_test(store, str(run), found.scores)
            noted.write_text(json.dumps(found.scores), encoding="utf-8")
        scores[run.name.rpartition("-s")[2]] = json.loads(noted.read_text(encoding="utf-8"))
    return scores
