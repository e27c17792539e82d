"""A subprocess that runs an estimator in its own environment, and the protocol to talk to it.

If the subprocess crashes, only the current video fails: an error is raised for it, and the next
video starts a new subprocess.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from kinesweep.core.errors import ClipError, ResourceError
from kinesweep.core.system.child_environment import build_child_environment
from kinesweep.features.estimators import EstimatorSpec, worker_main
from kinesweep.features.estimators.virtualenv import get_environment_python

# Parallelism comes from several processes, so each one uses a single thread.
_SINGLE_THREAD_ENV = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)


class EstimatorProcess:
    """A context manager that estimates the poses of one video after another in a subprocess.

    Args:
        spec: Estimator to run. Its environment is created if necessary.

    Raises:
        ResourceError: If the environment cannot be created; at a call, if its interpreter cannot be
            started.
    """

    def __init__(self, spec: EstimatorSpec) -> None:
        self._spec = spec
        self._python = (
            get_environment_python(spec.name, spec.requirements)
            if spec.python is None
            else Path(spec.python)
        )
        self._process: subprocess.Popen[str] | None = None
        # A file instead of a pipe for stderr: nobody reads it while the subprocess works, and a
        # full pipe would block it.
        self._stderr_file = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (lives on)

    def __enter__(self) -> "EstimatorProcess":
        """Return this object; the subprocess starts at the first call."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the subprocess."""
        self.close()

    def __call__(self, source: Path, output_path: Path, fps: float | None = None) -> dict[str, Any]:
        """Estimate the poses of a video or a folder of frames and write them to a file.

        Args:
            source: Video file or folder of frames.
            output_path: Path of the `.pose` file.
            fps: Frames per second of a folder of frames; of a video file, the rate of its poses, or
                None for its own.

        Returns:
            Dict with the properties of the video (`fps`, `width`, `height`, `frames`) and of the
            written file (`points`, `pose_bytes`), and the time of the call in wall-clock `seconds`
            and `core_seconds`.

        Raises:
            ClipError: If estimation fails, with a reason such as `not_a_video`, `truncated` or
                `estimator_died`.
        """
        process = self._get_process()
        assert process.stdin is not None and process.stdout is not None
        request = {"source": str(source), "out": str(output_path), "fps": fps}
        try:
            process.stdin.write(json.dumps(request) + "\n")
            # Otherwise the request could stay in the buffer while both processes wait.
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""  # the pipe is broken; handled below like an end of output
        if not line:
            # None makes `_get_process` start a new subprocess for the next video.
            exit_code, self._process = process.wait(), None
            text = (
                f"`{source}`: the estimator crashed (exit code {exit_code}):"
                f" {self._read_last_stderr_line()}"
            )
            raise ClipError(text, "estimator_died")
        response: dict[str, Any] = json.loads(line)
        if "reason" in response:
            raise ClipError(f"`{source}`: {response['message']}", response["reason"])
        return response

    def close(self) -> None:
        """Stop the subprocess, if it is running, and wait for its end."""
        if self._process is not None:
            assert self._process.stdin is not None
            # The subprocess exits when its input ends.
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _get_process(self) -> "subprocess.Popen[str]":
        """Return the running subprocess; start one at the first call and after a crash."""
        if self._process is None:
            spec = self._spec
            # Without -P, modules in the folder of the script would shadow installed ones.
            command = [
                str(self._python),
                "-P",
                worker_main.__file__,
                spec.module,
                spec.file,
                spec.class_name,
                json.dumps(dict(spec.settings)),
            ]
            # Without requirements, the estimator runs in the environment of this process.
            has_own_environment = spec.requirements or spec.python is not None
            env = build_child_environment() if has_own_environment else dict(os.environ)
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._stderr_file,
                    env=env | _SINGLE_THREAD_ENV,
                    text=True,
                )
            except OSError as error:
                raise ResourceError(
                    f"the interpreter `{self._python}` of the estimator `{spec.name}` cannot be"
                    f" started: {error.strerror or error}"
                ) from None
        return self._process

    def _read_last_stderr_line(self) -> str:
        """Read the last line that this subprocess or an earlier one wrote to stderr, shortened.

        It has 300 characters at most. The result is `no output` if none of them wrote anything.
        """
        self._stderr_file.seek(0)
        lines = self._stderr_file.read().strip().splitlines()
        return lines[-1][:300] if lines else "no output"
