"""What verbs and jobs do, as columns of steps.

The floors beside each other (sweeps, tracking, export) never import one another; this module hands
one's results to the next.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from kinesweep import __version__
from kinesweep.cli import cluster
from kinesweep.cli.output import progress, say
from kinesweep.core.config import load
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.hashing import flatten
from kinesweep.core.paths import state_home
from kinesweep.core.recipe import Recipe
from kinesweep.core.runlog import RunLog
from kinesweep.export import export_bundle, verify_bundle
from kinesweep.store import Store, open_store
from kinesweep.sweeps.outcome import Outcome
from kinesweep.sweeps.space import SearchSpace, load_space
from kinesweep.sweeps.sweep import Sweep, run_sweep, write_outcome
from kinesweep.tracking.factory import MlflowLogs, RunLogs, resolve_tracking
from kinesweep.tracking.runlog import RunName
from kinesweep.training.evaluate import Evaluation, evaluate_model, write_predictions
from kinesweep.training.model_folder import read_model_folder
from kinesweep.training.result import RunResult, RunSpec


def load_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Reads a recipe; its paths become absolute, from the current folder.

    Raises:
        ConfigError: with every problem.
    """
    return load(Recipe, path, overrides or ()).resolved(Path.cwd())


def extract_features(recipe: Recipe) -> Store:
    """Extracts the recipe's corpus on Ray, or finds it extracted; says what is done first.

    Raises:
        SourceError: the corpus is faulty as a whole.
        StoreError: too many clips dropped, or too little disk.
    """
    from kinesweep.store.extract import extract

    cluster.connect()
    with progress("extract") as update:
        store = extract(recipe, progress=update, announce=lambda plan: say(plan.text))
    for reason, count in store_facts(store)["dropped"].items():
        say(f"dropped {count}: {reason}")
    return store


def existing_store(recipe: Recipe) -> Store:
    """The recipe's store, which must have been extracted.

    Raises:
        StoreError: it was not, or the corpus has changed since.
    """
    from kinesweep.store.plan import describe_plan

    summary = describe_plan(recipe)
    if not summary.exists:
        raise StoreError(
            f"the features of `{recipe.name}` are not extracted; run `kinesweep extract` first"
        )
    return open_store(summary.folder)


def store_facts(store: Store) -> dict[str, Any]:
    """A store in plain values, for `--json`."""
    done = store.extraction
    return {
        "store": str(store.folder),
        "fingerprint": store.fingerprint,
        "clips": {split: len(store.records(split)) for split in store.splits},
        "widths": store.schema.widths,
        "dropped": store.manifest["dropped"]["reasons"],
        "computed": done.computed if done else None,
        "reused": done.reused if done else None,
    }


def train_recipe(recipe: Recipe, folder: Path | None, overwrite: bool, on_ray: bool) -> RunResult:
    """Trains one run: on a `TorchTrainer`, or in this process; the bits are the same."""
    from kinesweep.training.distributed import train_on_ray
    from kinesweep.training.run import train_run

    if on_ray or not store_exists(recipe):
        store = extract_features(recipe)
    else:
        store = existing_store(recipe)
    config = recipe.config_hash(store.fingerprint)
    name = f"{recipe.name}-{config}-s{recipe.training.seed}"
    place = (folder or state_home() / "runs" / name).absolute()
    spec = RunSpec(recipe, store.folder, place, overwrite=overwrite)
    logs = LogOpener(resolve_tracking(recipe.tracking, state_home(), recipe.name), recipe)
    open_log = partial(logs, place, name, "train", {})
    with heard() as report:
        if on_ray:
            return train_on_ray(spec, open_log)
        return train_run(spec, open_log(), report)


def store_exists(recipe: Recipe) -> bool:
    """Whether the recipe's features are extracted."""
    from kinesweep.store.plan import describe_plan

    return describe_plan(recipe).exists


def model_folder(place: Path) -> Path:
    """The model of a run folder, a model folder or a bundle."""
    return place / "best" if (place / "best").is_dir() else place


