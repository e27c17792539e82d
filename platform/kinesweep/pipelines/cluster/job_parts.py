"""Parts of other packages in a job: found in its files, named to the cluster, uploaded with it.

The job's files are read as plain YAML here, because their errors are reported by the job itself.
A part is therefore found by its `kind`; one that is found although it is not used costs a check of
a package that is installed where the job was submitted.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kinesweep.config.parts import list_installed_parts

_YAML_SUFFIXES = (".yaml", ".yml")


def find_part_packages(arguments: Sequence[str]) -> list[Distribution]:
    """Find the installed packages whose parts the files and overrides of a command select.

    Args:
        arguments: Arguments of Kinesweep: paths of YAML files, overrides, and options.
    """
    parts = list_installed_parts()
    # The usual case: no part is installed, so no file is read a second time.
    if not parts:
        return []
    kinds: set[str] = set()
    # An override is `path=value`; options like `--name=x` have no key that is called `kind`.
    for argument in arguments:
        path, _, value = argument.partition("=")
        kinds |= set(_iter_kinds({path: _parse_yaml(value)}))
    for file in _collect_files([Path(text) for text in arguments if text.endswith(_YAML_SUFFIXES)]):
        kinds |= set(_iter_kinds(_read_yaml(file)))
    # A mapping instead of a set, so that the order and thereby the job's environment stay the same:
    # Ray starts new workers for each environment that differs.
    packages = {part.package: None for part in parts if part.kind in kinds}
    packages.pop("kinesweep", None)
    found = []
    for package in packages:
        try:
            found.append(distribution(package))
        except PackageNotFoundError:  # a package without a name cannot be asked for
            continue
    return found


def list_part_requirements(packages: Sequence[Distribution]) -> list[str]:
    """List the requirements that a cluster must meet for some packages: themselves and theirs.

    Args:
        packages: Installed packages.
    """
    requirements = [f"{package.name}=={package.version}" for package in packages]
    lines = [line for package in packages for line in package.requires or ()]
    # The cluster's Kinesweep may be an upload, which has no metadata that could be asked.
    is_ours = {line: canonicalize_name(Requirement(line).name) == "kinesweep" for line in lines}
    return requirements + [line for line in lines if not is_ours[line]]


def stage_packages(packages: Sequence[Distribution], folder: Path) -> list[str]:
    """Copy packages to folders that Ray uploads as modules, one for each module and its metadata.

    Without the metadata, the cluster would find no entry points. Ray's job client uploads folders
    only, so a module of one file becomes a package of the same name.

    Args:
        packages: Installed packages; editable ones as well.
        folder: An empty folder.

    Returns:
        The folders.
    """
    staged: dict[str, None] = {}
    for package in packages:
        info = folder / f"{re.sub('[-.]', '_', package.name)}-{package.version}.dist-info"
        info.mkdir()
        # The other files of the metadata state paths of this machine, and would make each
        # installation of the same version another upload.
        for name in ("METADATA", "entry_points.txt"):
            (info / name).write_text(package.read_text(name) or "", encoding="utf-8")
        staged[str(info)] = None
        for module in _list_modules(package):
            staged |= dict.fromkeys(_stage_module(module, folder))
    return list(staged)


def _stage_module(name: str, folder: Path) -> Iterator[str]:
    """Yield the folder of a top-level module; a copy if it has one file."""
    spec = find_spec(name)
    if spec is not None and spec.submodule_search_locations:
        # A namespace package has no `__init__.py`, so its folder is not found by its origin.
        yield next(iter(spec.submodule_search_locations))
    elif spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
        # Two packages may share a top-level module.
        (folder / name).mkdir(exist_ok=True)
        shutil.copyfile(spec.origin, folder / name / "__init__.py")
        yield str(folder / name)


def _list_modules(package: Distribution) -> list[str]:
    """List the top-level modules of a package: those that it installed, and those of its parts."""
    names = {point.module.partition(".")[0] for point in package.entry_points}
    # An editable installation has only the metadata among its files.
    names |= set((package.read_text("top_level.txt") or "").split())
    for file in package.files or ():
        # Programs and data lie outside of `site-packages`, below `..`.
        if file.suffix == ".py" and file.parts[0] != "..":
            names.add(file.parts[0].removesuffix(".py"))
    return sorted(name for name in names if not name.startswith("__"))


def _collect_files(paths: Sequence[Path]) -> list[Path]:
    """Collect YAML files and all YAML files that they refer to, directly or not."""
    found: dict[Path, None] = {}
    open_paths = list(paths)
    while open_paths:
        # Without `..`, so that files that refer to each other are read once.
        path = Path(os.path.abspath(open_paths.pop()))
        if path not in found and path.is_file():
            found[path] = None
            # Any text may name a file: a space its recipe, a recipe a file of a section.
            texts = _iter_strings(_read_yaml(path))
            open_paths += [path.parent / text for text in texts if text.endswith(_YAML_SUFFIXES)]
    return list(found)


def _iter_kinds(value: Any) -> Iterator[str]:
    """Iterate over what may be the kind of a part at and below a plain value."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            is_kind = str(key).rpartition(".")[2] in ("kind", "estimator")
            yield from _iter_strings(below) if is_kind else _iter_kinds(below)
        # The only kind that names a part by another key; see `PluginEstimatorConfig`.
        if value.get("kind") == "plugin":
            yield str(value.get("name"))
    elif isinstance(value, list):
        for item in value:
            yield from _iter_kinds(item)


def _iter_strings(value: Any) -> Iterator[str]:
    """Iterate over all strings at and below a plain value, without the keys of mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _iter_strings(item)


def _read_yaml(path: Path) -> Any:
    """Read a YAML file; None if it cannot be read."""
    try:
        return _parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _parse_yaml(text: str) -> Any:
    """Parse YAML; None if it is none."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # such as the 30th of February
        return None
