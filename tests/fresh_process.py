"""Processes that have run nothing yet, forked from one that has imported what is slow to import.

A new interpreter needs some 6 s of CPU for torch, transformers and the package, a fork 0.1 s. The
server that forks has only imported: neither its random numbers nor its caches were used, and its
strings hash otherwise than pytest's. A test about importing itself starts an interpreter instead.
"""

import gc
import multiprocessing
import multiprocessing.forkserver
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

PLATFORM = Path(__file__).resolve().parents[1] / "platform"
PRELOADED = [
    "torch.distributed",
    "transformers.trainer",
    "kinesweep.cli",
    "kinesweep.export",
    "kinesweep.store.extraction.build",
    "kinesweep.training.loop.run",
    "kinesweep.evaluation.evaluate",
    "transformers.models.m2m_100.modeling_m2m_100",
]
"""Imported by the server, in this order."""


class FreshProcess:
    """One that runs a script; what it prints is kept."""

    def __init__(
        self,
        script: str,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._kept = tempfile.TemporaryDirectory()
        self._files = [Path(self._kept.name, name) for name in ("stdout", "stderr")]
        given = {**os.environ, "PYTHONPATH": str(PLATFORM), "OMP_NUM_THREADS": "1", **(env or {})}
        self._process = _context().Process(  # type: ignore[attr-defined]
            target=_run,
            args=(script, list(arguments), given, cwd or Path.cwd(), self._files),
        )
        self._process.start()

    def wait(self, timeout_s: float = 900) -> "CompletedProcess[str]":
        """Waits until it has ended; after the timeout it is killed."""
        self._process.join(timeout_s)
        self.kill()
        out, err = (file.read_text() if file.exists() else "" for file in self._files)
        self._kept.cleanup()
        return CompletedProcess([], self._process.exitcode or 0, out, err)

    def is_alive(self) -> bool:
        """Return whether it still runs."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill it if it still runs (SIGKILL), and wait until it is gone."""
        self._process.kill()
        self._process.join()


def run_fresh(
    script: str,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> "CompletedProcess[str]":
    """Runs a script as `python -c` would; `env` is laid over the environment of this process."""
    return FreshProcess(script, arguments, env, cwd).wait()


def run_forked(
    command: Sequence[str], env: Mapping[str, str], **_: object
) -> "CompletedProcess[str]":
    """Stands in for `subprocess.run` where it is given this interpreter, `-c` and a script."""
    interpreter, option, script, *arguments = command
    assert (interpreter, option) == (sys.executable, "-c")
    return run_fresh(script, arguments, env)


def _context() -> multiprocessing.context.ForkServerContext:
    """The context whose server has the imports; the first call starts it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    paths = os.pathsep.join([str(PLATFORM), str(Path(__file__).parent)])
    with patch.dict(os.environ, {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}):
        multiprocessing.forkserver.ensure_running()
    return context


def _run(
    script: str, arguments: list[str], env: dict[str, str], cwd: Path, files: list[Path]
) -> None:
    """Becomes the script."""
    gc.freeze()  # the Trainer collects garbage often, and of the imports nothing can be freed
    for descriptor, path in enumerate(files, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    sys.argv = ["-c", *arguments]
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})
