"""Estimation of the poses of uploaded videos, for models of poses.

An estimator is used only if its environment exists already: a server installs nothing.
"""

from pathlib import Path
from typing import Protocol

from kinesweep.core.errors import InputError, KinesweepError
from kinesweep.features.estimators import EstimatorSpec
from kinesweep.features.estimators.smpl.configured import find_named_estimator
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.features.estimators.virtualenv import has_environment


class PoseEstimator(Protocol):
    """A function that writes the poses of a video to a `.pose` file."""

    def __call__(self, source: Path, output_path: Path) -> object:
        """Estimate the poses of a video.

        Raises:
            ClipError: If the video cannot be used.
        """


def find_pose_estimator(name: str | None) -> EstimatorSpec | None:
    """Find the estimator of poses that can run on this machine.

    Args:
        name: Name of an estimator or YAML file; None: MediaPipe, if its environment exists.

    Returns:
        The estimator; None if none was named and there is no environment of MediaPipe.

    Raises:
        InputError: If the named estimator is unknown or has no environment.
    """
    spec = find_named_estimator(name or "mediapipe")
    if spec.python is not None or has_environment(spec.name, spec.requirements):
        return spec
    if name is None:
        return None
    raise InputError(
        f"the estimator `{name}` has no environment on this machine; create it with"
        f" `kinesweep estimate-poses VIDEO --out FOLDER --estimator {name}`"
    )


def start_estimator(name: str | None) -> PoseEstimator | None:
    """Return a function that estimates poses in a process of its own; None without an estimator.

    Args:
        name: Name of an estimator or YAML file; None: MediaPipe, if its environment exists.
    """
    try:
        spec = find_pose_estimator(name)
    except KinesweepError:
        if name is not None:
            raise
        return None
    return None if spec is None else EstimatorProcess(spec)
