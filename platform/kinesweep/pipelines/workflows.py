"""The work behind the commands and jobs: extract features, train a run, find stores and folders.

The packages of one layer (sweeps, tracking, export) never import each other; this module passes the
results of one to the next.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kinesweep.checkpoints.model_dir_files import read_features
from kinesweep.config.loading import load
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.embedding import EmbeddingRecipe
from kinesweep.core.errors import InputError, StoreError
from kinesweep.core.hashing import flatten
from kinesweep.core.paths import state_home
from kinesweep.core.provenance import provenance
from kinesweep.core.run_logger import RunLogger
from kinesweep.core.scores import format_scores
from kinesweep.evaluation.wordnet import check_metrics
from kinesweep.pipelines import ray_cluster
from kinesweep.pipelines.progress import progress_bar
from kinesweep.store import Store, open_store
from kinesweep.tracking.backends import Tracker, resolve_tracking
from kinesweep.tracking.runlog import RunName
from kinesweep.training.run_records.result import RunResult, RunSpec

logger = logging.getLogger(__name__)

_GOLD = (
    "`context.generation` is gold: the model reads reference sentences as context, which are not"
    " available in use, so scores are too optimistic; on_the_fly reads the model's own sentences"
)


def load_recipe(path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Read a recipe and make its paths absolute, starting from the current folder.

    Raises:
        ConfigError: If the recipe is invalid; lists every problem.
        InputError: If a metric needs WordNet and it is not where the recipe says.
    """
    recipe = load(Recipe, path, overrides or ()).resolved(Path.cwd())
    check_metrics(recipe.evaluation)
    return recipe


def extract_features(recipe: Recipe) -> Store:
    """Extract the features of a recipe's corpus on Ray, or open the store if they exist.

    Prints the plan first; afterwards the dropped clips and the overlap of train with other splits.

    Raises:
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped or if there is too little disk space.
    """
    from kinesweep.sources import build_source
    from kinesweep.sources.splitting.split_overlap import overlaps
    from kinesweep.store.extraction.extract import extract
    from kinesweep.store.inspect.show import own_references

    if recipe.video_source is not None:
        from kinesweep.pipelines.pose_estimation import estimate_corpus

        estimate_corpus(recipe)
    ray_cluster.connect()
    with progress_bar("extract") as update:
        store = extract(recipe, progress=update, announce=lambda plan: logger.info(plan.text))
    if store.extraction is not None and not store.extraction.computed:
        logger.info(
            f"nothing to compute: {store.folder} already has all {store.extraction.reused} clips"
        )
    for reason, count in store_facts(store)["dropped"].items():
        logger.info(f"dropped {count}: {reason}")
    if own_references(store):
        logger.info(own_references(store))
    for line in overlaps(build_source(recipe.corpus)).leakage():
        logger.info(line)
    return store


def existing_store(recipe: Recipe) -> Store:
    """Open the store of a recipe whose features are already extracted.

    Raises:
        StoreError: If they are not extracted, or if the corpus has changed since.
    """
    from kinesweep.store.extraction.plan import describe_plan

    summary = describe_plan(recipe)
    if not summary.exists:
        raise StoreError(
            f"the features of `{recipe.name}` are not extracted; run `kinesweep extract` first"
        )
    return open_store(summary.folder)


def open_store_or_recipe(
    place: Path, overrides: Sequence[str] | None = None
) -> tuple[Store, Recipe | None]:
    """Open the store of a folder or of a recipe.

    Args:
        place: Feature store, or a recipe (by its suffix).
        overrides: Overrides of the recipe.

    Returns:
        The store, and the recipe if `place` is one.

    Raises:
        InputError: If `place` is neither, or if overrides are given for a store.
        StoreError: If there is no store or if it is damaged.
    """
    if place.suffix in {".yaml", ".yml"}:
        recipe = load_recipe(place, overrides)
        return existing_store(recipe), recipe
    if not place.is_dir():
        raise InputError(f"`{place}` is neither a feature store nor a recipe")
    if overrides:
        raise InputError(f"`{place}` is a feature store; overrides need a recipe")
    return open_store(place), None


def store_facts(store: Store) -> dict[str, Any]:
    """Return a summary of a store as plain values, for `--json`."""
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
    """Train one run on a `TorchTrainer` or in this process, with bit-identical results.

    Args:
        recipe: Recipe of the run.
        folder: Run folder; None: a folder named after recipe, data and seed.
        overwrite: Whether an existing run is removed; otherwise it is resumed.
        on_ray: Whether extraction and training use Ray.
    """
    from kinesweep.training.distributed.ray_train import train_on_ray
    from kinesweep.training.loop.run import train_run

    store = get_or_extract_features(recipe, on_ray)
    name = run_name(recipe, store)
    place = (folder or state_home() / "runs" / name).absolute()
    if overwrite:
        remove_run(place)
    spec = RunSpec(recipe, store.folder, place)
    logs = create_tracker(recipe, recipe.name, place)
    # A function that opens the log, not the log: on Ray, it is opened in the worker's process.
    open_log = partial(LogOpener(logs, recipe), place, name, "train", {})
    if on_ray:
        return train_on_ray(spec, open_log)
    return train_run(spec, open_log(), log_evaluation)


