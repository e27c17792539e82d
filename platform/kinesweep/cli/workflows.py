"""What verbs and jobs do, as columns of steps.

The floors beside each other (sweeps, tracking, export) never import one another; this module hands
one's results to the next.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kinesweep.cli import cluster
from kinesweep.cli.output import progress, say
from kinesweep.core.config import load
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.hashing import flatten
from kinesweep.core.paths import state_home
from kinesweep.core.provenance import provenance
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.embedding import EmbeddingRecipe
from kinesweep.core.runlog import RunLog
from kinesweep.core.scores import format_scores
from kinesweep.store import Store, open_store
from kinesweep.tracking.factory import RunLogs, resolve_tracking
from kinesweep.tracking.runlog import RunName
from kinesweep.training.model_files import read_features
from kinesweep.training.result import RunResult, RunSpec
from kinesweep.training.wordnet import check_metrics

_GOLD = (
    "`context.generation` is gold: scores stand on the references of the sentences before each"
    " clip, which no model has in use, and flatter; on_the_fly reads the model's own"
)


def load_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Reads a recipe; its paths become absolute, from the current folder.

    Raises:
        ConfigError: with every problem.
        InputError: no WordNet where it says.
    """
    recipe = load(Recipe, path, overrides or ()).resolved(Path.cwd())
    check_metrics(recipe.evaluation)
    return recipe


def extract_features(recipe: Recipe) -> Store:
    """Extracts the recipe's corpus on Ray, or finds it extracted; says what is done first.

    Then it says what train shares with the splits that are scored.

    Raises:
        SourceError: the corpus is faulty as a whole.
        StoreError: too many clips dropped, or too little disk.
    """
    from kinesweep.sources import build_source
    from kinesweep.sources.checks import overlaps
    from kinesweep.store.extract import extract
    from kinesweep.store.show import own_references

    if recipe.films is not None:
        from kinesweep.cli.estimates import estimate_corpus

        estimate_corpus(recipe)
    cluster.connect()
    with progress("extract") as update:
        store = extract(recipe, progress=update, announce=lambda plan: say(plan.text))
    if store.extraction is not None and not store.extraction.computed:
        say(f"nothing to compute: {store.extraction.reused} clips are in {store.folder}")
    for reason, count in store_facts(store)["dropped"].items():
        say(f"dropped {count}: {reason}")
    if own_references(store):
        say(own_references(store))
    for line in overlaps(build_source(recipe.corpus)).leakage():
        say(line)
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
        "own_references": store.own_references,
        "computed": done.computed if done else None,
        "reused": done.reused if done else None,
    }


def train_recipe(recipe: Recipe, folder: Path | None, overwrite: bool, on_ray: bool) -> RunResult:
    """Trains one run: on a `TorchTrainer`, or in this process; the bits are the same."""
    from kinesweep.training.distributed import train_on_ray
    from kinesweep.training.run import train_run

    store = features_of(recipe, on_ray)
    name = run_name(recipe, store)
    place = (folder or state_home() / "runs" / name).absolute()
    if overwrite:
        remove_run(place)
    spec = RunSpec(recipe, store.folder, place)
    logs = open_logs(recipe, recipe.name, place)
    open_log = partial(LogOpener(logs, recipe), place, name, "train", {})
    if on_ray:
        return train_on_ray(spec, open_log)
    return train_run(spec, open_log(), say_evaluation)


def train_nothing(recipe: Recipe, folder: Path | None, on_ray: bool) -> Path:
    """Writes the model that a run of the recipe begins with; returns its folder.

    Raises:
        InputError: the folder is there already.
    """
    from kinesweep.training.run import write_first_model

    store = features_of(recipe, on_ray)
    place = (folder or state_home() / "first" / run_name(recipe, store)).absolute()
    if place.exists():
        raise InputError(f"`{place}` is there already; give another `--folder`")
    write_first_model(recipe, store, place)
    return place


def features_of(recipe: Recipe, on_ray: bool) -> Store:
    """The recipe's features, extracted where that is still to be done (on Ray)."""
    if on_ray or not store_exists(recipe):
        return extract_features(recipe)
    return existing_store(recipe)


