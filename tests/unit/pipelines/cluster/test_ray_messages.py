"""What Ray's core writes to stderr by itself, in processes whose file 2 is looked at."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator

from kinesweep.pipelines.cluster.ray_messages import iter_job_log_lines

MANY = "WARNING: 8 PYTHON worker processes have been started on node: 12 with address: 127.0.0.1"
KILLED = "2 Workers (tasks / actors) killed due to memory pressure (OOM)"
OURS = "warning: of somebody else"
RAYS = "[2026-11-29 17:50:39,186 I 21033 21033] logging.cc:303: Set ray log level from environment"


def run(body: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A process in which `core()` stands for Ray's C++: it reads its own environment and writes."""
    head = f"""
        import ctypes, os, subprocess, sys
        from kinesweep.pipelines.cluster.ray_messages import mute_native_log
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_char_p

        def core():
            os.write(2, b"{RAYS}\\n{OURS}\\n")
            return libc.getenv(b"RAY_BACKEND_LOG_LEVEL")
        """
    code = textwrap.dedent(head) + textwrap.dedent(body)
    env = {k: v for k, v in os.environ.items() if k != "RAY_BACKEND_LOG_LEVEL"} | more
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    )


def test_only_rays_own_lines_are_dropped() -> None:
    done = run(
        """
        with mute_native_log():
            print("from Python", file=sys.stderr)
            print(core())
            ask = "import os; print(os.environ.get('RAY_BACKEND_LOG_LEVEL'))"
            subprocess.run([sys.executable, "-c", ask], env=dict(os.environ))
        print(libc.getenv(b"RAY_BACKEND_LOG_LEVEL"), flush=True)
        os.write(2, b"after\\n")
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"from Python\n{OURS}\nafter\n"
    # The level reaches the core of this process, and none that is started from `os.environ`.
    assert sorted(done.stdout.split()) == ["None", "None", "b'fatal'"]


def test_all_is_told_after_an_error() -> None:
    done = run("with mute_native_log():\n    core(); raise SystemExit(3)")
    assert done.returncode == 3
    assert done.stderr == f"{RAYS}\n{OURS}\n"


def test_a_level_of_the_users_stays() -> None:
    done = run("with mute_native_log():\n    print(core())", RAY_BACKEND_LOG_LEVEL="debug")
    assert done.stdout == "b'debug'\n"
    assert done.stderr == f"{RAYS}\n{OURS}\n"


LOG = (
    "2026-11-29 18:11:13,100\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    "Running entrypoint for job raysubmit_J2kyAYunmBvZp7xH: python -m kinesweep sweep space.yaml\n"
    "trial 0: learning_rate=0.00258\n"
    "\n"
    "\x1b[33mtrial 0\x1b[0m: finished\n"
    "the end of a process that was killed"
)
CLEAN = "trial 0: learning_rate=0.00258\n\ntrial 0: finished\nthe end of a process that was killed"


def followed(size: int, colors: bool) -> str:
    """The log, out of chunks of a size."""

    async def chunks() -> AsyncIterator[str]:
        for start in range(0, len(LOG), size):
            yield LOG[start : start + size]

    async def read() -> str:
        return "".join([line async for line in iter_job_log_lines(chunks(), colors)])

    return asyncio.run(read())


def test_a_jobs_log_without_rays_head() -> None:
    """Wherever it was cut."""
    assert {followed(size, colors=False) for size in range(1, len(LOG) + 1)} == {CLEAN}


def test_colours_stay_on_a_terminal() -> None:
    assert "\x1b[33mtrial 0\x1b[0m: finished\n" in followed(7, colors=True)


def printed(message: str) -> subprocess.CompletedProcess[str]:
    """What Ray's own code prints of a message that a raylet publishes, under our variables."""
    body = f"""
        from kinesweep.pipelines.cluster import ray_cluster
        ray_cluster.set_ray_env()
        from ray._private.worker import print_to_stdstream
        print_to_stdstream({{"lines": [{message!r}], "pid": "raylet", "is_err": False}}, False)
        """
    return run(body)


def test_ray_prints_a_published_message_unless_it_is_of_many_processes() -> None:
    assert printed(MANY).stdout == ""
    assert printed(KILLED).stdout == f"(raylet) {KILLED}\n"