def write_untrained_model(recipe: Recipe, folder: Path | None, on_ray: bool) -> Path:
    """Write the untrained model that a run of the recipe starts from and return its folder.

    Args:
        recipe: Recipe of the run.
        folder: Output folder; None: a folder named after recipe, data and seed.
        on_ray: Whether extraction uses Ray.

    Raises:
        InputError: If the folder already exists.
    """
    from kinesweep.training.loop.run import write_first_model

    store = get_or_extract_features(recipe, on_ray)
    place = (folder or state_home() / "first" / run_name(recipe, store)).absolute()
    if place.exists():
        raise InputError(f"`{place}` already exists; pass another `--folder`")
    write_first_model(recipe, store, place)
    return place


def get_or_extract_features(recipe: Recipe, on_ray: bool) -> Store:
    """Return the recipe's features; extract them on Ray if they do not exist yet."""
    # `extract_features` opens an existing store too, and reports its dropped clips and overlap.
    if on_ray or not store_exists(recipe):
        return extract_features(recipe)
    return existing_store(recipe)


def run_name(recipe: Recipe, store: Store) -> str:
    """Return the name of a run: recipe, configuration hash and seed."""
    return f"{recipe.name}-{recipe.config_hash(store.fingerprint)}-s{recipe.training.seed}"


def create_tracker(recipe: Recipe, experiment: str, folder: Path) -> Tracker:
    """Return the tracker of runs, after sending the records that earlier commands left in a folder.

    Args:
        recipe: Recipe with the `tracking` setting.
        experiment: Name of the MLflow experiment.
        folder: Folder below which unsent records are looked for.
    """
    logs = resolve_tracking(recipe.tracking, state_home(), experiment)
    if logs.notice:
        logger.info(logs.notice)
    if recipe.context.reads_references:
        logger.info(_GOLD)
    waiting = logs.flush_pending(folder)
    if waiting:
        logger.info(f"{waiting} records in {folder} are waiting for the MLflow server")
    return logs


def remove_run(folder: Path) -> None:
    """Remove a run folder if it exists.

    Raises:
        InputError: If the folder is not a run folder.
    """
    # `--folder` may name anything; a folder without `run.json` must never be deleted.
    if folder.exists() and not (folder / "run.json").is_file():
        raise InputError(f"`{folder}` has no `run.json`, so it is not a run and is not removed")
    shutil.rmtree(folder, ignore_errors=True)


def log_evaluation(metrics: dict[str, float]) -> bool:
    """Print an evaluation of a run in this process; return True, so that the run continues."""
    at = [f"{name} {metrics[name]:,.0f}" for name in ("step", "samples") if name in metrics]
    scores = {name: value for name, value in metrics.items() if name not in ("step", "samples")}
    logger.info(f"{', '.join(at)}: {format_scores(scores)}")
    return True


def store_exists(recipe: Recipe) -> bool:
    """Return whether the recipe's features are extracted."""
    from kinesweep.store.extraction.plan import describe_plan

    return describe_plan(recipe).exists


def sweep_folder(name: str) -> Path:
    """Return the folder of a sweep.

    Raises:
        InputError: If there is no sweep of this name.
    """
    folder = state_home() / "sweeps" / name
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.glob("*")) or ["none"]
        raise InputError(f"there is no sweep `{name}`; existing sweeps: {', '.join(there)}")
    return folder


def model_folder(place: Path) -> Path:
    """Return the model folder of a run, or the folder itself for a model or a bundle."""
    return place / "best" if (place / "best").is_dir() else place


def find_training_store(place: Path, overrides: Sequence[str] = ()) -> Store:
    """Find the store that a model was trained on, by its fingerprint.

    Args:
        place: Folder of a run, a model or a bundle. The recipe of a bundle contains no paths.
        overrides: Overrides of its recipe, such as `store.root`.

    Raises:
        ConfigError: If an override is invalid.
        StoreError: If no store below `store.root` (default: the state folder) has the fingerprint.
    """
    wanted = read_features(model_folder(place))["store_fingerprint"]
    recipe = load(Recipe, model_folder(place) / "recipe.yaml", overrides)
    if not wanted:  # a model imported from another system, which had no store
        return existing_store(recipe)
    root = Path(recipe.store.root or state_home() / "stores")
    for manifest in sorted(root.glob("*/manifest.json")):
        try:
            store = open_store(manifest.parent)
        except StoreError:
            continue  # damaged, or written by another version; look at the other stores
        if store.fingerprint == wanted:
            return store
    raise StoreError(
        f"the features that `{place}` was trained on are not in `{root}`; pass `store.root=FOLDER`"
        " or run `kinesweep extract` with its recipe again"
    )


@dataclass(frozen=True)
class LogOpener:
    """A picklable function that opens the log of a run; it is sent to workers.

    Attributes:
        logs: Tracker that records the runs.
        recipe: Recipe whose parameters are logged for every run.
        parent: Key of the sweep's own run, or None for a single run.
    """

    logs: Tracker
    recipe: Recipe | EmbeddingRecipe
    parent: str | None = None

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the log of one run and log its parameters.

        Args:
            folder: Run folder, whose name ends in `-sSEED`.
            title: Display name of the run.
            phase: Phase of the run, such as `train`, `search` or `finals`.
            params: Swept parameters, which override those of the recipe.
        """
        config, _, seed = folder.name.rpartition("-s")
        plain = flatten(self.recipe.model_dump(mode="json"))
        # Paths and corpus settings differ between machines and are not hyperparameters.
        kept = {k: v for k, v in plain.items() if not k.startswith(("source.", "store."))}
        values = {**kept, **params, "training.seed": seed, "phase": phase}
        own = {"config_hash": config, "seed": seed, "phase": phase}
        tags = {**own, **{f"made_with.{name}": value for name, value in provenance().items()}}
        log = self.logs.open(RunName(str(folder), title, tags, self.parent), folder)
        log.params(values)
        return log
