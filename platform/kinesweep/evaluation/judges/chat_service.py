"""A judge behind the chat completion interface of OpenAI, which many servers have.

Requests are sent from a few threads, no faster than the recipe allows, and repeated after failures
that pass. The key comes from an environment variable and goes into one header: it is in no request
body, recording, log or error message, and redirects are not followed, because they would carry it
to another host.
"""

import http.client
import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from kinesweep.config.recipe.scores.judges import ChatServiceConfig
from kinesweep.core.errors import JudgeError, format_one_line
from kinesweep.evaluation.judges.protocol import (
    JudgeAnswer,
    JudgeRequest,
    parse_response,
    prune_response,
)
from kinesweep.evaluation.judges.recording import Recording
from kinesweep.evaluation.judges.request_pacing import (
    RETRIED_STATUSES,
    RequestPacer,
    compute_retry_delay,
)

logger = logging.getLogger(__name__)

_PROGRESS_STEP = 100
"""Answers between two lines of progress; these take about a minute at four requests at a time."""
_CHECK_TIMEOUT_S = 10.0
_REFUSED_STATUSES = (401, 403)
_MAX_RESPONSE_BYTES = 32 * 2**20


class _NoRedirects(HTTPRedirectHandler):
    """Turns redirects into errors."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request, so that the redirect is raised as an error."""


class _RetryableError(Exception):
    """A failure after which a request is repeated.

    Args:
        reason: Explanation.
        retry_after: Header `Retry-After` of the response, if any.
    """

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


class _StoppedError(Exception):
    """Another request has failed, so this one is not sent."""


