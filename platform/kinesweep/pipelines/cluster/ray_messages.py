"""Filters that keep Ray's own messages out of the output of the commands.

Ray writes to the terminal of a command in three ways. `ray.init` turns off the logs of its workers
and its Python loggers. Messages that a raylet publishes are printed nevertheless: `RAY_MESSAGE_ENV`
drops a harmless warning and keeps, without color codes, those that a user can act on, such as a
worker killed for its memory. Ray's C++ core writes errors directly to stderr, which
`mute_native_log` stops. `iter_job_log_lines` and `mute_job_client_log` remove the lines that Ray
adds to the log of a job.
"""

import logging
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

# Variables that Ray reads when it is first imported.
RAY_MESSAGE_ENV = {
    # A worker slot has five processes that reserve no core (its actor, a trial, a controller, …).
    # So a sweep has more processes than Ray expects for its cores, and Ray warns at 8, 10, 12 …
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker processes have been started on node",
    # Ray applies the expression above only if deduplication is on.
    "RAY_DEDUP_LOGS": "1",
    "RAY_COLOR_PREFIX": "0",
}
_LOG_LEVEL_VARIABLE = "RAY_BACKEND_LOG_LEVEL"
# A line of Ray's C++ core: `[2026-11-30 07:46:00,123 E 4711 4711] core_worker.cc:1234: …`.
_NATIVE_LOG_PATTERN = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] \w+\.cc:\d+: ")
# Lines that the job manager writes at the head of a job's log.
_JOB_MANAGER_PATTERN = re.compile(
    r"[\d-]+ [\d:,]+\tINFO job_manager\.py:\d+ -- |Running entrypoint for job "
)
_COLOR_CODE_PATTERN = re.compile(r"\x1b\[[0-9;]*m")


async def iter_job_log_lines(chunks: AsyncIterator[str], colors: bool) -> AsyncIterator[str]:
    """Yield the lines of a job's log, without those that Ray's job manager writes at its head.

    Args:
        chunks: Parts of the log as it grows; a part may end in the middle of a line.
        colors: Whether to keep color codes, which only a terminal understands.

    Yields:
        A line with its line break; the last line has none if the log has none.
    """
    remainder = ""
    async for chunk in chunks:
        *lines, remainder = (remainder + chunk).split("\n")
        for line in lines:
            if not _JOB_MANAGER_PATTERN.match(line):
                yield (line if colors else _COLOR_CODE_PATTERN.sub("", line)) + "\n"
    if remainder and not _JOB_MANAGER_PATTERN.match(remainder):
        yield remainder if colors else _COLOR_CODE_PATTERN.sub("", remainder)


def mute_job_client_log() -> None:
    """Turn off the job client's messages on connections and uploads; errors are still raised.

    Call it after the client is imported, because the import sets the level itself.
    """
    for module in ("dashboard.modules.job.sdk", "dashboard.modules.dashboard_sdk"):
        logging.getLogger(f"ray.{module}").setLevel(logging.WARNING)
    logging.getLogger("ray._private.runtime_env.packaging").setLevel(logging.WARNING)


@contextmanager
def mute_native_log() -> Iterator[None]:
    """Turn off the C++ log, except fatal messages, if `ray.init` is called inside the block.

    The core logs an error whenever arguments of an actor pool of Ray Data lie in the object store,
    where a restarted actor might not find them. Ray Data always puts them there, and in Kinesweep
    this process owns them and keeps them until the pool is gone, so the message is a false alarm.
    Real failures are raised as exceptions. A level that the user has set is left unchanged.
    """
    if _LOG_LEVEL_VARIABLE in os.environ:
        yield
        return
    # `os.putenv` instead of `os.environ`: Ray passes `os.environ` on to the processes that it
    # starts, and their log files should keep their level.
    os.putenv(_LOG_LEVEL_VARIABLE, "fatal")
    try:
        with _filter_native_log_lines():
            yield
    finally:
        os.unsetenv(_LOG_LEVEL_VARIABLE)


@contextmanager
def _filter_native_log_lines() -> Iterator[None]:
    """Filter the log lines of Ray's C++ core out of the stderr of the block.

    If the block raises an exception, all lines are written to stderr.

    The core reports on stderr that a log level was set, whatever the level is.
    """
    # C++ code writes to file descriptor 2, so the descriptor is redirected and not `sys.stderr`.
    if sys.stderr is not None:
        sys.stderr.flush()
    # Python's buffer was flushed above; otherwise its text would land in the temporary file.
    stderr_copy = os.dup(2)
    keep_all = True
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
            keep_all = False
        finally:
            # Restore the descriptor before writing, so that the kept lines reach the terminal.
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(stderr_copy, 2)
            os.close(stderr_copy)
            buffer.seek(0)
            for line in buffer:
                if keep_all or not _NATIVE_LOG_PATTERN.match(line):
                    os.write(2, line)
