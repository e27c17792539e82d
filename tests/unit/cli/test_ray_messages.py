"""What Ray's core writes to stderr by itself, in processes whose file 2 is looked at."""

import os
import re
import subprocess
import sys
import textwrap

from kinesweep.cli.ray_messages import MESSAGES

OURS = "warning: of somebody else"
RAYS = "[2026-11-29 17:50:39,186 I 21033 21033] logging.cc:303: Set ray log level from environment"


def run(body: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A process in which `core()` stands for Ray's C++: it reads its own environment and writes."""
    head = f"""
        import ctypes, os, subprocess, sys
        from kinesweep.cli.ray_messages import native_log_off
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
        with native_log_off():
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
    done = run("with native_log_off():\n    core(); raise SystemExit(3)")
    assert done.returncode == 3
    assert done.stderr == f"{RAYS}\n{OURS}\n"


def test_a_level_of_the_users_stays() -> None:
    done = run("with native_log_off():\n    print(core())", RAY_BACKEND_LOG_LEVEL="debug")
    assert done.stdout == "b'debug'\n"
    assert done.stderr == f"{RAYS}\n{OURS}\n"


def test_the_warning_that_is_dropped_is_that_of_many_processes() -> None:
    dropped = re.compile(MESSAGES["RAY_DEDUP_LOGS_SKIP_REGEX"])
    many = (
        "WARNING: 8 PYTHON worker processes have been started on node: 12 with address: 127.0.0.1"
    )
    assert dropped.search(many)
    assert not dropped.search("2 Workers (tasks / actors) killed due to memory pressure (OOM)")
