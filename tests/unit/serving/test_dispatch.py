"""Clips reach a replica although others die; what cannot be helped is said."""

import asyncio
from typing import Any

import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError

from kinesweep.serving import dispatch, service
from kinesweep.serving.clip_request import ClipRequest, RequestOptions
from kinesweep.serving.dispatch import Dispatcher
from kinesweep.serving.errors import RequestError, ServingError
from kinesweep.serving.limits import ServeLimits

REQUEST = ClipRequest(RequestOptions())


class Handle:
    """Answers with results or errors, one after the other."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.cancelled = 0

    def remote(self, request: ClipRequest) -> Any:
        outcome = self.outcomes.pop(0)
        handle = self

        class Response:
            def __await__(self) -> Any:
                async def answer() -> Any:
                    if outcome == "hang":
                        await asyncio.sleep(60)
                    if isinstance(outcome, Exception) and not isinstance(outcome, RequestError):
                        raise outcome
                    return outcome

                return answer().__await__()

            def cancel(self) -> None:
                handle.cancelled += 1

        return Response()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_RETRY_WAIT_S", 0.0)


def send(handle: Handle, **limits: Any) -> tuple[Any, int]:
    retries = 0

    def count() -> None:
        nonlocal retries
        retries += 1

    dispatcher = Dispatcher(handle, ServeLimits(**limits), count)
    try:
        return asyncio.run(dispatcher.translate(REQUEST)), retries
    except RequestError as error:
        return error, retries


def test_a_clip_of_a_dead_replica_is_sent_again() -> None:
    handle = Handle(RayActorError(), RayActorError(), {"text": "a"})
    assert send(handle) == ({"text": "a"}, 2)


def test_retries_end() -> None:
    error, retries = send(Handle(*[RayActorError()] * 9), max_retries=3)
    assert (error.status, error.error, retries) == (503, "replica_lost", 3)


def test_a_clip_that_takes_too_long_is_cancelled() -> None:
    handle = Handle("hang")
    error, _ = send(handle, timeout_s=0.05)
    assert (error.status, error.error, handle.cancelled) == (504, "timeout", 1)


def test_a_timeout_after_deaths_names_them() -> None:
    error, _ = send(Handle(RayActorError(), "hang"), timeout_s=0.05)
    assert error.status == 504 and "1 of its replicas died" in error.reason


class FragileReplica:
    """Dies with all clips that it has as soon as one of them has the prompt `poison`."""

    def __init__(self) -> None:
        self.pending: list[asyncio.Future[Any]] = []

    def remote(self, request: ClipRequest) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.pending.append(future)
        asyncio.get_running_loop().call_later(0.01, self._finish, future, request)
        return future

    def _finish(self, future: Any, request: ClipRequest) -> None:
        if request.options.prompt == "poison":
            dead, self.pending = self.pending, []
            for one in dead:
                one.set_exception(RayActorError())
        elif not future.done():
            self.pending.remove(future)
            future.set_result({"text": "a"})


def test_a_clip_that_kills_replicas_costs_no_other_clip_its_text() -> None:
    async def translate_all() -> list[Any]:
        dispatcher = Dispatcher(FragileReplica(), ServeLimits(), lambda: None)
        prompts = ["poison", *["a"] * 8]
        clips = [ClipRequest(RequestOptions(prompt=prompt)) for prompt in prompts]
        return await asyncio.gather(*map(dispatcher.translate, clips), return_exceptions=True)

    poison, *others = asyncio.run(translate_all())
    assert (poison.status, poison.error) == (503, "replica_lost")
    assert others == [{"text": "a"}] * 8


def test_an_error_of_a_clip_is_not_retried() -> None:
    error, retries = send(Handle(RequestError(400, "unusable_file", "garbage")))
    assert (error.status, error.error, retries) == (400, "unusable_file", 0)


def test_full_queues_and_bugs_have_errors_of_their_own() -> None:
    assert send(Handle(BackPressureError(1, 1)))[0].status == 429
    bug = RayTaskError("f", "traceback with a secret", ZeroDivisionError("x"))
    error, _ = send(Handle(bug))
    assert (error.status, error.error) == (500, "internal")
    assert "secret" not in error.reason and "ZeroDivisionError" in error.reason


def test_replicas_whose_answers_are_lost_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a cluster without tokens would let every request take too long."""

    class Silent:
        get_pid = property(lambda self: self)

        def remote(self) -> "Silent":
            return self

        def result(self, timeout_s: float) -> int:
            raise TimeoutError

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ServingError, match=r"RAY_AUTH_MODE=disabled.*is `token`"):
        service._check_answer(Silent())
