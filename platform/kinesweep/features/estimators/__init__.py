"""Registry of pose estimators, which convert videos to `.pose` files.

Built-in estimators are in the table below; other packages can add theirs through the entry-point
group `kinesweep.estimators`. An estimator with requirements runs in its own virtual environment.
Only its class is imported here, which must not import its dependencies.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.features.estimators.contract import Estimator

__all__ = [
    "BUILT_IN_ESTIMATORS",
    "ENTRY_POINT_GROUP",
    "Estimator",
    "EstimatorSpec",
    "find_estimator",
    "list_estimator_names",
]

ENTRY_POINT_GROUP = "kinesweep.estimators"
BUILT_IN_ESTIMATORS = {
    "mediapipe": "kinesweep.features.estimators.mediapipe_holistic:Mediapipe",
    "mediapipe_refined": "kinesweep.features.estimators.mediapipe_holistic:MediapipeRefined",
    "rtmpose": "kinesweep.features.estimators.rtmpose:Rtmpose",
}


@dataclass(frozen=True)
class EstimatorSpec:
    """The location and requirements of an estimator, as plain values that are sent to workers.

    Attributes:
        name: Name of the entry point.
        module: Name of the module that contains the class.
        class_name: Name of the class in the module.
        file: Path of the module's file, for environments without the package.
        version: Version of the estimator itself.
        requirements: Requirements that pip installs into its environment; if empty, the estimator
            runs in the environment of Kinesweep.
        settings: Keyword arguments of the class, as plain values.
        identity: Settings and hashes of files that determine the poses, without paths; empty for an
            estimator without settings.
        python: Interpreter of an existing environment that the estimator runs in.
        gpus: GPUs that each process of the estimator uses.
    """

    name: str
    module: str
    class_name: str
    file: str
    version: str
    requirements: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    python: str | None = None
    gpus: float = 0

    @property
    def fingerprint(self) -> str:
        """Return a hash of name, version, requirements and identity, 12 hexadecimal digits.

        An estimator must change its version whenever its poses may change.
        """
        values: list[Any] = [self.name, self.version, list(self.requirements)]
        # Left out without settings, so that poses of earlier versions stay valid.
        values += [dict(self.identity)] if self.identity else []
        return compute_fingerprint(values)[:12]


def list_estimator_names() -> list[str]:
    """List the names of all available estimators, sorted."""
    return sorted(
        {*BUILT_IN_ESTIMATORS, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))}
    )


def find_estimator(name: str) -> EstimatorSpec:
    """Find an estimator by name and import its class, which states version and requirements.

    Built-in estimators take precedence over entry points.

    Raises:
        InputError: If there is no such estimator, it cannot be imported, or it lacks `version` or
            `requirements`.
    """
    locations = {
        point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)
    } | BUILT_IN_ESTIMATORS
    if name not in locations:
        hint = suggest_closest_word(name, list(locations))
        raise InputError(f"there is no estimator `{name}`{hint}; available: {', '.join(locations)}")
    module, _, attribute = locations[name].partition(":")
    try:
        estimator_class: Any = getattr(import_module(module), attribute)
        requirements, version = tuple(estimator_class.requirements), str(estimator_class.version)
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"the estimator `{name}` (`{locations[name]}`) cannot be used: {error}; it needs"
            " `version`, `requirements` and `__call__`"
        ) from None
    file = str(Path(inspect.getfile(estimator_class)).absolute())
    return EstimatorSpec(name, module, attribute, file, version, requirements)
