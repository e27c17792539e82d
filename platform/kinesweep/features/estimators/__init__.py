"""Pose estimators by name: video in, `.pose` file out, each in an environment of its own.

Ours stand in the table below; anybody's package adds one through the entry-point group
`kinesweep.estimators`. Nothing of an estimator is imported here but its class.
"""

import inspect
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from kinesweep.core.config import near_miss
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import fingerprint
from kinesweep.features.estimators.contract import Estimator

__all__ = ["GROUP", "Estimator", "EstimatorSpec", "estimator_names", "find_estimator"]

GROUP = "kinesweep.estimators"
_OURS = {"mediapipe": "kinesweep.features.estimators.holistic:Mediapipe"}


@dataclass(frozen=True)
class EstimatorSpec:
    """Where an estimator's class is, and what it needs. Plain values; it travels to workers.

    Attributes:
        name: as it is asked for.
        module: of the class.
        attribute: the class in it.
        file: of the module.
        version: of the estimator itself.
        requirements: what pip installs into its environment; none: it runs in ours.
    """

    name: str
    module: str
    attribute: str
    file: str
    version: str
    requirements: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Changes whenever poses may."""
        return fingerprint([self.name, self.version, list(self.requirements)])[:12]


def estimator_names() -> list[str]:
    """All that can be asked for."""
    return sorted({*_OURS, *(point.name for point in entry_points(group=GROUP))})


def find_estimator(name: str) -> EstimatorSpec:
    """The estimator of a name; ours come before others of the same name.

    Raises:
        InputError: there is none, it cannot be imported, or it is none.
    """
    places = {point.name: point.value for point in entry_points(group=GROUP)} | _OURS
    if name not in places:
        hint = near_miss(name, list(places))
        raise InputError(f"there is no estimator `{name}`{hint}; there is: {', '.join(places)}")
    module, _, attribute = places[name].partition(":")
    try:
        found: Any = getattr(import_module(module), attribute)
        requirements, version = tuple(found.requirements), str(found.version)
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"the estimator `{name}` (`{places[name]}`) is none: {error}; it needs `version`,"
            " `requirements` and `__call__`"
        ) from None
    file = str(Path(inspect.getfile(found)).absolute())
    return EstimatorSpec(name, module, attribute, file, version, requirements)
