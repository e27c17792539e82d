"""Judges: requests to a server, limits, failures, recordings, grades and counts."""

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from judge_server import Body, JudgeServer, serve_judge
from kinesweep.config.loading import load_config
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import ConfigError, JudgeError
from kinesweep.evaluation.judges import chat_service
from kinesweep.evaluation.judges.panel import JudgePanel
from kinesweep.evaluation.judges.protocol import JudgeRequest, parse_response
from kinesweep.evaluation.judges.recording import Recording
from kinesweep.evaluation.judges.request_pacing import RequestPacer, compute_retry_delay
from kinesweep.evaluation.metrics import build_metric, compute_extra_scores
from kinesweep.evaluation.metrics.base import MetricResult

SAID = {"a": "Lift the left hand.", "b": "Turn the hips.", "c": "", "d": "Turn the hips."}
WANTED = {
    "a": ("Lift your left hand.", "Guard up."),
    "b": ("Turn more.",),
    "c": ("Good.",),
    "d": ("Turn more.",),
}
KEY = "secret-key-of-a-test"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with serve_judge() as running:
        yield running


def section(service: dict[str, Any], **settings: Any) -> EvaluationConfig:
    judge = {"model": "tiny", "service": service, **settings}
    return EvaluationConfig.model_validate({"judges": [judge]})


def at(server: JudgeServer, **settings: Any) -> dict[str, Any]:
    return {"kind": "openai", "base_url": server.url, **settings}


def grade_of(config: EvaluationConfig, said: dict[str, str] = SAID) -> MetricResult:
    wanted = {clip_id: WANTED[clip_id] for clip_id in said}
    return JudgePanel(config.judges[0]).compute(said, wanted)["judge_consistency"]


def by_text(body: Body) -> list[str]:
    """Better grades against the first reference of `a` than the second."""
    prompt = body["messages"][0]["content"]
    return ["Grade: 5" if "your left hand" in prompt else "2"] * body.get("n", 1)


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


