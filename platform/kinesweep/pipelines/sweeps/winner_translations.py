"""Translations of a sweep's winner, read from its run folders, with their scores."""

from pathlib import Path
from statistics import fmean

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.evaluation.predictions import Prediction, read_predictions
from kinesweep.evaluation.scoring import compute_sentence_chrf
from kinesweep.evaluation.tokenization.protocol import resolve_protocol
from kinesweep.evaluation.train_overlap import score_by_train_overlap
from kinesweep.report import SubsetScores, TranslationSample
from kinesweep.store import Store
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome


def collect_translation_samples(
    outcome: SweepOutcome, recipe: Recipe, store: Store, train_texts: set[str]
) -> list[TranslationSample]:
    """Collect the translation of every validation clip by the winner's exported run.

    Args:
        outcome: Result of the sweep.
        recipe: Recipe with the scoring protocol.
        store: Store of the clips.
        train_texts: All texts of the training split.
    """
    predictions = read_run_predictions(Path(outcome.winner_runs[0]), "validation")
    hypotheses = {row.clip_id: row.hypothesis for row in predictions}
    references = {row.clip_id: row.references for row in predictions}
    protocol = resolve_protocol(recipe.evaluation, store)
    scores = compute_sentence_chrf(hypotheses, references, protocol)
    records = {record.clip.id: record for record in store.get_records("validation")}
    return [
        TranslationSample(
            clip=row.clip_id,
            signer=records[row.clip_id].clip.signer,
            frames=max(records[row.clip_id].lengths.values()),
            reference=row.references[0],
            hypothesis=row.hypothesis,
            score=round(scores[row.clip_id], 1),
            in_train=any(text in train_texts for text in row.references),
        )
        for row in predictions
    ]


def compute_scores_by_train_overlap(
    outcome: SweepOutcome, evaluation: EvaluationConfig, train_texts: set[str]
) -> list[SubsetScores]:
    """Compute separate scores of sentences that occur in train and of those that do not.

    The scores are means over the winner's seeds, for validation and test; a split that was not
    decoded for every seed is left out.

    Args:
        outcome: Result of the sweep.
        evaluation: Metrics, and the scoring protocol with the tokenizer of the corpus.
        train_texts: All texts of the training split.
    """
    winner_runs = [Path(run) for run in outcome.winner_runs]
    subset_scores = []
    for split in ("validation", "test"):
        predictions_by_run = [read_run_predictions(run, split) for run in winner_runs]
        if not all(predictions_by_run):
            continue
        scores_by_run = [
            score_by_train_overlap(predictions, train_texts, evaluation)
            for predictions in predictions_by_run
        ]
        # All runs have the same clips, and therefore the same groups of sentences.
        for run_scores in zip(*scores_by_run, strict=True):
            group = run_scores[0]
            means = {
                metric: fmean(scores.scores[metric] for scores in run_scores)
                for metric in group.scores
            }
            subset_scores.append(SubsetScores(f"{split}, {group.what}", group.clips, means))
    return subset_scores


def read_run_predictions(run: Path, split: str) -> list[Prediction]:
    """Read a run's predictions on a split; return an empty list if the split was not decoded.

    Raises:
        InputError: If the file is not a table of predictions.
    """
    path = run / "predictions" / f"{split}.tsv"
    return read_predictions(path) if path.exists() else []
