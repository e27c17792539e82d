"""The results of judges in files: counts of answers, intervals of scores and sport indicators."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.seeds import create_generator
from kinesweep.evaluation.judges.sport_indicators import Grades, summarize_judge

_NUM_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)


def summarize_judges(
    config: EvaluationConfig,
    clip_scores: Mapping[str, Grades],
    counts: Mapping[str, Mapping[str, int]],
    documents: Mapping[str, str],
) -> dict[str, Any]:
    """Build a summary of the scores of all judges, for a file of results.

    Args:
        config: Metrics of the recipe.
        clip_scores: Name of a score → grades of the clips.
        counts: Name of a score → numbers of clips, answers and requests.
        documents: Clip id → document; clips that are missing are documents of their own.

    Returns:
        Label of a judge → `model`, `scores` (name → counts and 95 % interval) and
        `sport_indicators`, see `summarize_indicators`; empty without judges.
    """
    return {
        judge.label: {
            "model": judge.model,
            "scores": {
                name: {
                    **counts[name],
                    "interval": compute_mean_interval(clip_scores[name], documents),
                }
                for name in judge.score_names
            },
            "sport_indicators": summarize_judge(judge, clip_scores),
        }
        for judge in config.judges
    }


def compute_mean_interval(grades: Grades, documents: Mapping[str, str]) -> Sequence[float]:
    """Compute the 95 % interval of a mean by resampling documents, whose clips are not independent.

    Args:
        grades: Clip id → grade, at least one.
        documents: Clip id → document; clips that are missing are documents of their own.

    Returns:
        Lower and upper end.
    """
    rows: dict[str, list[float]] = {}
    for clip_id in sorted(grades):
        row = rows.setdefault(documents.get(clip_id, clip_id), [0.0, 0.0])
        row[0] += grades[clip_id]
        row[1] += 1
    # Sums and counts by document, because the mean is over clips and documents differ in length.
    sums_G2 = np.array(list(rows.values()))
    # A fixed seed: the same grades give the same interval.
    generator = create_generator(0, "judge interval")
    indices_RG = generator.integers(len(sums_G2), size=(_NUM_RESAMPLES, len(sums_G2)))
    totals_R2 = sums_G2[indices_RG].sum(1)
    # A ratio of resampled sums, since resamples of documents differ in their number of clips.
    low, high = np.percentile(totals_R2[:, 0] / totals_R2[:, 1], _PERCENTILES)
    return [float(low), float(high)]


def format_judge_counts(name: str, counts: Mapping[str, int]) -> str:
    """Format the counts of one score of a judge in one line."""
    unscored = counts["unscored_clips"]
    missing = f", {unscored} without a valid answer" if unscored else ""
    return (
        f"{name}: {counts['clips']} clips graded{missing}, {counts['invalid_answers']} invalid"
        f" answers, {counts['requests']} requests, {counts['replayed']} recorded before"
    )