def run_name(recipe: Recipe, store: Store) -> str:
    """Names a run by its identity."""
    return f"{recipe.name}-{recipe.config_hash(store.fingerprint)}-s{recipe.training.seed}"


def open_logs(recipe: Recipe, experiment: str, folder: Path) -> RunLogs:
    """Where runs are recorded; sends what an earlier command could not, and says what to mind."""
    logs = resolve_tracking(recipe.tracking, state_home(), experiment)
    if logs.notice:
        say(logs.notice)
    if recipe.context.reads_references:
        say(_GOLD)
    waiting = logs.replay(folder)
    if waiting:
        say(f"{waiting} records of {folder} wait for the MLflow server")
    return logs


def remove_run(folder: Path) -> None:
    """Removes a run folder, and nothing else.

    Raises:
        InputError: the folder is something else.
    """
    if folder.exists() and not (folder / "run.json").is_file():
        raise InputError(f"`{folder}` is not a run folder and is not removed")
    shutil.rmtree(folder, ignore_errors=True)


def say_evaluation(metrics: dict[str, float]) -> bool:
    """Says an evaluation of a run in this process; the run goes on."""
    at = [f"{name} {metrics[name]:,.0f}" for name in ("step", "samples") if name in metrics]
    scores = {name: value for name, value in metrics.items() if name not in ("step", "samples")}
    say(f"{', '.join(at)}: {format_scores(scores)}")
    return True


def store_exists(recipe: Recipe) -> bool:
    """Whether the recipe's features are extracted."""
    from kinesweep.store.plan import describe_plan

    return describe_plan(recipe).exists


def sweep_folder(name: str) -> Path:
    """The folder of a sweep.

    Raises:
        InputError: there is none of this name.
    """
    folder = state_home() / "sweeps" / name
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("*")) or ["none"]
        raise InputError(f"there is no sweep `{name}`; there is: {', '.join(there)}")
    return folder


def model_folder(place: Path) -> Path:
    """The model of a run folder, a model folder or a bundle."""
    return place / "best" if (place / "best").is_dir() else place


def store_of(place: Path, overrides: Sequence[str] = ()) -> Store:
    """The store that a model was trained on, found by its fingerprint.

    Args:
        place: the model; a bundle's recipe knows no folders.
        overrides: of its recipe, such as `store.root`.

    Raises:
        ConfigError: an override is wrong.
        StoreError: it is not where the recipe says, nor in the state folder.
    """
    wanted = read_features(model_folder(place))["store_fingerprint"]
    recipe = load(Recipe, model_folder(place) / "recipe.yaml", overrides)
    if not wanted:  # a model of another system, which knew of no store
        return existing_store(recipe)
    root = Path(recipe.store.root or state_home() / "stores")
    for manifest in sorted(root.glob("*/manifest.json")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            continue  # a damaged store, or one of another version, is not the one
        if store.fingerprint == wanted:
            return store
    raise StoreError(
        f"the features that `{place}` was trained on are not in `{root}`; give `store.root=FOLDER`,"
        " or run `kinesweep extract` with its recipe again"
    )


@dataclass(frozen=True)
class LogOpener:
    """Opens the log of a run by what a sweep knows of it; crosses to workers.

    Attributes:
        logs: where runs are recorded.
        recipe: whose parameters every run shows.
        parent: key of the sweep's own run.
    """

    logs: RunLogs
    recipe: Recipe | EmbeddingRecipe
    parent: str | None = None

    def __call__(self, folder: Path, title: str, phase: str, params: Mapping[str, Any]) -> RunLog:
        """The log of one run; the swept keys lie over the recipe's own."""
        config, _, seed = folder.name.rpartition("-s")
        plain = flatten(self.recipe.model_dump(mode="json"))
        kept = {k: v for k, v in plain.items() if not k.startswith(("source.", "store."))}
        values = {**kept, **params, "training.seed": seed, "phase": phase}
        own = {"config_hash": config, "seed": seed, "phase": phase}
        tags = {**own, **{f"made_with.{name}": value for name, value in provenance().items()}}
        log = self.logs.open(RunName(str(folder), title, tags, self.parent), folder)
        log.params(values)
        return log
