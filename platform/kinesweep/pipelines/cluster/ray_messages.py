"""Filter Ray's own messages out of the output of the commands.

Ray writes to the terminal of a command in three ways. `ray.init` turns off the logs of its workers
and its Python loggers. Messages that a raylet publishes are printed nevertheless: `MESSAGES` drops
a harmless warning and keeps, without colour codes, those that a user can act on, such as a worker
killed for its memory. Ray's C++ core writes errors directly to stderr, which `native_log_off`
stops. `job_lines` and `job_client_log_off` remove the lines that Ray adds to the log of a job.
"""

import logging
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

# Variables that Ray reads when it is first imported.
MESSAGES = {
    # A worker slot has five processes that reserve no core (its actor, a trial, a controller, …).
    # So a sweep has more processes than Ray expects for its cores, and Ray warns at 8, 10, 12 …
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker processes have been started on node",
    # Ray applies the expression above only if deduplication is on.
    "RAY_DEDUP_LOGS": "1",
    "RAY_COLOR_PREFIX": "0",
}
_LEVEL = "RAY_BACKEND_LOG_LEVEL"
# A line of Ray's C++ core: `[2026-11-30 07:46:00,123 E 4711 4711] core_worker.cc:1234: …`.
_NATIVE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] \w+\.cc:\d+: ")
# Lines that the job manager writes at the head of a job's log.
_JOB = re.compile(r"[\d-]+ [\d:,]+\tINFO job_manager\.py:\d+ -- |Running entrypoint for job ")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


async def job_lines(chunks: AsyncIterator[str], colors: bool) -> AsyncIterator[str]:
    """Yield the lines of a job's log without those that Ray's job manager writes at its head.

    Args:
        chunks: Pieces of the log as it grows; a piece may end in the middle of a line.
        colors: Whether to keep colour codes, which only a terminal understands.
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
    """Turn off the connection messages of the client of Ray's job server; errors are still raised.

    Call it after the client is imported, because the import sets the level itself.
    """
    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)


@contextmanager
def native_log_off() -> Iterator[None]:
    """Turn off the C++ log of a Ray that is connected to inside the block, except fatal messages.

    The core logs an error whenever arguments of an actor pool of Ray Data lie in the object store,
    where a restarted actor might not find them. Ray Data always puts them there, and in Kinesweep
    this process owns them and keeps them until the pool is gone, so the message is a false alarm.
    Real failures are raised as exceptions. A level that the user has set is left unchanged.
    """
    if _LEVEL in os.environ:
        yield
        return
    # `os.putenv` instead of `os.environ`: Ray passes `os.environ` on to the processes that it
    # starts, and their log files should keep their level.
    os.putenv(_LEVEL, "fatal")
    try:
        with _stderr_without_native_lines():
            yield
    finally:
        os.unsetenv(_LEVEL)


@contextmanager
def _stderr_without_native_lines() -> Iterator[None]:
    """Buffer stderr and then write it without the lines of Ray's core; keep all after an error.

    The core reports on stderr that a log level was set, whatever the level is.
    """
    # C++ code writes to file descriptor 2, so the descriptor is redirected and not `sys.stderr`.
    if sys.stderr is not None:
        sys.stderr.flush()
    # Python's buffer was flushed above; otherwise its text would land in the temporary file.
    before = os.dup(2)
    keep_all = True
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            keep_all = False
        finally:
            # Restore the descriptor before writing, so that the kept lines reach the terminal.
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            held.seek(0)
            for line in held:
                if keep_all or not _NATIVE.match(line):
                    os.write(2, line)