def test_a_recording_replays_without_a_server(server: JudgeServer, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "answers.jsonl"
    server.answer = by_text
    service = at(server, record=str(path), api_key_variable="JUDGE_KEY")
    first = grade_of(section(service, samples=2, temperature=0.5))
    assert KEY not in path.read_text() and len(path.read_text().splitlines()) == 3
    again = grade_of(section(service, samples=2, temperature=0.5))
    assert len(server.bodies) == 3 and again.counts["replayed"] == 3
    replay = {"kind": "replay", "recording": str(path)}
    replayed = grade_of(section(replay, samples=2, temperature=0.5))
    assert replayed.clip_scores == first.clip_scores == again.clip_scores
    assert replayed.signature == first.signature
    for changed in ({"samples": 3}, {"model": "other"}, {"seed": 1}, {"max_tokens": 9}):
        settings = {"samples": 2, "temperature": 0.5, **changed}
        with pytest.raises(JudgeError, match="has no answer to 3 of 3 requests"):
            grade_of(section(replay, **settings))


def test_answers_of_a_killed_process_are_kept(server: JudgeServer, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    grade_of(section(at(server, record=str(path))))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    found = grade_of(section(at(server, record=str(path))))
    assert found.counts["replayed"] == 2 and found.counts["requests"] == 1
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())
    path.write_bytes(b"nothing\n" + whole)
    with pytest.raises(JudgeError, match="line 1 of the recording"):
        grade_of(section(at(server, record=str(path))))


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_failures_that_pass_are_repeated(
    server: JudgeServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_service, "compute_retry_delay", lambda *_: 0.0)
    server.failures = [(status, {})] * 3
    found = grade_of(section(at(server, max_retries=3)))
    assert found.value == (4 + 4 + 1 + 4) / 4 and len(server.bodies) == 3 + 3
    server.failures = [(status, {})] * 9
    with pytest.raises(JudgeError, match="failed 1 times"):
        grade_of(section(at(server, max_retries=0, concurrency=1)))


@pytest.mark.parametrize(("status", "said"), [(400, "status 400"), (404, "status 404")])
def test_refusals_are_not_repeated_and_keep_the_key_secret(
    server: JudgeServer, status: int, said: str
) -> None:
    """The server sends the key back in its message."""
    server.failures = [(status, {})] * 9
    with pytest.raises(JudgeError, match=said) as caught:
        grade_of(section(at(server, api_key_variable="JUDGE_KEY", concurrency=1)))
    assert KEY not in str(caught.value) and "***" in str(caught.value)
    assert len(server.bodies) == 1
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_redirects_are_not_followed(server: JudgeServer) -> None:
    """They would carry the key to another host."""
    server.failures = [(302, {"Location": server.url + "/elsewhere"})] * 9
    with pytest.raises(JudgeError, match="status 302"):
        grade_of(section(at(server, api_key_variable="JUDGE_KEY", concurrency=1)))
    assert len(server.bodies) == 1


def test_a_wrong_number_of_answers(server: JudgeServer) -> None:
    server.answer = lambda body: ["4"]
    with pytest.raises(JudgeError, match="gave 1 answers instead of 3; set `samples_per_request"):
        grade_of(section(at(server), samples=3, temperature=1.0))


def test_the_expense_is_limited_and_shown(
    server: JudgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    criteria = ["consistency", "error", "time"]
    with pytest.raises(JudgeError, match="needs 7 requests to `tiny`, but `max_requests`"):
        compute_extra_scores(SAID, WANTED, section(at(server), criteria=criteria, max_requests=6))
    assert server.bodies == []
    server.answer = lambda body: ["1"]
    with caplog.at_level(logging.INFO):
        found = compute_extra_scores(
            SAID, WANTED, section(at(server), criteria=criteria, max_requests=7)
        )
    assert "7 requests to tiny, 0 answers recorded before" in caplog.text
    assert "700 tokens of prompts, 7 of answers" in caplog.text
    assert found.values == {
        "judge_consistency": 1,
        "judge_error": 75,
        "judge_time": 75,
    }
    assert found.counts["judge_error"]["requests"] == 2


def test_concurrency_is_limited(server: JudgeServer) -> None:
    def answer_slowly(_: Body) -> list[str]:
        time.sleep(0.05)  # so that requests that may run side by side do
        return ["Grade: 3"]

    server.answer = answer_slowly
    said = {str(n): f"Text {n}." for n in range(12)}
    wanted = dict.fromkeys(said, ("Good.",))
    JudgePanel(section(at(server, concurrency=2)).judges[0]).compute(said, wanted)
    assert server.most_running == 2 and len(server.bodies) == 12


def test_preflight_finds_missing_keys_servers_and_recordings(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(service: dict[str, Any]) -> None:
        from kinesweep.evaluation.judges.panel import build_judge

        build_judge(section(service).judges[0]).check()

    server.key = KEY
    check(at(server, api_key_variable="JUDGE_KEY"))
    with pytest.raises(JudgeError, match="needs a key"):
        check(at(server))
    monkeypatch.setenv("JUDGE_KEY", "other-secret")
    with pytest.raises(JudgeError, match="refused `JUDGE_KEY`") as caught:
        check(at(server, api_key_variable="JUDGE_KEY"))
    assert "other-secret" not in str(caught.value)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(JudgeError, match="`JUDGE_KEY` with the key"):
        check(at(server, api_key_variable="JUDGE_KEY"))
    with pytest.raises(JudgeError, match="no server answers at"):
        check({"kind": "openai", "base_url": "http://127.0.0.1:1/v1"})
    with pytest.raises(JudgeError, match="does not exist"):
        check({"kind": "replay", "recording": str(tmp_path / "nothing")})


def test_requests_are_spread_over_a_minute() -> None:
    pacer = RequestPacer(30)
    assert [pacer.reserve(now) for now in (0.0, 0.0, 1.0, 10.0)] == [0, 2, 3, 0]
    assert [RequestPacer(None).reserve(5.0) for _ in range(3)] == [0, 0, 0]


def test_delays_double_or_follow_the_server() -> None:
    assert [compute_retry_delay(n, None) for n in (0, 1, 5, 20)] == [1, 2, 32, 60]
    assert compute_retry_delay(0, "7") == 7 and compute_retry_delay(0, "1e9") == 600
    assert [compute_retry_delay(1, text) for text in ("Tue, 1 Dec", "-3", "nan")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"criteria": []}, "at least 1"),
        ({"criteria": ["error", "error"]}, "`error` twice"),
        ({"samples": 3}, "need a `temperature` above 0"),
        ({"scoring": "probabilities", "samples": 2, "temperature": 1}, "set `samples: 1`"),
        ({"label": "Big"}, "pattern"),
        ({"service": {"kind": "openai", "base_url": "ftp://x"}}, "must begin with `http://`"),
        ({"service": {"kind": "openai", "base_url": "http://a:b@x"}}, "no user, password"),
        (
            {"service": {"kind": "openai", "base_url": "http://x", "api_key_variable": "sk-12"}},
            "not the key itself",
        ),
        (
            {
                "scoring": "probabilities",
                "criteria": [{"name": "own", "definition": "x", "maximum": 10}],
            },
            "grades to 10",
        ),
        ({"criteria": [{"name": "own", "definition": "x", "minimum": 5}]}, "must be below"),
    ],
)
def test_settings_that_do_not_suit(settings: dict[str, Any], said: str) -> None:
    values = {"model": "m", "service": {"kind": "replay", "recording": "x"}, **settings}
    with pytest.raises(ValueError, match=said):
        EvaluationConfig.model_validate({"judges": [values]})