class ChatServiceJudge:
    """A judge on a server, which records its answers if the recipe names a file.

    Args:
        config: Address, limits and recording.

    Raises:
        JudgeError: If the recording cannot be read.
    """

    def __init__(self, config: ChatServiceConfig) -> None:
        self._config = config
        # Some servers answer a doubled slash with a redirect, which is refused here.
        self._base_url = config.base_url.rstrip("/")
        self._recording = None if config.record is None else Recording(Path(config.record))
        # Replaces the default handler, which would send the key along to another host.
        self._opener = build_opener(_NoRedirects)
        self._pacer = RequestPacer(config.requests_per_minute)

    def check(self) -> None:
        """Check that the key is set and that the server answers and accepts it.

        Raises:
            JudgeError: If one of these is not the case.
        """
        key = self._read_key()
        request = Request(f"{self._base_url}/models", headers=self._build_headers(key))
        try:
            # A long timeout is meant for answers, not for finding out whether a server is there.
            timeout_s = min(self._config.timeout_s, _CHECK_TIMEOUT_S)
            with self._opener.open(request, timeout=timeout_s):
                pass
        except HTTPError as error:
            error.close()
            # Some servers list no models; any other answer shows that there is one.
            if error.code in _REFUSED_STATUSES:
                raise self._build_refusal(error.code) from None
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            raise JudgeError(
                f"`evaluation.judges`: no server answers at `{self._base_url}`"
                f" ({format_one_line(error)}). Start it, correct `base_url`, or replay answers with"
                " `service: {kind: replay, recording: FILE}`"
            ) from None

    def count_unanswered(self, requests: Sequence[JudgeRequest]) -> int:
        """Return the number of requests without a recorded answer."""
        return sum(self._find_recorded(request) is None for request in requests)

    def answer(self, requests: Sequence[JudgeRequest]) -> list[JudgeAnswer]:
        """Answer requests, recorded ones from the file and others by the server.

        Raises:
            JudgeError: If the key is missing or refused, the server cannot be reached, or a request
                fails more often than allowed. Answers until then are recorded.
        """
        # Complete recordings need no key.
        if not self.count_unanswered(requests):
            return [answer for r in requests if (answer := self._find_recorded(r)) is not None]
        key, stop = self._read_key(), threading.Event()
        with ThreadPoolExecutor(self._config.concurrency) as executor:
            futures = [executor.submit(self._answer_unless, stop, r, key) for r in requests]
            try:
                for number, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    if number % _PROGRESS_STEP == 0:
                        logger.info(f"judge       {number} of {len(futures)} answers")
            except BaseException:
                # The others would go on spending; those that wait end at once.
                stop.set()
                executor.shutdown(wait=False, cancel_futures=True)
                raise
        return [answer for f in futures if (answer := f.result()) is not None]

    def _answer_unless(
        self, stop: threading.Event, request: JudgeRequest, key: str | None
    ) -> JudgeAnswer | None:
        """Answer one request; None if another one has failed, which ends all of them.

        Raises:
            JudgeError: See `answer`.
        """
        try:
            return self._answer_one(request, key, stop)
        except _StoppedError:
            return None
        except BaseException:
            stop.set()
            raise

    def _find_recorded(self, request: JudgeRequest) -> JudgeAnswer | None:
        """Return the recorded answer to a request, if any."""
        return None if self._recording is None else self._recording.get(request)

    def _answer_one(
        self, request: JudgeRequest, key: str | None, stop: threading.Event
    ) -> JudgeAnswer:
        """Answer one request, and record the answer.

        Raises:
            JudgeError: See `answer`.
            _StoppedError: If another request has failed.
        """
        # Looked up again: an equal request may have been answered since the start.
        recorded = self._find_recorded(request)
        if recorded is not None:
            return recorded
        for attempt in range(self._config.max_retries + 1):
            # An event instead of `sleep`, so that a failure ends all waits at once.
            stop.wait(self._pacer.reserve(time.monotonic()))
            if stop.is_set():
                raise _StoppedError
            try:
                response = self._send(request.body, key)
                break
            except _RetryableError as failure:
                if attempt == self._config.max_retries:
                    raise JudgeError(
                        f"the judge at `{self._base_url}` failed {attempt + 1} times:"
                        f" {failure.reason}. Run the command again; recorded answers are kept"
                    ) from None
                stop.wait(compute_retry_delay(attempt, failure.retry_after))
        answer = self._parse(response, int(request.body.get("n", 1)))
        if self._recording is not None:
            self._recording.add(request, prune_response(response))
        return answer

    def _send(self, body: Mapping[str, Any], key: str | None) -> Mapping[str, Any]:
        """Send one request and return the JSON values of the response.

        Raises:
            JudgeError: If the server refuses the request.
            _RetryableError: If the request should be repeated.
        """
        url = f"{self._base_url}/chat/completions"
        data = json.dumps(body, ensure_ascii=False).encode("utf-8")
        request = Request(url, data=data, headers=self._build_headers(key), method="POST")
        try:
            with self._opener.open(request, timeout=self._config.timeout_s) as response:
                # Bounded: a wrong address may lead to a page or a download of any size.
                content = response.read(_MAX_RESPONSE_BYTES)
            values: Mapping[str, Any] = json.loads(content)
            return values
        except HTTPError as error:
            # `from None`: a log then shows the message only, from which the key was removed.
            raise self._explain_status(error, key) from None
        except (URLError, OSError, http.client.HTTPException) as error:
            raise _RetryableError(format_one_line(error) or type(error).__name__) from None
        except ValueError:
            # A proxy that fails may answer with a page.
            raise _RetryableError("the response is not JSON") from None

    def _explain_status(self, error: HTTPError, key: str | None) -> JudgeError | _RetryableError:
        """Return the exception for a status that is not a success."""
        with error:
            if error.code in _REFUSED_STATUSES:
                return self._build_refusal(error.code)
            message = error.read(2000).decode("utf-8", errors="replace")
        # Servers may repeat what they were sent.
        message = " ".join(message.replace(key, "***").split() if key else message.split())[:300]
        if error.code in RETRIED_STATUSES:
            return _RetryableError(
                f"status {error.code}: {message}", error.headers.get("Retry-After")
            )
        return JudgeError(
            f"the judge at `{self._base_url}` refused a request with status {error.code}:"
            f" {message}. Check `model`, `samples`, `token_limit_key` and the other settings of"
            " `evaluation.judges`"
        )

    def _parse(self, response: Mapping[str, Any], num_choices: int) -> JudgeAnswer:
        """Parse a response and check its number of answers.

        Raises:
            JudgeError: If it is no chat completion or has another number of answers.
        """
        try:
            answer = parse_response(response)
        except ValueError as error:
            raise JudgeError(
                f"the response of `{self._base_url}` is not a chat completion: {error}"
            ) from None
        # Some servers ignore `n`, and fewer answers would silently change the mean.
        if len(answer.choices) != num_choices:
            raise JudgeError(
                f"the judge at `{self._base_url}` gave {len(answer.choices)} answers instead"
                f" of {num_choices}; set `samples_per_request: 1` in `evaluation.judges`"
            )
        return answer

    def _read_key(self) -> str | None:
        """Return the key; None if the server needs none.

        Raises:
            JudgeError: If the environment variable is not set.
        """
        name = self._config.api_key_variable
        # Keys that were read from a file often end with a line break, which headers cannot hold.
        key = None if name is None else os.environ.get(name, "").strip()
        if key == "":
            raise JudgeError(
                f"`evaluation.judges`: the environment variable `{name}` with the key of"
                f" `{self._base_url}` is not set; set it, or replay answers with"
                " `service: {kind: replay, recording: FILE}`"
            )
        return key

    def _build_headers(self, key: str | None) -> dict[str, str]:
        """Build the headers of a request."""
        headers = {"Content-Type": "application/json", "User-Agent": "kinesweep"}
        return headers if key is None else headers | {"Authorization": f"Bearer {key}"}

    def _build_refusal(self, status: int) -> JudgeError:
        """Build the error for a key that the server does not accept."""
        name = self._config.api_key_variable
        cause = "needs a key; set `api_key_variable`" if name is None else f"refused `{name}`"
        return JudgeError(
            f"`evaluation.judges`: the server at `{self._base_url}` {cause} (status {status})"
        )
