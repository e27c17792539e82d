"""Registry of pose estimators, which convert videos to `.pose` files.

Built-in estimators are in the table below; other packages can add theirs through the entry-point
group `kinesweep.estimators`. Each estimator runs in its own virtual environment. Only its class is
imported here, which must not import its dependencies.
"""

import inspect
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from kinesweep.config.loading import did_you_mean
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import fingerprint
from kinesweep.features.estimators.contract import Estimator

__all__ = ["GROUP", "Estimator", "EstimatorSpec", "estimator_names", "find_estimator"]

GROUP = "kinesweep.estimators"
_OURS = {"mediapipe": "kinesweep.features.estimators.mediapipe_holistic:Mediapipe"}


@dataclass(frozen=True)
class EstimatorSpec:
    """The location and requirements of an estimator; plain values that are sent to workers.

    Attributes:
        name: Name of the entry point.
        module: Module of the class.
        attribute: Name of the class in the module.
        file: Path of the module's file, for environments without the package.
        version: Version of the estimator itself.
        requirements: Requirements that pip installs into its environment; if empty, the estimator
            runs in the environment of Kinesweep.
    """

    name: str
    module: str
    attribute: str
    file: str
    version: str
    requirements: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Short hash, 12 digits, that changes whenever the poses may change."""
        return fingerprint([self.name, self.version, list(self.requirements)])[:12]


def estimator_names() -> list[str]:
    """List the names of all available estimators."""
    return sorted({*_OURS, *(point.name for point in entry_points(group=GROUP))})


def find_estimator(name: str) -> EstimatorSpec:
    """Find an estimator by name; built-in ones take precedence over entry points.

    Raises:
        InputError: If there is no such estimator, it cannot be imported or it lacks an attribute.
    """
    places = {point.name: point.value for point in entry_points(group=GROUP)} | _OURS
    if name not in places:
        hint = did_you_mean(name, list(places))
        raise InputError(f"there is no estimator `{name}`{hint}; available: {', '.join(places)}")
    module, _, attribute = places[name].partition(":")
    try:
        found: Any = getattr(import_module(module), attribute)
        requirements, version = tuple(found.requirements), str(found.version)
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"the estimator `{name}` (`{places[name]}`) cannot be used: {error}; it needs"
            " `version`, `requirements` and `__call__`"
        ) from None
    file = str(Path(inspect.getfile(found)).absolute())
    return EstimatorSpec(name, module, attribute, file, version, requirements)
