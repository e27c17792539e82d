"""Statistics of sport indicators: what instructions tell an athlete, and how good those are.

The numbers are those of CoachMe's evaluation (2025): the share of instructions with an indicator,
their grades of consistency as a histogram, and the mean grade of those whose grade is above the
lowest. Its table of pairs adds each clip twice; here it is added once.
"""

from collections.abc import Mapping
from typing import Any

from kinesweep.config.recipe.scores.judges import SPORT_INDICATORS, JudgeConfig

Grades = Mapping[str, float]
"""Clip id → grade."""
_LOWEST_CONSISTENCY = 1
_HIGHEST_CONSISTENCY = 5
# Half of the range of an indicator in percent; with several answers it is the majority.
_DETECTED_FROM = 50.0


def summarize_judge(
    config: JudgeConfig, clip_scores: Mapping[str, Grades]
) -> dict[str, Any] | None:
    """Compute the statistics of a judge's sport indicators.

    Args:
        config: Judge of a recipe.
        clip_scores: Name of a score → grades of the clips, indicators in percent.

    Returns:
        See `summarize_indicators`; None if the judge grades none of the indicators.
    """
    indicators: dict[str, Grades] = {
        name: clip_scores[f"{config.label}_{name}"]
        for name in SPORT_INDICATORS
        if name in config.criteria
    }
    consistency = clip_scores.get(f"{config.label}_consistency")
    # A criterion of one's own may have this name, but another scale.
    if "consistency" not in config.criteria:
        consistency = None
    return summarize_indicators(indicators, consistency) if indicators else None


def summarize_indicators(
    indicators: Mapping[str, Grades], consistency: Grades | None
) -> dict[str, Any]:
    """Compute the statistics of sport indicators, with the grades of consistency if there are any.

    Args:
        indicators: Name of an indicator → clip id → grade from 0 to 100.
        consistency: Clip id → grade from 1 to 5; None if consistency was not graded.

    Returns:
        For each indicator the numbers of clips that were graded (`graded`) and have it
        (`detected`), and the share in percent. With consistency also the histogram of its grades
        over clips with the indicator, the number, sum and mean of those above the lowest grade, and
        under `pairs` the sum of grades above the lowest of clips with both of two indicators.
    """
    detected = {
        name: {clip_id for clip_id, grade in grades.items() if grade >= _DETECTED_FROM}
        for name, grades in indicators.items()
    }
    summary: dict[str, Any] = {
        name: {
            "graded": len(grades),
            "detected": len(detected[name]),
            "share": 100 * len(detected[name]) / len(grades),
        }
        for name, grades in indicators.items()
    }
    if consistency is None:
        return summary
    for name, clip_ids in detected.items():
        summary[name] |= _describe_consistency(
            [consistency[i] for i in clip_ids & set(consistency)]
        )
    summary["pairs"] = {
        name: {
            other: sum(
                consistency[i]
                # A clip may have an indicator but no valid grade of consistency.
                for i in clip_ids & detected[other] & set(consistency)
                if consistency[i] > _LOWEST_CONSISTENCY
            )
            for other in detected
            if other != name
        }
        for name, clip_ids in detected.items()
    }
    return summary


def _describe_consistency(grades: list[float]) -> dict[str, Any]:
    """Return the histogram of grades of consistency, and the mean of those above the lowest."""
    histogram = dict.fromkeys(range(_LOWEST_CONSISTENCY, _HIGHEST_CONSISTENCY + 1), 0)
    for grade in grades:
        # Means of several answers are rounded, halves up.
        histogram[int(grade + 0.5)] += 1
    supported = [grade for grade in grades if grade > _LOWEST_CONSISTENCY]
    return {
        "consistency": {str(grade): count for grade, count in histogram.items()},
        "supported": len(supported),
        "supported_sum": sum(supported),
        "supported_mean": sum(supported) / len(supported) if supported else None,
    }
