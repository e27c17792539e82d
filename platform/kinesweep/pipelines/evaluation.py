"""Score a model, or another system's texts, on a split of the model's corpus."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.prompt import SideTaskName, TaskEvaluationConfig
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.io import write_json
from kinesweep.core.scores import check_finite_scores
from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.evaluation.evaluate import Evaluation, evaluate_model, evaluate_texts
from kinesweep.evaluation.judges.preflight import check_judges
from kinesweep.evaluation.judges.summary import summarize_judges
from kinesweep.evaluation.predictions import read_predictions, write_predictions
from kinesweep.evaluation.scoring import compute_sentence_chrf
from kinesweep.evaluation.tasks.answer_files import write_answers
from kinesweep.evaluation.tasks.evaluate_tasks import TaskEvaluation, collect_accuracies
from kinesweep.evaluation.tasks.model_folder_tasks import evaluate_model_tasks
from kinesweep.evaluation.tokenization.coverage import format_coverage_warnings
from kinesweep.evaluation.tokenization.protocol import resolve_evaluation, resolve_protocol
from kinesweep.evaluation.train_overlap import (
    TrainOverlapScores,
    get_train_sentences,
    score_by_train_overlap,
)
from kinesweep.pipelines.extraction import find_training_store
from kinesweep.pipelines.inputs import resolve_model_dir
from kinesweep.store import Store
from kinesweep.store.format.test_set_ledger import log_test_evaluation
from kinesweep.training.reproducibility.inference_device import prepare_inference

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationPaths:
    """The output files of an evaluation.

    Attributes:
        predictions_path: TSV of the hypotheses, each with its chrF score.
        results_path: JSON file of the scores, their signatures and the decoding settings; None: no
            such file is written.
    """

    predictions_path: Path
    results_path: Path | None


def resolve_output_paths(out: Path, split: str, overwrite: bool) -> EvaluationPaths:
    """Return the paths of the output files for a split, which do not exist or may be replaced.

    Args:
        out: Output folder, or a `.tsv` file for the texts alone.
        split: Name of the split, which the files in a folder begin with.
        overwrite: Whether existing files may be replaced.

    Raises:
        InputError: If a file exists and `overwrite` is not set, or if `out` is another file.
    """
    if out.suffix == ".tsv":
        output_paths = EvaluationPaths(out, None)
    elif out.is_file():
        raise InputError(f"`{out}` is a file; pass a folder or a name that ends in `.tsv`")
    else:
        output_paths = EvaluationPaths(out / f"{split}_outputs.tsv", out / f"{split}_results.json")
    for path in (output_paths.predictions_path, output_paths.results_path):
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"`{path}` already exists; choose another path or pass `--overwrite`")
    return output_paths


def evaluate_model_dir(
    model_dir: Path,
    split: str,
    overrides: Sequence[str],
    output_paths: EvaluationPaths | None,
    predictions_path: Path | None = None,
    *,
    device: str = AUTO_DEVICE,
) -> tuple[Evaluation, list[TrainOverlapScores]]:
    """Score a model, or another system's texts, on a split of the model's corpus.

    A scoring of test is noted in the store's ledger. The paths of written files are logged.

    Args:
        model_dir: Folder of a run, a model or a bundle.
        split: Split of the model's corpus.
        overrides: Overrides of the model's recipe.
        output_paths: Output files; None: nothing is written.
        predictions_path: TSV of another system's texts, which are scored instead of the model's.
        device: Name of the device of the model: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        The scores of the split, and separate scores of the sentences that occur in train and of
        those that do not; none for a model of the stage `align`, whose texts are retrieved.

    Raises:
        CheckpointError: If there is no model in the folder.
        ConfigError: If an override is invalid.
        InputError: If the predictions cannot be read or belong to other clips, or if a file or a
            model of a metric is missing.
        JudgeError: If a key, a server or a recording of a judge is missing, or a judge fails.
        StoreError: If the features that the model was trained on are missing or have no such split.
        TrainingError: If a score is not finite, because the model has diverged.
    """
    weights_dir = resolve_model_dir(model_dir)
    store = find_training_store(model_dir, overrides)
    recipe = load_config(Recipe, weights_dir / "recipe.yaml", overrides)
    # Before minutes of decoding: a key or a server may be missing.
    check_judges(recipe.evaluation, store, [split])
    if predictions_path is not None:
        hypotheses = {row.clip_id: row.hypothesis for row in read_predictions(predictions_path)}
        evaluation = evaluate_texts(
            hypotheses, store, split, recipe.evaluation, recipe.effective_batch
        )
    else:
        evaluation = evaluate_model(
            *(weights_dir, store, split, recipe.generation, recipe.evaluation),
            prepare_inference(device),
        )
    check_finite_scores(evaluation.scores, f"the model in `{model_dir}`")
    if evaluation.coverage is not None:
        limit = recipe.generation.max_new_tokens
        for warning in format_coverage_warnings(split, evaluation.coverage, limit):
            logger.warning(warning)
    system_name = str(predictions_path or model_dir)
    # Counted even if nothing is written: the ledger records every scoring of test.
    _log_scoring_of_test(store, split, system_name, evaluation.scores)
    overlap_scores = []
    if not evaluation.is_retrieval:
        overlap_scores = score_by_train_overlap(
            evaluation.predictions,
            get_train_sentences(store),
            resolve_evaluation(recipe.evaluation, store),
        )
    if output_paths is not None:
        # Another system's decoding settings are unknown; the recipe's must not be reported for it.
        generation = (
            None if predictions_path is not None else recipe.generation.model_dump(mode="json")
        )
        metadata = {"split": split, "scored": system_name, "generation": generation}
        _write_outputs(output_paths, evaluation, overlap_scores, store, recipe, metadata)
    return evaluation, overlap_scores


def evaluate_tasks_of_model_dir(
    model_dir: Path,
    split: str,
    tasks: Sequence[SideTaskName],
    overrides: Sequence[str],
    output_paths: Mapping[str, Path] | None = None,
    *,
    device: str = AUTO_DEVICE,
) -> dict[str, TaskEvaluation]:
    """Let a model answer the questions of side tasks about the clips of a split.

    The recipe's `evaluation.tasks` says how many clips are asked about and which seed the questions
    have; a task that it lacks has the defaults. A scoring of test is noted in the store's ledger.

    Args:
        model_dir: Folder of a run, a model or a bundle.
        split: Split of the model's corpus.
        tasks: Names of the tasks.
        overrides: Overrides of the model's recipe.
        output_paths: Output files, from `resolve_task_paths`; None: nothing is written.
        device: Name of the device of the model: `auto`, `cpu`, `cuda` or `cuda:N`.

    Returns:
        Task → answers and scores.

    Raises:
        CheckpointError: If there is no model in the folder, or it does not write texts yet.
        ConfigError: If an override is invalid.
        InputError: If the clips have too few words for a task.
        StoreError: If the features that the model was trained on are missing or have no such split.
    """
    weights_dir = resolve_model_dir(model_dir)
    store = find_training_store(model_dir, overrides)
    recipe = load_config(Recipe, weights_dir / "recipe.yaml", overrides)
    if recipe.training.stage == "align":
        raise CheckpointError(
            f"`{model_dir}` was trained in `training.stage: align` and writes no answers yet; train"
            " a translation that starts from its folder `best` (`model.init_from`) and score that"
        )
    settings = {task: recipe.evaluation.tasks.get(task, TaskEvaluationConfig()) for task in tasks}
    evaluation = recipe.evaluation.model_copy(update={"tasks": settings})
    answered = evaluate_model_tasks(
        weights_dir, store, split, recipe.generation, evaluation, prepare_inference(device)
    )
    _log_scoring_of_test(store, split, str(model_dir), collect_accuracies(answered))
    if output_paths is not None:
        for task, each in answered.items():
            write_answers(output_paths[task], each)
            logger.info(f"answers     {output_paths[task]}")
        scores = {task: each.scores.to_json() for task, each in answered.items()}
        results = {
            "split": split,
            "scored": str(model_dir),
            "store": store.fingerprint,
            "tasks": scores,
            "signatures": {task: each.signature for task, each in answered.items()},
        }
        write_json(output_paths["results"], results)
        logger.info(f"results     {output_paths['results']}")
    return answered


def _log_scoring_of_test(
    store: Store, split: str, system_name: str, scores: Mapping[str, float]
) -> None:
    """Note a scoring of test in the store's ledger; other splits are not counted.

    Args:
        store: Store of the scored clips.
        split: Name of the split.
        system_name: Name of the model or of the table that was scored.
        scores: Metric → score.
    """
    if split == "test":
        log_test_evaluation(store, system_name, scores)


def _write_outputs(
    out: EvaluationPaths,
    evaluation: Evaluation,
    overlap_scores: Sequence[TrainOverlapScores],
    store: Store,
    recipe: Recipe,
    metadata: Mapping[str, object],
) -> None:
    """Write the predictions and, if requested, the results of an evaluation; log the files' paths.

    Args:
        out: Output files.
        evaluation: Scores and predictions of the split.
        overlap_scores: Scores by whether a sentence occurs in train.
        store: Store of the scored clips.
        recipe: Recipe with the scoring protocol.
        metadata: Keys that precede the scores in the file of results.
    """
    hypotheses = {row.clip_id: row.hypothesis for row in evaluation.predictions}
    references = {row.clip_id: row.references for row in evaluation.predictions}
    protocol = resolve_protocol(recipe.evaluation, store)
    chrf_scores = compute_sentence_chrf(hypotheses, references, protocol)
    write_predictions(out.predictions_path, evaluation.predictions, chrf_scores)
    logger.info(f"predictions {out.predictions_path}")
    if out.results_path is None:
        return
    results = {
        **metadata,
        "clips": len(evaluation.predictions),
        "store": store.fingerprint,
        "evaluation": recipe.evaluation.model_dump(mode="json"),
        "scores": evaluation.scores,
        "signatures": evaluation.signatures,
        **_write_task_answers(out, evaluation),
        "text_coverage": None if evaluation.coverage is None else evaluation.coverage.shares,
        "parts": [asdict(scores) for scores in overlap_scores],
    }
    if recipe.evaluation.judges:
        records = store.get_records(str(metadata["split"]))
        documents = {record.clip.id: record.clip.document or record.clip.id for record in records}
        results["judges"] = summarize_judges(
            recipe.evaluation, evaluation.clip_scores, evaluation.counts, documents
        )
    write_json(out.results_path, results)
    logger.info(f"results     {out.results_path}")


def _write_task_answers(out: EvaluationPaths, evaluation: Evaluation) -> dict[str, object]:
    """Write the answers of side tasks beside the predictions, and log the files' paths.

    Returns:
        The entry `tasks` of the results; empty without side tasks.
    """
    prefix = out.predictions_path.stem.removesuffix("outputs")
    for task, each in evaluation.tasks.items():
        path = out.predictions_path.with_name(f"{prefix}{task}.tsv")
        write_answers(path, each)
        logger.info(f"answers     {path}")
    tasks = {task: each.scores.to_json() for task, each in evaluation.tasks.items()}
    return {"tasks": tasks} if tasks else {}