def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    service = {"kind": "openai", "base_url": "http://x", "api_key_variable": "sk-my-secret"}
    path = tmp_path / "section.yaml"
    path.write_text(json.dumps({"judges": [{"model": "m", "service": service}]}))
    with pytest.raises(ConfigError) as caught:
        load_config(EvaluationConfig, path)
    assert "sk-my-secret" not in str(caught.value) and "judges" in str(caught.value)


def test_a_fatal_failure_ends_the_others(server: JudgeServer) -> None:
    said = {str(n): f"Text {n}." for n in range(40)}
    wanted = dict.fromkeys(said, ("Good.",))
    server.failures = [(400, {})]
    with pytest.raises(JudgeError, match="status 400"):
        JudgePanel(section(at(server, concurrency=2)).judges[0]).compute(said, wanted)
    assert len(server.bodies) < 20


def test_names_of_scores_and_when_they_are_computed() -> None:
    replay = {"kind": "replay", "recording": "x"}
    own = {"name": "style", "definition": "Good style.", "maximum": 3}
    config = section(replay, criteria=["consistency", "error", own], label="coach")
    names = ("coach_consistency", "coach_error", "coach_style")
    assert config.judges[0].score_names == names
    assert [config.metric_modes[name] for name in names] == ["max"] * 3
    assert not set(names) & set(config.training_metrics)
    reason = config.explain_missing_metric("coach_error")
    assert reason is not None and "entry of `evaluation.judges`" in reason
    assert config.select_training_metrics().judges == ()
    always = section(replay, during_training=True)
    assert always.training_metrics[-1] == "judge_consistency"
    assert always.select_training_metrics().judges == always.judges
    judge = config.judges[0].model_dump()
    with pytest.raises(ValueError, match="two scores would be called `coach_consistency`"):
        EvaluationConfig.model_validate({"judges": [judge, judge]})


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


def test_the_recording_is_readable_by_people(server: JudgeServer, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    grade_of(section(at(server, record=str(path))), {"b": "Turn the hips."})
    line = json.loads(path.read_text())
    assert set(line) == {"digest", "repeat", "request", "response"}
    assert line["request"]["model"] == "tiny"
    assert line["response"]["choices"][0]["message"]["content"] == "4"


def test_two_evaluations_add_to_one_recording(server: JudgeServer, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    requests = [JudgeRequest({"model": "tiny", "messages": [str(i)]}) for i in range(4)]
    response = {"choices": [{"message": {"content": "4"}}]}
    first, second = Recording(path), Recording(path)
    for number, request in enumerate(requests):
        (first, second)[number % 2].add(request, response)
    # Half a line of a third process, which was killed.
    path.write_bytes(path.read_bytes() + b'{"digest": ')
    second.add(JudgeRequest({"model": "other"}), response)
    assert all(Recording(path).get(request) for request in requests)
    assert len(Recording(path)) == 5
    # Answers of the other evaluation are not paid for again.
    assert second.get(requests[0]) is not None


def test_grades_whose_probabilities_are_rounded_to_zero(server: JudgeServer) -> None:
    server.logprobs = [{"token": "4", "logprob": -9999.0, "top_logprobs": []}]
    config = section(at(server), scoring="probabilities")
    assert grade_of(config, {"b": "Turn the hips."}).value == 4.0


@pytest.mark.parametrize("logprobs", [[1], "text", 3])
def test_logprobs_of_another_form_are_an_error(logprobs: Any) -> None:
    choice = {"message": {"content": "4"}, "logprobs": logprobs}
    with pytest.raises(ValueError, match="`logprobs` cannot be read"):
        parse_response({"choices": [choice]})
