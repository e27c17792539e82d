"""The public API: what the commands do, as functions that return results.

`import kinesweep as ks` loads none of it; each function imports what it needs when it is called.
Messages go to the logger `kinesweep`; `show_progress` prints them with progress bars, as the
command line does. Paths may be strings. Errors are those of `kinesweep.core.errors`, all of which
derive from `KinesweepError`.

Example:
    >>> import kinesweep as ks
    >>> recipe = ks.load_recipe("recipe.yaml", ["training.max_steps=4"])
    >>> ks.check(recipe).problems
    []
    >>> store = ks.extract(recipe, on_ray=False)
    >>> result = ks.train(recipe, "run", on_ray=False)
    >>> result.step
    4
    >>> sorted(ks.evaluate(result.folder, "test").scores)[0]
    'bleu'
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kinesweep.config.embedding_recipe import EmbeddingRecipe
    from kinesweep.config.pretraining_recipe import PretrainingRecipe
    from kinesweep.config.recipe import Recipe
    from kinesweep.config.recipe.prompt import SideTaskName
    from kinesweep.evaluation.evaluate import Evaluation
    from kinesweep.evaluation.tasks.evaluate_tasks import TaskEvaluation
    from kinesweep.export import Bundle
    from kinesweep.export.hub.push import PushedBundle
    from kinesweep.pipelines.bundle_export import ExportedBundle
    from kinesweep.pipelines.corpus_check import CorpusCheck
    from kinesweep.pipelines.reproducibility import ExecutionMode, Repetition
    from kinesweep.pipelines.sweeps.cross_validation import CrossValidation
    from kinesweep.pipelines.sweeps.sweep import SweepResult
    from kinesweep.pipelines.sweeps.sweep_data import SweepData
    from kinesweep.sources.synthetic import SampleSummary
    from kinesweep.store import Store
    from kinesweep.sweeps.planning.sweep_plan import SweepPlan
    from kinesweep.sweeps.space.space import SearchSpace
    from kinesweep.training.run_records.result import RunResult

PathLike = str | Path


def _set_ray_env() -> None:
    """Set the variables that Ray reads when it is first imported: loopback, token, quiet logs."""
    from kinesweep.pipelines.cluster import ray_cluster

    ray_cluster.set_ray_env()


def show_progress() -> None:
    """Show the messages and progress bars of all functions.

    In a notebook they appear below the running cell, elsewhere on stderr, as in the command line.
    """
    from kinesweep.pipelines.notebook import is_notebook, show_notebook_progress

    if is_notebook():
        show_notebook_progress()
        return
    from kinesweep.cli.console import show_console_progress

    show_console_progress()


def write_sample(folder: PathLike, clips: int | None = None, seed: int = 0) -> "SampleSummary":
    """Write the sample corpus, a synthetic sign language; an identical corpus is kept.

    Args:
        folder: Output folder; `jobs/recipes/sample.yaml` expects `.kinesweep/sample`.
        clips: Number of clips in all splits, at least 12. Default: 3,700.
        seed: Random seed of sentences, signers and noise.

    Raises:
        InputError: If an argument is out of range, or if the folder contains something else.
    """
    from kinesweep.sources.synthetic import DEFAULT_NUM_CLIPS, write_sample_corpus

    return write_sample_corpus(Path(folder), clips or DEFAULT_NUM_CLIPS, seed, keep_existing=True)


def load_recipe(path: PathLike, overrides: Sequence[str] = (), base: PathLike = ".") -> "Recipe":
    """Read a recipe.

    Args:
        path: YAML file.
        overrides: Overrides such as `training.learning_rate=1e-4`.
        base: Folder that relative paths in the recipe start from.

    Raises:
        CheckpointError: If `model.init_from` is not a model folder.
        ConfigError: If the recipe is invalid; the message lists every problem.
        InputError: If a metric needs WordNet and it is not where the recipe says.
    """
    from kinesweep.pipelines import inputs

    return inputs.load_recipe(Path(path), overrides, Path(base))


def load_embedding_recipe(
    path: PathLike, overrides: Sequence[str] = (), base: PathLike = "."
) -> "EmbeddingRecipe":
    """Read the recipe of a frame embedder; see `load_recipe`."""
    from kinesweep.config.embedding_recipe import EmbeddingRecipe
    from kinesweep.config.loading import load_config

    base_dir = Path(base).absolute()
    return load_config(EmbeddingRecipe, Path(path), overrides, base_dir).resolve_paths(base_dir)


def load_pretraining_recipe(
    path: PathLike, overrides: Sequence[str] = (), base: PathLike = "."
) -> "PretrainingRecipe":
    """Read the recipe of a pretraining run; see `load_recipe`."""
    from kinesweep.config.loading import load_config
    from kinesweep.config.pretraining_recipe import PretrainingRecipe

    base_dir = Path(base).absolute()
    return load_config(PretrainingRecipe, Path(path), overrides, base_dir).resolve_paths(base_dir)


def load_space(
    path: PathLike, overrides: Sequence[str] = (), base: PathLike = "."
) -> "tuple[SearchSpace, Recipe | PretrainingRecipe]":
    """Read a search space and its recipe, and check them against each other.

    Args:
        path: YAML file.
        overrides: Overrides of the space, such as `search.trials=4`; those that begin with
            `recipe.` change its recipe.
        base: Folder that relative paths in the recipe start from.

    Raises:
        ConfigError: If either is invalid; the message lists every problem.
    """
    from kinesweep.sweeps.space import loading

    return loading.load_space(Path(path), tuple(overrides), Path(base))


def check(recipe: "Recipe", decode: bool = False) -> "CorpusCheck":
    """Check the corpus of a recipe for everything that its extraction would drop or refuse.

    Args:
        recipe: Recipe of the corpus and its features.
        decode: Whether to decode every frame of a video, which finds all that an extraction finds
            before its model runs. Otherwise the first frame is decoded and the others are counted.

    Raises:
        InputError: If the features cannot be computed for any clip.
    """
    from kinesweep.pipelines.corpus_check import check_corpus

    return check_corpus(recipe, decode=decode)


def extract(recipe: "Recipe", on_ray: bool = True) -> "Store":
    """Extract the features of a recipe's corpus; unchanged clips are not computed again.

    Args:
        recipe: Recipe of the corpus and its features.
        on_ray: Whether Ray Data distributes the work; otherwise this process does it, except for
            poses of videos, which are always estimated on Ray.

    Raises:
        InputError: If poses are to be estimated and the estimator or the videos do not exist.
        SourceError: If the corpus as a whole is invalid.
        StoreError: If too many clips are dropped or if there is too little disk space.
    """
    _set_ray_env()
    from kinesweep.pipelines.extraction import extract_features

    return extract_features(recipe, on_ray)


def train(
    recipe: "Recipe",
    folder: PathLike | None = None,
    overwrite: bool = False,
    on_ray: bool = True,
) -> "RunResult":
    """Train one run; an interrupted run continues, a finished one returns its result.

    Features that are missing are extracted first.

    Args:
        recipe: Recipe of the run.
        folder: Run folder. Default: a folder in the state folder, named after recipe, data, seed.
        overwrite: Whether an existing run is removed first.
        on_ray: Whether a `TorchTrainer` trains; otherwise this process does, with the same bits.

    Raises:
        CheckpointError: If the folder belongs to another run, or if `model.init_from` does not fit
            the model.
        InputError: If the run cannot be trained as configured.
        ResourceError: If the cluster or this machine lacks the resources of the run.
        StoreError: If too many clips are dropped or if there is too little disk space.
        TrackingError: If a tracker that the recipe names cannot be used.
        TrainingError: If the run failed: it diverged, or its workers were killed.
    """
    _set_ray_env()
    from kinesweep.pipelines.training import train_recipe

    return train_recipe(recipe, None if folder is None else Path(folder), overwrite, on_ray)


def repeat(
    recipe: "Recipe",
    runs: int = 3,
    mode: "ExecutionMode" = "cold",
    folder: PathLike | None = None,
    overwrite: bool = False,
) -> "Repetition":
    """Train a recipe several times with the same settings and compare the runs bit by bit.

    Args:
        recipe: Recipe of the run.
        runs: Number of runs.
        mode: `cold`: new workers for each run; `warm`: the same workers for all runs;
            `in_process`: this process, without Ray.
        folder: Parent folder of the runs. Default: a folder in the state folder.
        overwrite: Whether existing runs are removed first.

    Raises:
        InputError: If the folder contains runs and `overwrite` is not set.
        KinesweepError: If `train` would raise it.
    """
    _set_ray_env()
    from kinesweep.pipelines.reproducibility import repeat_training

    parent = None if folder is None else Path(folder)
    return repeat_training(recipe, runs, mode, parent, overwrite)


def train_embedder(
    recipe: "EmbeddingRecipe",
    folder: PathLike | None = None,
    overwrite: bool = False,
    on_ray: bool = True,
) -> "RunResult":
    """Train a frame embedder, which aligns clips to references; see `train` for the arguments."""
    _set_ray_env()
    from kinesweep.pipelines.frame_embedding import train_embedding_recipe

    run_dir = None if folder is None else Path(folder)
    return train_embedding_recipe(recipe, run_dir, overwrite, on_ray)


def pretrain(
    recipe: "PretrainingRecipe",
    folder: PathLike | None = None,
    overwrite: bool = False,
    on_ray: bool = True,
) -> "RunResult":
    """Pretrain a video model on the frames of clips; see `train` for the arguments."""
    _set_ray_env()
    from kinesweep.pipelines.pretraining import pretrain_recipe

    run_dir = None if folder is None else Path(folder)
    return pretrain_recipe(recipe, run_dir, overwrite, on_ray)


def export_bundle(
    model: PathLike, folder: PathLike, overwrite: bool = False, card: Sequence[str] = ()
) -> "ExportedBundle":
    """Export a finished run as a bundle and verify the bundle's texts in a fresh process.

    Args:
        model: Folder of a run.
        folder: Output folder.
        overwrite: Whether an existing bundle is replaced.
        card: Statements on the model card in place of the recipe's `export.card`, such as
            `license=cc-by-4.0`.

    Raises:
        BundleError: If the bundle exists and may not be replaced, or if its texts differ.
        CheckpointError: If `model` contains no finished model.
        ConfigError: If a statement of the card is invalid.
        StoreError: If the features that the model was trained on are missing.
    """
    from kinesweep.pipelines.bundle_export import export_verified_bundle

    return export_verified_bundle(Path(model), Path(folder), overwrite, card)


def push_bundle(
    folder: PathLike,
    repo: str,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
) -> "PushedBundle":
    """Upload a bundle to the Hugging Face Hub as one commit, and verify the uploaded files.

    The token is that of `hf auth login` or `HF_TOKEN`. The same call continues an interrupted
    upload, and replaces an earlier bundle in the repository.

    Args:
        folder: Folder written by `kinesweep export` or a sweep.
        repo: Name of the repository, `OWNER/NAME`; a missing one is created.
        private: Whether the repository is private.
        revision: Branch, which is created if it is missing. Default: the default branch.
        message: Message of the commit.

    Raises:
        BundleError: If the folder is no bundle, is damaged, or has files that could run code.
        HubError: If there is no token or no permission, the Hub cannot be reached, or the
            repository holds something else.
        InputError: If the name of the repository is invalid.
    """
    from kinesweep.export.hub.push import push_bundle as push

    return push(Path(folder), repo, private, revision, message)


def evaluate(
    model: PathLike,
    split: str = "validation",
    overrides: Sequence[str] = (),
    predictions: PathLike | None = None,
    device: str = "auto",
) -> "Evaluation":
    """Score a model on a split of its corpus; scorings of test are counted.

    Args:
        model: Folder of a run, a model or a bundle.
        split: Name of the split.
        overrides: Overrides of the model's recipe, such as `generation.num_beams=1`.
        predictions: TSV of another system's texts, which are scored instead of the model's.
        device: Device of the model: `cpu`, `cuda`, `cuda:N`, or `auto`: a GPU if there is one.

    Raises:
        CheckpointError: If there is no model in the folder.
        ConfigError: If an override is invalid.
        InputError: If the predictions cannot be read or belong to other clips.
        StoreError: If the features that the model was trained on are missing.
    """
    from kinesweep.pipelines.evaluation import evaluate_model_dir

    predictions_path = None if predictions is None else Path(predictions)
    evaluation, _ = evaluate_model_dir(
        Path(model), split, overrides, None, predictions_path, device=device
    )
    return evaluation


def evaluate_tasks(
    model: PathLike,
    tasks: "Sequence[SideTaskName]",
    split: str = "validation",
    overrides: Sequence[str] = (),
    device: str = "auto",
) -> "dict[str, TaskEvaluation]":
    """Score a model's answers to the questions of side tasks; scorings of test are counted.

    Args:
        model: Folder of a run, a model or a bundle.
        tasks: Names of the tasks: `word_present`, `which_words`, `reversed`.
        split: Name of the split.
        overrides: Overrides of the model's recipe, such as `generation.num_beams=1`.
        device: Device of the model, as for `evaluate`.

    Returns:
        Task → its answers, and `scores` with the accuracy and its 95 % interval.

    Raises:
        CheckpointError: If there is no model in the folder.
        ConfigError: If an override is invalid.
        InputError: If the clips have too few words for a task.
        StoreError: If the features that the model was trained on are missing.
    """
    from kinesweep.pipelines.evaluation import evaluate_tasks_of_model_dir

    return evaluate_tasks_of_model_dir(Path(model), split, tasks, overrides, device=device)


def plan(
    space: PathLike,
    overrides: Sequence[str] = (),
    base: PathLike = ".",
    cluster: str = "",
    seed_sd: float = 1.0,
    sentence_sd: float = 0.8,
) -> "SweepPlan":
    """Estimate the cost of a sweep from short pilot runs and a simulation.

    Args:
        space: Search space, YAML.
        overrides: See `load_space`.
        base: See `load_space`.
        cluster: Cluster to plan for, such as `cpus=64,gpus=8`. Default: the running cluster.
        seed_sd: Standard deviation of a final score between seeds.
        sentence_sd: Standard error of a score difference from the choice of sentences.

    Raises:
        CheckpointError: If the recipe itself cannot be trained.
        ConfigError: If space or recipe is invalid.
        InputError: If `cluster` does not have the form above.
        ResourceError: If a run does not fit into the cluster.
    """
    _set_ray_env()
    from kinesweep.pipelines.cluster.cluster_size import parse_cluster_size
    from kinesweep.pipelines.sweeps.sweep_planning import PlanRequest, plan_sweep

    request = PlanRequest(Path(space), tuple(overrides), Path(base))
    return plan_sweep(request, parse_cluster_size(cluster), seed_sd, sentence_sd)


def sweep(
    space: PathLike,
    overrides: Sequence[str] = (),
    name: str | None = None,
    base: PathLike = ".",
    resume: bool = False,
    overwrite: bool = False,
    *,
    extend: int = 0,
) -> "SweepResult":
    """Run a sweep: search, finals over several seeds, ranking, test score, bundle, report.

    Args:
        space: Search space, YAML.
        overrides: See `load_space`.
        name: Name of the sweep. Default: that of the file.
        base: See `load_space`.
        resume: Whether an existing sweep is continued; a finished one returns its result.
        overwrite: Whether an existing sweep is removed first.
        extend: Number of trials to add to an existing sweep, which is then continued.

    Raises:
        ConfigError: If space or recipe is invalid.
        InputError: If the sweep exists and neither `resume` nor `overwrite` is set, or if there is
            none to extend.
        TrainingError: If all trials of the search failed (the report is written all the same), or
            if no configuration finished on two seeds of the finals.
        KinesweepError: If a stage of the sweep fails; see `kinesweep.core.errors`.
    """
    _set_ray_env()
    from kinesweep.pipelines.sweeps import sweep as pipeline

    path = Path(space)
    request = pipeline.SweepRequest(
        path, tuple(overrides), name or path.stem, Path(base).absolute(), extend
    )
    result = pipeline.run_requested_sweep(request, resume=resume or extend > 0, overwrite=overwrite)
    pipeline.raise_if_search_failed(result)
    return result


def cross_validate(  # noqa: PLR0913 (options of the command)
    space: PathLike,
    overrides: Sequence[str] = (),
    by: Literal["signer", "document"] = "signer",
    folds: int = 5,
    name: str | None = None,
    base: PathLike = ".",
    *,
    fold_seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
) -> "CrossValidation":
    """Search a space over folds of signers or documents; each fold is a sweep, `NAME-fold-K`.

    Example: `ks.cross_validate("space.yaml", folds=3).configurations[0].values` are the settings
    with the best mean score over all folds.

    Args:
        space: Search space, YAML; `grid`, `random` or `qmc`, without a pruner.
        overrides: See `load_space`.
        by: Property of clips that no two folds share.
        folds: Number of folds.
        name: Name of the search. Default: that of the file.
        base: See `load_space`.
        fold_seed: Random seed for the assignment of groups to folds.
        resume: Whether an existing search is continued; finished folds are not trained again.
        overwrite: Whether an existing search is removed first, with its sweeps.

    Raises:
        ConfigError: If space or recipe is invalid, or folds would try different configurations.
        InputError: If the search exists and neither `resume` nor `overwrite` is set, or if the
            corpus cannot be divided as asked.
        TrainingError: If no configuration finished on every fold.
        KinesweepError: If `sweep` would raise it.
    """
    _set_ray_env()
    from kinesweep.pipelines.sweeps import cross_validation as pipeline
    from kinesweep.pipelines.sweeps.fold_tables import FoldSettings
    from kinesweep.pipelines.sweeps.sweep import SweepRequest

    path = Path(space)
    request = SweepRequest(path, tuple(overrides), name or path.stem, Path(base).absolute())
    settings = FoldSettings(by, folds, fold_seed)
    result = pipeline.cross_validate(request, settings, resume=resume, overwrite=overwrite)
    pipeline.raise_if_nothing_ranked(result)
    return result


def load_sweep(name: PathLike) -> "SweepData":
    """Load a finished sweep: trials, ranking and curves as data frames, and the Optuna study.

    Args:
        name: Name of a sweep in the state folder, or a sweep folder.

    Raises:
        CheckpointError: If the folder contains no finished sweep.
        InputError: If there is no such sweep.
        StoreError: If the features of the sweep are missing.
    """
    from kinesweep.pipelines.inputs import find_sweep_dir
    from kinesweep.pipelines.sweeps.sweep_data import SweepData

    folder = Path(name)
    return SweepData(folder if folder.is_dir() else find_sweep_dir(str(name)))


def load_store(folder: PathLike) -> "Store":
    """Open a feature store.

    Raises:
        StoreError: If there is no store or if it is damaged.
    """
    from kinesweep.store import open_store

    return open_store(Path(folder))


def load_bundle(
    folder: PathLike,
    device: str = "auto",
    *,
    accept_rate: bool = False,
    estimator: PathLike | None = None,
    revision: str | None = None,
) -> "Bundle":
    """Load a bundle; its method `translate` turns files into text.

    Args:
        folder: Folder written by `kinesweep export` or a sweep, or `OWNER/NAME` on the Hub.
        device: Device of the model: `cpu`, `cuda`, `cuda:N`, or `auto`: a GPU if there is one.
        accept_rate: Whether to accept files with another frame rate than the training data.
        estimator: YAML file with `source.estimator` of the training recipe, which finds the joints
            of videos for a model of estimated motions.
        revision: Branch, tag or commit of a bundle on the Hub. Default: the default branch.

    Raises:
        BundleError: If the folder is not a bundle or is damaged.
        ConfigError: If the file of the estimator is invalid.
        HubError: If the Hub cannot be reached, or has no such bundle.
        InputError: If the estimator is not that of the training data, or there is no such device.
        ResourceError: If this process does not see the GPU that `device` names.
    """
    from dataclasses import replace

    from kinesweep.export import Bundle
    from kinesweep.export.hub.download import find_bundle_dir
    from kinesweep.features.estimators.smpl.configured import read_estimator_file
    from kinesweep.training.reproducibility.inference_device import prepare_inference

    section = None if estimator is None else read_estimator_file(Path(estimator))
    bundle_dir = find_bundle_dir(folder, revision)
    # A bundle from the Hub was checked, except for its card, which may be edited there.
    is_checked = bundle_dir != Path(folder)
    loaded = Bundle.load(bundle_dir, prepare_inference(device), is_checked, estimator=section)
    return replace(loaded, accept_rate=accept_rate)