def store_of(place: Path) -> Store:
    """The store that a model was trained on, found by its fingerprint.

    Raises:
        StoreError: it is not in the state folder, nor where the recipe says.
    """
    folder = read_model_folder(model_folder(place))
    wanted = folder.features["store_fingerprint"]
    root = Path(folder.recipe.store.root or state_home() / "stores")
    for manifest in sorted(root.glob("*/manifest.json")):
        store = open_store(manifest.parent)
        if store.fingerprint == wanted:
            return store
    raise StoreError(
        f"the features that `{place}` was trained on are not in `{root}`; run"
        f" `kinesweep extract {place}/recipe.yaml` again"
    )


def evaluate_folder(
    place: Path, split: str, overrides: Sequence[str], out: Path | None
) -> Evaluation:
    """Scores a model on a split; scoring test is noted in the store's ledger.

    Raises:
        ConfigError: an override is wrong.
    """
    folder = model_folder(place)
    store = store_of(place)
    recipe = load(Recipe, folder / "recipe.yaml", overrides)
    found = evaluate_model(folder, store, split, recipe.generation, recipe.evaluation)
    if split == "test":
        note_test(store, str(place), found.scores)
    if out is not None:
        write_predictions(out, found.predictions)
        say(f"predictions {out}")
    return found


def note_test(store: Store, what: str, scores: Mapping[str, float]) -> None:
    """Adds a dated line to the ledger of test scorings that lies beside a store."""
    line = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "what": what, **scores}
    with store.folder.with_suffix(".test.jsonl").open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class LogOpener:
    """Opens the log of a run by what a sweep knows of it; crosses to workers.

    Attributes:
        logs: where runs are recorded.
        recipe: whose parameters every run shows.
        parent: key of the sweep's own run.
    """

    logs: RunLogs
    recipe: Recipe
    parent: str | None = None

    def __call__(self, folder: Path, title: str, phase: str, params: Mapping[str, Any]) -> RunLog:
        """The log of one run; the swept keys lie over the recipe's own."""
        config, _, seed = folder.name.rpartition("-s")
        plain = flatten(self.recipe.model_dump(mode="json"))
        kept = {k: v for k, v in plain.items() if not k.startswith(("source.", "store."))}
        values = {**kept, **params, "training.seed": seed, "phase": phase}
        tags = {"config_hash": config, "seed": seed, "phase": phase}
        log = self.logs.open(RunName(str(folder), title, tags, self.parent), folder)
        log.params(values)
        return log


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
    logs = resolve_tracking(recipe.tracking, state_home(), space.question)
    opener = LogOpener(logs, recipe, parent=str(folder))
    whole = logs.open(RunName(str(folder), f"sweep {folder.name}"), folder)
    whole.params(sweep_facts(space, store))
    whole.dataset(recipe.name, store.fingerprint)
    outcome = run_sweep(Sweep(space, recipe, store, folder, opener, say))
    outcome = replace(outcome, test=test_winner(store, outcome))
    bundle = state_home() / "exports" / folder.name
    run = Path(outcome.winner_runs[0])
    test = outcome.test.get(run.name.rpartition("-s")[2])
    export_bundle(run, bundle, store, overwrite=True, title=recipe.name, test=test)
    texts = verify_bundle(bundle, store.folder)
    say(f"bundle verified: {texts} texts are the same in a fresh process")
    whole.artifact(write_outcome(folder, outcome))
    whole.metrics({f"winner_{outcome.metric}": outcome.ranking[0].mean, **means(outcome.test)}, 0)
    whole.finish("finished")
    return SweepDone(outcome, folder, bundle, logs.uri if isinstance(logs, MlflowLogs) else "")


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


@contextmanager
def heard() -> Iterator[Callable[[dict[str, float]], bool]]:
    """Says each evaluation of a run in this process."""

    def report(metrics: dict[str, float]) -> bool:
        say("  ".join(f"{name} {value:.6g}" for name, value in metrics.items()))
        return True

    yield report
