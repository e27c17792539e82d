"""A command of the user that writes the joints of a video to a file, as an estimator."""

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kinesweep.features.estimators.smpl.smpl_pose import build_smpl_pose, select_array


class CommandJoints:
    """The estimator `command`; its arguments are the settings of `CommandEstimatorConfig`.

    Args:
        command: Program and arguments with placeholders.
        output_suffix: Suffix of the file that the command writes.
        timeout_s: Seconds after which the command is stopped.
    """

    version: ClassVar[str] = "command-1"
    requirements: ClassVar[tuple[str, ...]] = ()

    def __init__(self, command: Sequence[str], output_suffix: str, timeout_s: float) -> None:
        self._command, self._suffix, self._timeout_s = list(command), output_suffix, timeout_s
        self._source = ""

    def set_source(self, source: str) -> None:
        """Set the path of the next video, which the command reads by itself."""
        self._source = source

    def __call__(self, frames: Iterable[Any], fps: float, width: int, height: int) -> Any:
        """Run the command on the video and return its joints as a `pose_format.Pose`.

        Args:
            frames: Frames of the video, which are only counted.
            fps: Frames per second.
            width: Width of the frames in pixels.
            height: Height of the frames in pixels.

        Raises:
            RuntimeError: If the command fails, or writes no file.
            ValueError: If the file has other joints.
        """
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / f"joints{self._suffix}"
            places = {"video": self._source, "output": output, "fps": fps}
            self._run({**places, "width": width, "height": height})
            if not output.is_file():
                raise RuntimeError(f"`{self._command[0]}` did not write {{output}}")
            # Read inside the block: the folder and its file are removed at its end.
            joints = _read_joints(output)
        # The caller compares the number of poses with the number of frames that were taken.
        for _ in frames:
            pass
        return build_smpl_pose(joints, fps, width, height)

    def _run(self, values: dict[str, Any]) -> None:
        """Run the command with values for its placeholders.

        Raises:
            RuntimeError: If it fails; with its last line.
        """
        command = list(self._command)
        for name, value in values.items():
            # `str.format` would take braces of the user's own for placeholders.
            command = [item.replace(f"{{{name}}}", str(value)) for item in command]
        try:
            result = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=self._timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"`{command[0]}` took over {self._timeout_s:g} s") from None
        if result.returncode:
            # Tracebacks end with the line that says what went wrong.
            lines = (result.stderr or result.stdout).strip().splitlines() or ["no output"]
            raise RuntimeError(
                f"`{command[0]}` ended with exit code {result.returncode}: {lines[-1][:300]}"
            )


def _read_joints(path: Path) -> Any:
    """Read the joints of an `.npy` or `.npz`; pickles in it are refused.

    Raises:
        ValueError: If the file holds a pickle, or no array that is known.
    """
    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            return arrays
        with arrays:
            content = {name: arrays[name] for name in arrays.files}
    except Exception:  # NumPy's text advises to load pickles; a damaged archive raises anything
        raise ValueError(
            f"the command wrote no `{path.suffix}` of numbers to {{output}}; pickles are not read"
        ) from None
    return select_array(content)
