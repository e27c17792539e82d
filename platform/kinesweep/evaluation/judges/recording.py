"""Recorded answers of a judge: one JSON line for each request, keyed by the digest of the request.

A line holds the digest, the request and the answers. It never holds a key, because requests have
none. Scoring from a recording gives the same grades on every machine.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinesweep.core.errors import JudgeError
from kinesweep.core.io import hold_lock_file
from kinesweep.evaluation.judges.protocol import (
    JudgeAnswer,
    JudgeRequest,
    parse_response,
    prune_response,
)


class Recording:
    """A file of recorded answers, which is read whole and to which answers are added.

    Args:
        path: JSONL file; it need not exist.

    Raises:
        JudgeError: If the file cannot be read, or a line other than an unfinished last one is not a
            recorded answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Answers arrive in several threads, and their lines must not mix.
        self._lock = threading.Lock()
        self._answers: dict[str, JudgeAnswer] = {}
        # Bytes and lines that were read; answers of other processes may follow them.
        self._size = self._num_lines = 0
        if path.exists():
            self._read_new_lines()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, request: JudgeRequest) -> JudgeAnswer | None:
        """Return the recorded answer to a request; None if there is none."""
        return self._answers.get(request.digest)

    def add(self, request: JudgeRequest, response: Mapping[str, Any]) -> None:
        """Add a response to the file, at once, so that a crash loses no answer that was paid for.

        Several processes may add to one file; their answers are read, too.

        Raises:
            JudgeError: If the file cannot be written, or another process has damaged it.
        """
        line = {
            "digest": request.digest,
            "repeat": request.repeat,
            "request": dict(request.body),
            "response": prune_response(response),
        }
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8")
        lock_path = self.path.with_name(f".{self.path.name}.lock")
        with self._lock:
            try:
                with hold_lock_file(lock_path):
                    self._append(data)
            except OSError as error:
                raise JudgeError(
                    f"answers of a judge cannot be recorded in `{self.path}`: {error}"
                ) from None
            answer = replace(parse_response(response), is_replayed=True)
            self._answers[request.digest] = answer

    def _append(self, data: bytes) -> None:
        """Append a line after the last complete one, while no other process writes.

        Raises:
            JudgeError: If another process has written something else than answers.
            OSError: If the file cannot be written.
        """
        if self.path.exists():
            self._read_new_lines()
        with self.path.open("ab") as file:
            # Only half a line of a process that was killed is removed: writers hold the lock.
            file.truncate(self._size)
            file.write(data)
        self._size += len(data)
        self._num_lines += 1

    def _read_new_lines(self) -> None:
        """Read the complete lines that were not read before.

        Raises:
            JudgeError: See the class.
        """
        try:
            with self.path.open("rb") as file:
                # A shorter file is another one.
                if file.seek(0, os.SEEK_END) < self._size:
                    self._size = self._num_lines = 0
                file.seek(self._size)
                data = file.read()
        except OSError as error:
            raise JudgeError(f"the recording `{self.path}` cannot be read: {error}") from None
        # What follows the last line break is unfinished and is written again.
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        for number, line in enumerate(lines, start=self._num_lines + 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
                answer = replace(parse_response(values["response"]), is_replayed=True)
                self._answers[str(values["digest"])] = answer
            except (ValueError, TypeError, KeyError) as error:
                raise JudgeError(
                    f"line {number} of the recording `{self.path}` is not a recorded answer:"
                    f" {error}. Remove the line, or record the answers again"
                ) from None
        self._size += sum(map(len, lines))
        self._num_lines += len(lines)


class ReplayJudge:
    """A judge that answers from a recording only.

    Args:
        path: JSONL file of recorded answers.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recording: Recording | None = None

    def check(self) -> None:
        """Check that the recording exists and can be read.

        Raises:
            JudgeError: If it does not.
        """
        if not self._path.is_file():
            raise JudgeError(
                f"`evaluation.judges`: the recording `{self._path}` does not exist. Record answers"
                " with `service: {kind: openai, record: FILE, …}`, or name another file"
            )
        self._recording = Recording(self._path)

    def count_unanswered(self, requests: Sequence[JudgeRequest]) -> int:
        """Return 0, because nothing is sent to a server."""
        return 0

    def answer(self, requests: Sequence[JudgeRequest]) -> list[JudgeAnswer]:
        """Return the recorded answers to requests, in their order.

        Raises:
            JudgeError: If the recording lacks some of them or cannot be read.
        """
        if self._recording is None:
            self.check()
        assert self._recording is not None
        answers = [self._recording.get(request) for request in requests]
        # All of them are counted before the error, which shows how much would have to be recorded.
        missing = [r for r, answer in zip(requests, answers, strict=True) if answer is None]
        if missing:
            text = str(missing[0].body["messages"][-1]["content"])
            raise JudgeError(
                f"the recording `{self._path}` has no answer to {len(missing)} of {len(requests)}"
                f" requests; it has {len(self._recording)} answers. Texts, model, prompt and"
                " sampling settings must be those of the recording. The first request that it"
                f" lacks ends with: …{text[-200:]!r}"
            )
        return [answer for answer in answers if answer is not None]
