"""Construction of parts: the implementation is imported, called with its settings, and checked.

The class or function is code of another package, which may fail in any way. Each failure becomes an
error that names the part, its package and its version.
"""

import inspect
from collections.abc import Sequence
from typing import Any

from kinesweep.config.parts.part_config import PartConfig
from kinesweep.config.parts.used_parts import list_used_parts
from kinesweep.core.errors import InputError, KinesweepError


def build_part(
    config: PartConfig, arguments: Sequence[Any], base_class: type = object, base_name: str = ""
) -> Any:
    """Build the implementation of a part.

    Args:
        config: Section that selects the part.
        arguments: Arguments of its class or function.
        base_class: Class that the result must be an instance of.
        base_name: Public name of this class in the error; default: its own name.

    Raises:
        InputError: If the package is not installed, its class or function cannot be imported or
            fails, or the result lacks what parts of its group need.
        KinesweepError: If the class or function raises one, whose message is for users already.
    """
    # First, because results of a part without a package and a version cannot be identified.
    (part,) = list_used_parts(config)
    build = config.import_implementation()
    try:
        built = build(*arguments)
    except KinesweepError:
        raise
    except Exception as error:
        raise InputError(
            f"{part}: `{config.implementation}` cannot be built: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(built, base_class):
        wanted = base_name or f"{base_class.__module__}.{base_class.__qualname__}"
        raise InputError(
            f"{part}: `{config.implementation}` must give an instance of `{wanted}`, not of"
            f" `{type(built).__qualname__}`"
        )
    missing = [name for name in config.required if not hasattr(built, name)]
    if missing:
        raise InputError(f"{part}: `{config.implementation}` has no {', '.join(missing)}")
    return built


def find_implementation_problem(config_class: type[PartConfig], implementation: Any) -> str:
    """Find what an implementation lacks, without building it.

    Args:
        config_class: Class of the settings.
        implementation: Class or function that the settings name.

    Returns:
        The end of a sentence about the implementation; an empty text if nothing is missing, or if
        only a call can tell, because a function may return an object of any class.
    """
    if not callable(implementation):
        return "is not callable"
    if not inspect.isclass(implementation):
        return ""
    missing = [name for name in config_class.required if not hasattr(implementation, name)]
    missing += sorted(getattr(implementation, "__abstractmethods__", ()))
    return f"has no {', '.join(dict.fromkeys(missing))}" if missing else ""
