"""Recordings of judges: replayed, kept when a process is killed, shared and readable."""

import json
from pathlib import Path

import pytest

from judge_server import JudgeServer
from judging import KEY, at, by_text, grade_of, section
from kinesweep.core.errors import JudgeError
from kinesweep.evaluation.judges.protocol import JudgeRequest
from kinesweep.evaluation.judges.recording import Recording


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
