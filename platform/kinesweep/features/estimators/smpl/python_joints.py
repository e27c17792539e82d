"""A function of the user that returns the joints of a video, as an estimator."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.features.estimators.smpl.smpl_pose import build_smpl_pose

_MODULE_NAME = "user_joint_estimator"


class PythonJoints:
    """The estimator `python`; its arguments are the settings of `PythonEstimatorConfig`.

    Args:
        file: Python file with the function, or None.
        module: Module with the function, or None.
        function: Name of the function, or of a class whose objects are called.
        arguments: Keyword arguments of the class, or of each call of the function.
    """

    version: ClassVar[str] = "python-1"
    requirements: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        file: str | None,
        module: str | None,
        function: str,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        loaded = _load_file(Path(file)) if file else importlib.import_module(str(module))
        found, arguments = getattr(loaded, function), arguments or {}
        # A class is created once, so that it can load its model once.
        is_class = inspect.isclass(found)
        self._estimate: Any = found(**arguments) if is_class else found
        self._arguments = {} if is_class else arguments

    def __call__(self, frames: Iterable[Any], fps: float, width: int, height: int) -> Any:
        """Estimate the joints of one video and return them as a `pose_format.Pose`.

        Args:
            frames: RGB frames of the video.
            fps: Frames per second.
            width: Width of the frames in pixels.
            height: Height of the frames in pixels.
        """
        joints = self._estimate(frames, fps, width, height, **self._arguments)
        return build_smpl_pose(joints, fps, width, height)


def _load_file(file: Path) -> Any:
    """Import a Python file, which may import its neighbors."""
    # The process serves one estimator only, so the search path need not be restored.
    sys.path.insert(0, str(file.parent.absolute()))
    spec = importlib.util.spec_from_file_location(_MODULE_NAME, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE_NAME] = module  # dataclasses look their module up while it is executed
    spec.loader.exec_module(module)
    return module
