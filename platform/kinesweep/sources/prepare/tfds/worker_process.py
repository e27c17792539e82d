"""The process with TensorFlow Datasets: how it is started, and what it reports.

It is a process of its own because TensorFlow pins packages that Kinesweep has in other versions. If
it crashes, the rows that it completed stay; the next call continues after them. Its output is
written to a log file, because a download may take hours and prints its own progress.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError, ResourceError
from kinesweep.core.system.child_environment import build_child_environment

WORKER_FILE = Path(__file__).with_name("worker_main.py")
LOG_NAME = "worker.log"
"""Name of the file with the output of TensorFlow Datasets, in the folder of the journals."""

_MAX_ERROR_CHARS = 400


@dataclass
class WorkerSummary:
    """A summary of the work of the process.

    Attributes:
        data_dir: Folder of the prepared data set, empty before it is known.
        sizes: Number of rows by split.
        kept: Number of rows of an earlier process that were complete, by split.
        lost: Number of rows whose files were missing or differed, by split; they are written again.
        other_splits: Number of rows of the splits that are not written, by name.
    """

    data_dir: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    other_splits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerEnvironment:
    """The Python environment that the process runs in.

    Attributes:
        python: Path of the interpreter.
        keeps_path: Whether `PYTHONPATH` is passed on. It would bring the packages of Kinesweep into
            an environment that Kinesweep created itself, which has other versions.
    """

    python: Path
    keeps_path: bool = False


def run_worker(
    environment: WorkerEnvironment,
    request: Mapping[str, Any],
    log: Path,
    report: Callable[[dict[str, Any]], None],
) -> WorkerSummary:
    """Run the process until all rows are written.

    Args:
        environment: Environment with `sign-language-datasets`.
        request: Request that `worker_main` describes.
        log: File for the output of the libraries; it is appended to.
        report: Function that is called with each event, before it is added to the summary.

    Raises:
        InputError: If the data set cannot be built, downloaded or written.
        ResourceError: If the interpreter cannot be started, or the process crashes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ) if environment.keeps_path else build_child_environment()
    # Hundreds of lines about missing GPUs would hide errors; a person's own setting stays.
    env.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Without -P, modules in the folder of the script would shadow installed ones.
    command = [str(environment.python), "-P", str(WORKER_FILE)]
    with log.open("a", encoding="utf-8") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=env,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise ResourceError(
                f"the interpreter `{environment.python}` cannot be started: {error}; name another"
                " one with `--python`"
            ) from None
        try:
            return _follow(process, request, log, report)
        finally:
            # Also after an interrupt, so that no process goes on downloading.
            process.kill()
            process.wait()


def _follow(
    process: "subprocess.Popen[str]",
    request: Mapping[str, Any],
    log: Path,
    report: Callable[[dict[str, Any]], None],
) -> WorkerSummary:
    """Send the request to a running process and collect its events until it is done."""
    assert process.stdin is not None and process.stdout is not None
    summary = WorkerSummary()
    try:
        # Not as an argument: options of builders may be passwords, and command lines are visible.
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except OSError:
        pass  # it has already crashed, which shows below as an end of its output
    for line in process.stdout:
        event = json.loads(line)
        report(event)
        match event["event"]:
            case "failed":
                raise InputError(
                    f"`{request['builder']}` cannot be prepared: {event['message']}; the output is"
                    f" in `{log}`"
                )
            case "builder":
                summary.data_dir = event["folder"]
            case "prepared":
                summary.other_splits = event["other_splits"]
            case "split":
                split = event["split"]
                summary.sizes[split] = event["size"]
                summary.kept[split], summary.lost[split] = event["kept"], event["lost"]
            case "done":
                return summary
    text = f"the process with TensorFlow Datasets crashed (exit code {process.wait()})"
    raise ResourceError(f"{text}: {_read_end(log)}; run the same command again to continue")


def _read_end(log: Path) -> str:
    """Read the last line of a log file, shortened."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:_MAX_ERROR_CHARS] if lines else "no output"
