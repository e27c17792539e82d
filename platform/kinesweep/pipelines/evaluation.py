"""Score a model, or another system's texts, on a split of the model's corpus."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.io import write_json
from kinesweep.core.scores import check_finite_scores
from kinesweep.evaluation.evaluate import Evaluation, evaluate_model, evaluate_texts
from kinesweep.evaluation.predictions import read_predictions, write_predictions
from kinesweep.evaluation.scoring import compute_sentence_chrf
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
) -> tuple[Evaluation, list[TrainOverlapScores]]:
    """Score a model, or another system's texts, on a split of the model's corpus.

    A scoring of test is noted in the store's ledger. The paths of written files are logged.

    Args:
        model_dir: Folder of a run, a model or a bundle.
        split: Split of the model's corpus.
        overrides: Overrides of the model's recipe.
        output_paths: Output files; None: nothing is written.
        predictions_path: TSV of another system's texts, which are scored instead of the model's.

    Returns:
        The scores of the split, and separate scores of the sentences that occur in train and of
        those that do not; none for a model of the stage `align`, whose texts are retrieved.

    Raises:
        CheckpointError: If there is no model in the folder.
        ConfigError: If an override is invalid.
        InputError: If the predictions cannot be read or belong to other clips, or if a file or a
            model of a metric is missing.
        StoreError: If the features that the model was trained on are missing or have no such split.
        TrainingError: If a score is not finite, because the model has diverged.
    """
    weights_dir = resolve_model_dir(model_dir)
    store = find_training_store(model_dir, overrides)
    recipe = load_config(Recipe, weights_dir / "recipe.yaml", overrides)
    if predictions_path is not None:
        hypotheses = {row.clip_id: row.hypothesis for row in read_predictions(predictions_path)}
        evaluation = evaluate_texts(
            hypotheses, store, split, recipe.evaluation, recipe.effective_batch
        )
    else:
        evaluation = evaluate_model(weights_dir, store, split, recipe.generation, recipe.evaluation)
    check_finite_scores(evaluation.scores, f"the model in `{model_dir}`")
    if evaluation.coverage is not None:
        limit = recipe.generation.max_new_tokens
        for warning in format_coverage_warnings(split, evaluation.coverage, limit):
            logger.warning(warning)
    system_name = str(predictions_path or model_dir)
    # Counted even if nothing is written: the ledger records every scoring of test.
    if split == "test":
        log_test_evaluation(store, system_name, evaluation.scores)
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
        "text_coverage": None if evaluation.coverage is None else evaluation.coverage.shares,
        "parts": [asdict(scores) for scores in overlap_scores],
    }
    write_json(out.results_path, results)
    logger.info(f"results     {out.results_path}")
