"""Statistics of sport indicators equal a plain reading of CoachMe's counts."""

import random

import pytest

from kinesweep.config.recipe.scores.judges import SPORT_INDICATORS, JudgeConfig
from kinesweep.evaluation.judges.sport_indicators import summarize_indicators, summarize_judge


def test_counts_equal_a_plain_reading() -> None:
    """For each indicator: its clips by grade, and sum and mean of the grades above 1."""
    draw = random.Random(3)
    ids = [str(n) for n in range(40)]
    found = {name: {i: 100.0 * draw.randint(0, 1) for i in ids} for name in SPORT_INDICATORS}
    grades = {i: float(draw.randint(1, 5)) for i in ids}
    summary = summarize_indicators(found, grades)
    for name in SPORT_INDICATORS:
        have = [i for i in ids if found[name][i]]
        good = [grades[i] for i in have if grades[i] > 1]
        assert summary[name] == {
            "graded": 40,
            "detected": len(have),
            "share": 100 * len(have) / 40,
            "consistency": {str(g): sum(grades[i] == g for i in have) for g in range(1, 6)},
            "supported": len(good),
            "supported_sum": sum(good),
            "supported_mean": sum(good) / len(good),
        }
        for other in SPORT_INDICATORS:
            if other != name:
                both = [grades[i] for i in have if found[other][i] and grades[i] > 1]
                assert summary["pairs"][name][other] == sum(both)
                assert summary["pairs"][other][name] == sum(both)


def test_clips_without_an_answer_take_no_part() -> None:
    found = {"error": {"a": 100.0, "b": 100.0, "c": 0.0}, "time": {"a": 100.0}}
    summary = summarize_indicators(found, {"a": 4.0, "d": 5.0})
    assert summary["error"]["graded"] == 3 and summary["error"]["detected"] == 2
    assert summary["error"]["consistency"] == {"1": 0, "2": 0, "3": 0, "4": 1, "5": 0}
    assert summary["pairs"]["error"]["time"] == 4
    nothing = summarize_indicators({"error": {"a": 0.0}}, {"a": 5.0})["error"]
    assert nothing["supported"] == 0 and nothing["supported_mean"] is None


def test_means_of_several_answers() -> None:
    """The majority decides about an indicator, and grades are rounded for the histogram."""
    summary = summarize_indicators({"error": {"a": 40.0, "b": 60.0}}, {"a": 3.0, "b": 3.6})
    assert summary["error"]["detected"] == 1
    assert summary["error"]["consistency"]["4"] == 1
    assert summary["error"]["supported_mean"] == pytest.approx(3.6)


def test_judges_with_and_without_indicators() -> None:
    service = {"kind": "replay", "recording": "x"}
    plain = JudgeConfig(model="m", service=service)  # type: ignore[arg-type]
    assert summarize_judge(plain, {"judge_consistency": {"a": 1}}) is None
    values = {"model": "m", "service": service, "criteria": ["error"]}
    alone = summarize_judge(JudgeConfig.model_validate(values), {"judge_error": {"a": 100}})
    assert alone == {"error": {"graded": 1, "detected": 1, "share": 100}}
