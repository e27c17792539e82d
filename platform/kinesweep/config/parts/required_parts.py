"""Parts that a saved model needs: written as plain values, and checked before it is loaded.

Without the check, a model whose encoder another package defines would fail at some key of its
recipe, and the reader would not learn which package is missing.
"""

import re
from collections.abc import Sequence
from typing import Any

from kinesweep.config.parts.installed_parts import InstalledPart, find_installed_part
from kinesweep.config.parts.part_config import PART_GROUPS
from kinesweep.config.parts.used_parts import list_used_parts
from kinesweep.core.errors import InputError

# Names and versions of packages (PEP 508, PEP 440). A message shows them within a command to paste,
# and the manifest may be that of a stranger, so nothing that a shell or pip reads as more may pass.
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._+!-]*[A-Za-z0-9])?")


def describe_required_parts(*sections: Any) -> list[dict[str, Any]]:
    """Describe the parts that sections of a configuration use, as plain values.

    Args:
        *sections: Configurations, or mappings and lists of them.
    """
    return [part.to_json() for part in list_used_parts(*sections)]


def read_required_parts(entries: Any) -> list[InstalledPart]:
    """Return the parts from what `describe_required_parts` wrote.

    Raises:
        ValueError: If the values are anything else.
    """
    if not isinstance(entries, list):
        raise ValueError(f"`parts` must be a list, but is {type(entries).__name__}")
    try:
        parts = [
            InstalledPart(
                group=str(entry["group"]),
                kind=str(entry["kind"]),
                package=str(entry["package"]),
                version=str(entry["version"]),
                requirements=tuple(map(str, entry.get("requirements", ()))),
            )
            for entry in entries
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"an entry of `parts` is damaged: {error!r}") from None
    for part in parts:
        _check_entry(part)
    return parts


def _check_entry(part: InstalledPart) -> None:
    """Check the texts of a part, which messages and commands show.

    Raises:
        ValueError: If one of them is not what its name says.
    """
    is_valid = {
        "group": part.group in PART_GROUPS.values(),
        "kind": bool(part.kind) and part.kind.isprintable(),
        "package": _PACKAGE.fullmatch(part.package) is not None,
        "version": _VERSION.fullmatch(part.version) is not None,
    }
    if invalid_names := [name for name, valid in is_valid.items() if not valid]:
        name = invalid_names[0]
        raise ValueError(f"an entry of `parts` has the `{name}` {getattr(part, name)[:80]!r}")


def check_required_parts(parts: Sequence[InstalledPart], description: str) -> list[str]:
    """Check that the packages of all parts are installed.

    Args:
        parts: Parts that a model was trained with.
        description: Description of the model in messages, such as "the bundle `x`".

    Returns:
        A warning for each part that is installed in another version. It is no error, because a
        release may well leave the results unchanged.

    Raises:
        InputError: If a package is not installed or another one has its part; all are named, with
            the command that installs them.
    """
    problems, missing_requirements, warnings = [], [], []
    for part in parts:
        installed = find_installed_part(part.group, part.kind)
        if installed is None or not installed.is_of_package(part.package):
            found = "is not installed" if installed is None else f"is now that of {installed}"
            problems.append(f"{part}, which {found}")
            missing_requirements.append(part.requirement)
        elif installed.version != part.version:
            warnings.append(
                f"{description} was trained with {part}, but version {installed.version} is"
                f" installed, which may give other results; `pip install {part.requirement}`"
                " restores it"
            )
    if problems:
        # A package may bring several of the parts.
        command = " ".join(dict.fromkeys(missing_requirements))
        raise InputError(
            f"{description} needs {'; '.join(problems)}. Run `pip install {command}`, or install"
            " the package from where its authors offer it"
        )
    return warnings
