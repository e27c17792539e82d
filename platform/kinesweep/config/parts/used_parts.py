"""Parts that a configuration uses: what identifies them in hashes, records and bundles."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from kinesweep.config.parts.installed_parts import InstalledPart, find_installed_part
from kinesweep.config.parts.part_config import PartConfig
from kinesweep.core.errors import InputError


def list_used_parts(*sections: Any) -> list[InstalledPart]:
    """List the parts of other packages that sections of a configuration use, sorted.

    No entry point is looked up if there are none.

    Args:
        *sections: Configurations, or mappings and lists of them.

    Raises:
        InputError: If a part is not an installed entry point; without a package and its version,
            results could not be identified.
    """
    configs = {
        (config.group, config.kind): config
        for section in sections
        for config in _iter_part_configs(section)
    }
    parts = []
    for group, kind in sorted(configs):
        part = find_installed_part(group, kind)
        if part is None:
            raise InputError(
                f"the part `{kind}` is not installed: no package has the entry point `{kind}` in"
                f" the group `{group}`; install its package with `pip install -e`"
            )
        parts.append(part)
    return parts


def identify_parts(*sections: Any) -> dict[str, str]:
    """Return `encoders.my_kind` → `package version` of the parts that sections use, for identities.

    Args:
        *sections: Configurations, or mappings and lists of them.
    """
    return {
        f"{part.group.removeprefix('kinesweep.')}.{part.kind}": f"{part.package} {part.version}"
        for part in list_used_parts(*sections)
    }


def add_part_identities(values: dict[str, Any], recipe: BaseModel) -> None:
    """Add the packages and versions of parts to the values that a hash is computed from, in place.

    Nothing is added without parts, so the hashes of all other recipes stay valid.

    Args:
        values: Plain values of the hashed sections; only parts of these sections are added.
        recipe: Recipe with these sections.
    """
    parts = identify_parts([getattr(recipe, section) for section in values])
    if parts:
        values["parts"] = parts


def describe_packages(*sections: Any) -> dict[str, Any]:
    """Return the identities of parts under the key `packages`; empty if there are none.

    Args:
        *sections: Configurations, or mappings and lists of them.
    """
    identities = identify_parts(*sections)
    return {"packages": identities} if identities else {}


def _iter_part_configs(value: Any) -> Iterator[PartConfig]:
    """Yield the configurations of parts at and below a value."""
    if isinstance(value, PartConfig):
        yield value
    if isinstance(value, BaseModel):
        # Not `model_dump`, which would turn the parts into plain values.
        yield from _iter_part_configs([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, Mapping):
        yield from _iter_part_configs(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _iter_part_configs(item)
