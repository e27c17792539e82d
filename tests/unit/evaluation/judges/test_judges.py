"""Judges: grades in answers, samples, probabilities, criteria and counts."""

import logging
import math
from typing import Any

import pytest

from judge_server import JudgeServer
from judging import SAID, WANTED, at, by_text, grade_of, section
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import JudgeError
from kinesweep.evaluation.judges.protocol import parse_response
from kinesweep.evaluation.metrics import build_metric, compute_extra_scores


def test_grades_of_a_server(server: JudgeServer) -> None:
    """The best reference counts, equal texts are asked about once, and empty ones not at all."""
    server.answer = by_text
    found = grade_of(section(at(server)))
    assert found.clip_scores == {"a": 5, "b": 2, "c": 1, "d": 2}
    assert found.value == 2.5
    assert found.counts == {
        "clips": 4,
        "unscored_clips": 0,
        "invalid_answers": 0,
        "empty_texts": 1,
        "requests": 3,
        "replayed": 0,
    }
    assert len(server.bodies) == 3
    assert {key: value for key, value in server.bodies[0].items() if key != "messages"} == {
        "model": "tiny",
        "max_tokens": 8,
        "temperature": 0.0,
    }
    prompt = found.signature.split("prompt:")[1].split("|")[0]
    assert len(prompt) == 12 and found.signature == (
        f"protocol:raw|judge_consistency|model:tiny|prompt:{prompt}|scale:1-5|scoring:answers"
        "|samples:1|temperature:0|references:best"
    )
    together = grade_of(section(at(server), references="together"))
    assert len(server.bodies) == 5 and together.clip_scores["a"] == 5
    # Requests run side by side, so either of the two may have come first.
    prompts = [body["messages"][0]["content"] for body in server.bodies[3:]]
    assert any("Guard up." in prompt for prompt in prompts)


def test_texts_reach_the_judge_as_they_are(server: JudgeServer) -> None:
    config = EvaluationConfig.model_validate(
        {"protocol": "phoenix", "judges": section(at(server)).model_dump()["judges"]}
    )
    compute_extra_scores({"b": "Turn {the} Hips."}, {"b": ("A %s.",)}, config)
    prompt = server.bodies[0]["messages"][0]["content"]
    assert "<text>\nTurn {the} Hips.\n</text>" in prompt
    assert "<reference>\nA %s.\n</reference>" in prompt


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("4", 4),
        ("Consistency: 3.", 3),
        (" 2\n", 2),
        ("5/5", 5),
        ("0", None),
        ("6", None),
        ("10", None),
        ("-1", None),
        ("3.5", None),
        ("none", None),
        ("", None),
    ],
)
def test_grades_in_answers(server: JudgeServer, text: str, grade: int | None) -> None:
    """What is no grade is counted and left out, never 0."""
    server.answer = lambda body: ["3" if "Lift" in body["messages"][0]["content"] else text]
    found = grade_of(section(at(server), max_invalid_share=0.9))
    expected = {"a": 3, "c": 1} | ({"b": grade, "d": grade} if grade else {})
    assert found.clip_scores == expected
    assert found.value == sum(expected.values()) / len(expected)
    assert found.counts["unscored_clips"] == (0 if grade else 2)
    assert found.counts["invalid_answers"] == (0 if grade else 2)


def test_too_many_invalid_answers(server: JudgeServer, caplog: pytest.LogCaptureFixture) -> None:
    server.answer = lambda body: ["?" if "Lift" in body["messages"][0]["content"] else "3"]
    with pytest.raises(JudgeError, match="1 of 4 clips have no valid answer"):
        grade_of(section(at(server)))
    with caplog.at_level(logging.WARNING):
        found = grade_of(section(at(server), max_invalid_share=0.25))
    assert "left out of the mean" in caplog.text and found.counts["unscored_clips"] == 1
    metric = build_metric("judge_consistency", section(at(server), max_invalid_share=0.25))
    rows = metric.compute_clip_statistics(SAID, WANTED)
    assert rows.tolist() == [[0, 0], [3, 1], [1, 1], [3, 1]]
    assert metric.compute_score_from_sum(rows.sum(0)) == found.value == 7 / 3


@pytest.mark.parametrize(("most", "counts"), [(None, [5]), (2, [1, 2, 2]), (1, [1] * 5)])
def test_samples_are_averaged(server: JudgeServer, most: int | None, counts: list[int]) -> None:
    grades = iter("12x45" * 9)
    server.answer = lambda body: [next(grades) for _ in range(body.get("n", 1))]
    config = section(
        at(server, concurrency=1), samples=5, samples_per_request=most, temperature=1.0
    )
    found = grade_of(config, {"b": "Turn the hips."})
    assert found.value == (1 + 2 + 4 + 5) / 4 and found.counts["invalid_answers"] == 1
    assert sorted(body.get("n", 1) for body in server.bodies) == counts


def test_probabilities_of_grades(server: JudgeServer) -> None:
    """The expectation over the grades at the first token that is one (G-Eval)."""
    likely = {"4": 0.6, " 3": 0.2, "3": 0.1, "5": 0.05, "good": 0.05}
    top = [{"token": token, "logprob": math.log(p)} for token, p in likely.items()]
    first = {"token": "Grade", "logprob": -0.1, "top_logprobs": [{"token": "1", "logprob": -3}]}
    server.logprobs = [first, {"token": "4", "logprob": math.log(0.6), "top_logprobs": top}]
    server.answer = lambda body: ["Grade 4"]
    found = grade_of(section(at(server), scoring="probabilities"), {"b": "Turn the hips."})
    assert found.value == pytest.approx((4 * 0.6 + 3 * 0.3 + 5 * 0.05) / 0.95)
    assert server.bodies[0]["logprobs"] is True and server.bodies[0]["top_logprobs"] == 20
    server.logprobs = None
    with pytest.raises(JudgeError, match="no probabilities of tokens"):
        grade_of(section(at(server), scoring="probabilities"), {"b": "Turn the hips."})


def test_a_criterion_of_ones_own(server: JudgeServer) -> None:
    own = {
        "name": "style",
        "definition": "How pleasant it reads.",
        "steps": ["Read it aloud."],
        "maximum": 3,
        "reads_reference": False,
    }
    server.answer = lambda body: ["3"]
    found = compute_extra_scores(SAID, WANTED, section(at(server), criteria=[own]))
    assert found.values == {"judge_style": 2.5}
    prompt = server.bodies[0]["messages"][0]["content"]
    assert "1. Read it aloud." in prompt and "How pleasant" in prompt and "from 1 to 3" in prompt
    assert "<reference>" not in prompt


def test_grades_whose_probabilities_are_rounded_to_zero(server: JudgeServer) -> None:
    server.logprobs = [{"token": "4", "logprob": -9999.0, "top_logprobs": []}]
    config = section(at(server), scoring="probabilities")
    assert grade_of(config, {"b": "Turn the hips."}).value == 4.0


@pytest.mark.parametrize("logprobs", [[1], "text", 3])
def test_logprobs_of_another_form_are_an_error(logprobs: Any) -> None:
    choice = {"message": {"content": "4"}, "logprobs": logprobs}
    with pytest.raises(ValueError, match="`logprobs` cannot be read"):
        parse_response({"choices": [choice]})
