"""A process that estimates, in the estimator's environment, and how it is spoken with.

One that dies over a video costs that video alone: it is answered for, and the next one is given to
a new process.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from kinesweep.core.errors import ClipError
from kinesweep.features.estimators import EstimatorSpec, child
from kinesweep.features.estimators.environment import environment_python

_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class EstimatorProcess:
    """Estimates one video after the other; a context manager.

    Args:
        spec: which estimator.
    """

    def __init__(self, spec: EstimatorSpec) -> None:
        self._spec = spec
        self._python = environment_python(spec.name, spec.requirements)
        self._process: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (lives on)

    def __enter__(self) -> "EstimatorProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, source: Path, out: Path, fps: float | None = None) -> dict[str, Any]:
        """Writes the poses of a video, or of a folder of frames.

        Returns:
            `fps`, `width`, `height`, `frames`, `points`, `pose_bytes`, `seconds`, `core_seconds`.

        Raises:
            ClipError: with a reason, such as `not_a_video`, `truncated` or `estimator_died`.
        """
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        request = {"source": str(source), "out": str(out), "fps": fps}
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            code, self._process = process.wait(), None
            text = f"`{source}`: the estimator died (exit code {code}): {self._last_words()}"
            raise ClipError(text, "estimator_died")
        answer: dict[str, Any] = json.loads(line)
        if "reason" in answer:
            raise ClipError(f"`{source}`: {answer['message']}", answer["reason"])
        return answer

    def close(self) -> None:
        """Lets the process go."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            own = self._spec
            # Without -P the modules beside the script would hide others of their names.
            command = [str(self._python), "-P", child.__file__, own.module, own.file, own.attribute]
            # Our own packages are not its: an environment of its own has other versions.
            env = {k: v for k, v in os.environ.items() if not own.requirements or k != "PYTHONPATH"}
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=env | _THREADS,
                text=True,
            )
        return self._process

    def _last_words(self) -> str:
        """The end of what it printed."""
        self._said.seek(0)
        lines = self._said.read().strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"
