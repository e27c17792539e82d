"""Commands on this installation and parts of your own: recipes, schema, doctor, new."""

import json
import os
import platform as machine
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel
from rich.table import Table

from kinesweep.cli.console import (
    JsonOption,
    console,
    print_json_result,
    print_line,
    wrap_command,
)
from kinesweep.config.parts import PartRole
from kinesweep.config.recipe import Recipe
from kinesweep.config.shipped_files import (
    copy_shipped_files,
    find_shipped_root,
    list_shipped_files,
)
from kinesweep.core.errors import InputError, ResourceError
from kinesweep.core.paths import get_state_dir
from kinesweep.core.units import format_bytes

_PACKAGES = ("ray", "torch", "transformers", "optuna", "mlflow", "pose-format", "sacrebleu")
# Trackers that a recipe may name; each is an extra of the same name.
_OPTIONAL_PACKAGES = ("wandb", "tensorboard")
# Minimum free disk space for a first sweep: the sample corpus, its store and its runs take 1.5 GB.
_MIN_FREE_BYTES = 2 * 10**9


@wrap_command
def recipes(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder for the copies. Default: the current folder.")
    ] = None,
    copy: Annotated[
        list[str] | None,
        typer.Option(help="Name of a recipe or search space to copy; may be given repeatedly."),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """List the recipes and search spaces that come with Kinesweep, or copy some of them.

    A copy includes the search space and the recipe of that name and every file that they refer to.
    Existing files are never overwritten.

    Example: kinesweep recipes --copy sample /tmp/kinesweep-recipes
    """
    root = find_shipped_root()
    if copy:
        copies = copy_shipped_files(root, copy, folder or Path())
        for path, is_new in copies.items():
            print_line(f"{(folder or Path()) / path}{'' if is_new else ' (already there)'}")
        print_json_result({"files": [str((folder or Path()) / path) for path in copies]}, json_line)
        return
    if folder is not None:
        raise InputError(f"`{folder}` is a folder for copies; name what to copy by `--copy NAME`")
    files = list_shipped_files(root)
    table = Table("kind", "name", box=None, pad_edge=False, expand=True)
    table.add_column("summary", no_wrap=True, overflow="ellipsis", ratio=1)
    for file in files:
        table.add_row(file.kind, file.name, file.summary)
    console.print(table)
    print_json_result(
        {"files": [{**vars(file), "name": file.name, "path": str(file.path)} for file in files]},
        json_line,
    )


@wrap_command
def schema(
    what: Annotated[
        Literal["recipe", "space", "pretraining"], typer.Argument(help="Kind of file.")
    ] = "recipe",
    out: Annotated[Path | None, typer.Option(help="Output file. Default: stdout.")] = None,
) -> None:
    """Print the JSON schema of a recipe, search space or pretraining recipe, for use in an editor.

    Example: kinesweep schema recipe --out /tmp/kinesweep-recipe.schema.json
    """
    from kinesweep.config.pretraining_recipe import PretrainingRecipe
    from kinesweep.sweeps.space.space import SearchSpace

    models: dict[str, type[BaseModel]] = {
        "recipe": Recipe,
        "space": SearchSpace,
        "pretraining": PretrainingRecipe,
    }
    text = json.dumps(models[what].model_json_schema(), indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


@wrap_command
def new(
    part: Annotated[
        PartRole,
        typer.Argument(help="Kind of part."),
    ],
    name: Annotated[str, typer.Argument(help="Name by which recipes select the part.")],
    out: Annotated[Path, typer.Option(help="Folder to create the package in.")] = Path(),
    json_line: JsonOption = False,
) -> None:
    """Write a package with a part of your own, ready to install, with its conformance test.

    Example: kinesweep new encoder my_encoder --out /tmp/kinesweep-parts
    """
    from kinesweep.scaffolding import write_part_package

    folder = write_part_package(part, name, out)
    install = shlex.join(["pip", "install", "-e", str(folder)])
    test = shlex.join(["pytest", str(folder)])
    print_line(f"`{folder}`: install it with `{install}`, then run `{test}`")
    print_json_result({"folder": str(folder)}, json_line)


@wrap_command
def doctor(json_line: JsonOption = False) -> None:
    """Report versions and resources of this machine and what is missing for a sweep.

    Exits with code 2 if a package is missing, if less than 2 GB of disk space is free, or if a part
    of another package cannot be used; the trackers wandb and tensorboard may be missing.

    Example: kinesweep doctor
    """
    home = get_state_dir()
    # The state folder may not exist yet; its nearest existing parent is on the same disk.
    free_bytes = shutil.disk_usage(next(p for p in (home, *home.parents) if p.exists())).free
    facts = {**_collect_facts(), "state": str(home), "free_disk": format_bytes(free_bytes)}
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, str(value))
    parts = _inspect_parts()
    for part in parts:
        label = f"{part['group']}: {part['kind']}"
        table.add_row(label, f"{part['package']} {part['version']}, {part['problem'] or 'usable'}")
    facts["parts"] = parts
    console.print(table)
    # Results come before the check, so that a program gets the facts even if something is missing.
    print_json_result(facts, json_line)
    problems = [str(part["problem"]) for part in parts if part["problem"]]
    problems += [f"`{name}` is not installed" for name in _PACKAGES if facts[name] == "missing"]
    if free_bytes < _MIN_FREE_BYTES:
        problems.append(
            f"only {format_bytes(free_bytes)} of disk space is free for `{home}`; a sweep needs 2"
            " GB"
        )
    if problems:
        raise ResourceError("; ".join(problems))


def _inspect_parts() -> list[dict[str, str]]:
    """Describe each installed part of another package, with the reason if it cannot be used."""
    from kinesweep.config.parts import list_installed_parts
    from kinesweep.config.parts.inspection import find_part_problem
    from kinesweep.scaffolding.our_kinds import list_our_kinds

    return [
        {
            "group": part.group,
            "kind": part.kind,
            "package": part.package,
            "version": part.version,
            "problem": find_part_problem(part, list_our_kinds(part.group)),
        }
        for part in list_installed_parts()
    ]


def _collect_facts() -> dict[str, object]:
    """Collect the versions of Python and the main packages, and the cores, GPUs and CPU type."""
    import torch

    return {
        "python": machine.python_version(),
        **{name: _get_installed_version(name) for name in _PACKAGES + _OPTIONAL_PACKAGES},
        # The affinity mask, because `os.cpu_count()` ignores limits such as those of taskset.
        "cores": len(os.sched_getaffinity(0)),
        "gpus": torch.cuda.device_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _get_installed_version(package: str) -> str:
    """Return the version of a package, or `missing`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
