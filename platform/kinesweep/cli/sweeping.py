"""A sweep from search space to bundle: search, finals, test score of the winner, export.

Validation ranks; test is scored once, for the winner, and noted in a ledger beside the store.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from kinesweep import __version__
from kinesweep.cli.output import say
from kinesweep.cli.workflows import LogOpener, extract_features, note_test, open_logs
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import flatten
from kinesweep.core.paths import state_home
from kinesweep.export import export_bundle, verify_bundle
from kinesweep.store import Store
from kinesweep.sweeps.outcome import Outcome
from kinesweep.sweeps.space import SearchSpace, load_space
from kinesweep.sweeps.sweep import Sweep, run_sweep, write_outcome
from kinesweep.tracking.factory import MlflowLogs
from kinesweep.tracking.runlog import RunName
from kinesweep.training.evaluate import evaluate_model, write_predictions


@dataclass(frozen=True)
class SweepDone:
    """A finished sweep.

    Attributes:
        outcome: what it found.
        folder: where it lives.
        bundle: the winner's.
        tracking: address of its experiment, or empty.
    """

    outcome: Outcome
    folder: Path
    bundle: Path
    tracking: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = asdict(self.outcome)
        return {
            **plain,
            "folder": str(self.folder),
            "bundle": str(self.bundle),
            "mlflow": self.tracking,
        }


def run_space(
    path: Path,
    overrides: Sequence[str],
    resume: bool = False,
    overwrite: bool = False,
    name: str | None = None,
    base: Path | None = None,
) -> SweepDone:
    """A sweep from a search space to a bundle."""
    space, recipe = load_space(path, overrides, base or Path.cwd())
    folder = claim_sweep(name or path.stem, resume=resume, overwrite=overwrite)
    store = extract_features(recipe)
    logs = open_logs(recipe, space.question, folder)
    whole = logs.open(RunName(str(folder), f"sweep {folder.name}"), folder)
    whole.params(sweep_facts(space, store))
    whole.dataset(recipe.name, store.fingerprint)
    try:
        opener = LogOpener(logs, recipe, parent=str(folder))
        outcome = run_sweep(Sweep(space, recipe, store, folder, opener, say))
        outcome = replace(outcome, test=test_winner(store, outcome))
        bundle = export_winner(outcome, store, state_home() / "exports" / folder.name)
        whole.artifact(write_outcome(folder, outcome))
        mean = outcome.ranking[0].mean
        whole.metrics({f"winner_{outcome.metric}": mean, **means(outcome.test)}, 0)
    except BaseException:
        whole.finish("failed")
        raise
    whole.finish("finished")
    logs.replay(folder)
    return SweepDone(outcome, folder, bundle, logs.uri if isinstance(logs, MlflowLogs) else "")


def export_winner(outcome: Outcome, store: Store, bundle: Path) -> Path:
    """The bundle of the winner's best seed, verified."""
    run = Path(outcome.winner_runs[0])
    test = outcome.test.get(run.name.rpartition("-s")[2])
    export_bundle(run, bundle, store, overwrite=True, test=test)
    texts = verify_bundle(bundle, store.folder)
    say(f"bundle verified: {texts} texts are the same in a fresh process")
    return bundle


def sweep_facts(space: SearchSpace, store: Store) -> dict[str, object]:
    """Parameters of a sweep's own run in MLflow."""
    asked = flatten(space.model_dump(mode="json", exclude_none=True))
    return {**asked, "store": store.fingerprint, "kinesweep": __version__}


def means(test: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean test scores over seeds, for the sweep's own run."""
    seeds = list(test.values())
    names = seeds[0] if seeds else {}
    return {f"test_{name}": sum(s[name] for s in seeds) / len(seeds) for name in names}


def claim_sweep(name: str, resume: bool, overwrite: bool) -> Path:
    """The folder of a sweep.

    Raises:
        InputError: it is there, and neither going on nor beginning again was asked for.
    """
    folder = state_home() / "sweeps" / name
    if folder.exists() and overwrite:
        shutil.rmtree(folder)
    if folder.exists() and not resume:
        raise InputError(
            f"the sweep `{name}` exists in `{folder}`; give `--resume` to go on with it or see its"
            " result, `--overwrite` to begin again, or another `--name`"
        )
    return folder


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


def ranking_table(outcome: Outcome) -> Table:
    """The ranking for a terminal."""
    table = Table("", outcome.metric, "95 %", "behind", "± seeds", "± sentences", "p", "seeds")
    for line in outcome.ranking:
        table.add_row(
            line.name,
            f"{line.mean:.2f}",
            f"{line.low:.1f}–{line.high:.1f}",
            f"{line.behind:.2f}",
            f"{line.seed_error:.2f}",
            f"{line.sentence_error:.2f}",
            "tie" if line.tied and line.behind > 0 else f"{line.p_value:.3g}",
            " ".join(f"{score:.1f}" for score in line.scores.values()),
        )
    for name, value in outcome.sanity.items():
        table.add_row(name, f"{value:.2f}", *[""] * 6)
    return table
