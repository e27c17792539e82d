"""A job server that is busy: nothing is submitted twice, and no end is missed."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from requests.exceptions import ConnectionError as Dropped

from kinesweep.core.errors import ResourceError
from kinesweep.pipelines.cluster import job_submission


class Server:
    """Answers with what it is given, one after the other; the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.jobs = list(answers), []

    def submit_job(self, **asked: Any) -> Any:
        """Like Ray's client."""
        self.jobs.append(asked["submission_id"])
        return self._answer(asked["submission_id"])

    def get_job_info(self, job: str) -> Any:
        """Like Ray's client."""
        return self._answer(job)

    def _answer(self, job: str) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(job) if callable(answer) else answer


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which a wait is over at once."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(job_submission.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(
        job_submission.time, "sleep", lambda s: setattr(clock, "now", clock.now + s)
    )


def taken(job: str) -> Any:
    """The answer to a job that is there already."""
    raise RuntimeError(f"Job with submission_id {job} already exists. Please use another one.")


def test_a_job_whose_answer_was_lost_is_not_submitted_twice() -> None:
    server = Server(Dropped("aborted"), RuntimeError("No available agent"), taken)
    assert job_submission._submit_with_retry(server, "true", {}) == server.jobs[0]
    assert len(set(server.jobs)) == 1 and len(server.jobs) == 3


@pytest.mark.parametrize("error", [Dropped("aborted"), RuntimeError("No available agent")])
def test_a_server_that_never_takes_it_is_given_up(error: Exception) -> None:
    server = Server(error)
    with pytest.raises(ResourceError, match=str(error)):
        job_submission._submit_with_retry(server, "true", {})
    assert len(server.jobs) > 10


def test_a_refused_job_is_refused_at_once() -> None:
    server = Server(RuntimeError("runtime_env is invalid"))
    with pytest.raises(ResourceError, match="runtime_env is invalid"):
        job_submission._submit_with_retry(server, "true", {})
    assert len(server.jobs) == 1


def test_a_log_that_breaks_off_ends_nothing() -> None:
    written: list[str] = []

    async def tail(job: str) -> AsyncIterator[str]:
        yield "trial 0: finished\n"
        raise RuntimeError("closed unexpectedly with close code 1006")

    asyncio.run(
        job_submission._copy_job_log(SimpleNamespace(tail_job_logs=tail), "job", written.append)
    )
    said = "".join(written)
    assert said.startswith("trial 0: finished\n") and "broke off (closed unexpectedly" in said


def info(is_terminal: bool) -> Any:
    """What the server knows of a job."""
    return SimpleNamespace(status=SimpleNamespace(is_terminal=lambda: is_terminal))


def test_the_end_is_waited_for_after_its_log_broke_off() -> None:
    end = info(True)
    assert (
        job_submission._wait_for_job_end(
            Server(info(False), Dropped("aborted"), info(False), end), "job"
        )
        is end
    )
    with pytest.raises(ResourceError, match="no longer answers"):
        job_submission._wait_for_job_end(Server(info(False), Dropped("aborted")), "job")


@pytest.mark.parametrize(
    "address", ["", "nonsense", "foo://x", "http://[::1", "http://127.0.0.1:1"]
)
def test_a_wrong_address_is_named(address: str) -> None:
    with pytest.raises(ResourceError, match="`--address` must be that of") as refused:
        job_submission._connect(address)
    assert f"`{address}`" in str(refused.value)
