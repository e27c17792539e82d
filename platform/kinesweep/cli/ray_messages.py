"""Keeps out of the output what Ray tells its own developers.

Ray reaches the terminal of a command in three ways. The logs of its workers and its Python loggers
are turned off by `ray.init`. What a raylet publishes is printed in spite of that: `MESSAGES` drops
the warning that says nothing is wrong and leaves those that a user can act on, such as a worker
killed for its memory, without colour codes. Its C++ core writes errors to stderr by itself, which
`native_log_off` stops. Around the log of a job stand lines of Ray's own, which `job_lines` and
`job_client_log_off` leave out.
"""

import logging
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

MESSAGES = {
    # A slot has five processes that ask for no core (its own actor, a trial, a controller, …), so a
    # sweep always has more than Ray expects of so few cores. It counts up: 8, 10, 12 …
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker processes have been started on node",
    # Without deduplication Ray does not look at the expression above.
    "RAY_DEDUP_LOGS": "1",
    "RAY_COLOR_PREFIX": "0",
}
"""Variables that Ray reads when it is first imported."""
_LEVEL = "RAY_BACKEND_LOG_LEVEL"
_NATIVE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] \w+\.cc:\d+: ")
_JOB = re.compile(r"[\d-]+ [\d:,]+\tINFO job_manager\.py:\d+ -- |Running entrypoint for job ")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


async def job_lines(chunks: AsyncIterator[str], colors: bool) -> AsyncIterator[str]:
    """Yield the lines of a job's log, without those that Ray's job manager writes at its head.

    Args:
        chunks: the log as it grows; a chunk may end in the middle of a line.
        colors: whether colour codes are kept; they belong on a terminal alone.
    """
    rest = ""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            if not _JOB.match(line):
                yield (line if colors else _COLOR.sub("", line)) + "\n"
    if rest and not _JOB.match(rest):
        yield rest if colors else _COLOR.sub("", rest)


def job_client_log_off() -> None:
    """Turn off what the client of Ray's job server says of its connection; errors are raised.

    To be called after the client is imported, which sets the level itself.
    """
    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)


@contextmanager
def native_log_off() -> Iterator[None]:
    """Turn off the C++ log of the Ray that is connected to within, up to what ends the process.

    The core calls it an error that Ray Data's actor pools have arguments in the object store, where
    a restarted actor might miss them. Ray Data puts them there whatever they are, and here this
    process owns them and holds them until the pool is gone. Whatever does go wrong comes as an
    exception. A level that the user has set is left alone.
    """
    if _LEVEL in os.environ:
        yield
        return
    # Not in `os.environ`, from which Ray starts its processes: their log files stay as they are.
    os.putenv(_LEVEL, "fatal")
    try:
        with _stderr_without_native_lines():
            yield
    finally:
        os.unsetenv(_LEVEL)


@contextmanager
def _stderr_without_native_lines() -> Iterator[None]:
    """Hold stderr back, then write it without the lines of Ray's core; all of it after an error.

    The core tells on stderr that it was given a level, whatever the level.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    before = os.dup(2)
    keep_all = True
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            keep_all = False
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            held.seek(0)
            for line in held:
                if keep_all or not _NATIVE.match(line):
                    os.write(2, line)
