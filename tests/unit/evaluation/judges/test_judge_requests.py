"""Requests of judges: failures, limits, keys, pacing and the check before a run."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from judge_server import Body, JudgeServer
from judging import KEY, SAID, WANTED, at, grade_of, section
from kinesweep.core.errors import JudgeError
from kinesweep.evaluation.judges import chat_service
from kinesweep.evaluation.judges.panel import JudgePanel
from kinesweep.evaluation.judges.request_pacing import RequestPacer, compute_retry_delay
from kinesweep.evaluation.metrics import compute_extra_scores


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


def test_a_fatal_failure_ends_the_others(server: JudgeServer) -> None:
    said = {str(n): f"Text {n}." for n in range(40)}
    wanted = dict.fromkeys(said, ("Good.",))
    server.failures = [(400, {})]
    with pytest.raises(JudgeError, match="status 400"):
        JudgePanel(section(at(server, concurrency=2)).judges[0]).compute(said, wanted)
    assert len(server.bodies) < 20
