"""Verbs on this installation: schema, doctor."""

import json
import os
import platform as machine
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from kinesweep.cli.output import JsonOption, console, emit, verb
from kinesweep.core.errors import ResourceError
from kinesweep.core.paths import state_home
from kinesweep.core.recipe import Recipe
from kinesweep.core.units import format_bytes

_PACKAGES = ("ray", "torch", "transformers", "optuna", "mlflow", "pose-format", "sacrebleu")
_ROOM_BYTES = 2 * 10**9
"""Free disk below which a first sweep may fail: the sample corpus, its store and runs take 1.5
GB."""


@verb
def schema(
    what: Annotated[Literal["recipe", "space"], typer.Argument(help="Which file.")] = "recipe",
    out: Annotated[Path | None, typer.Option(help="Write there instead of printing.")] = None,
) -> None:
    """Print the JSON schema of a recipe or search space, for editors.

    Example: kinesweep schema recipe --out /tmp/kinesweep-recipe.schema.json
    """
    from kinesweep.sweeps.space import SearchSpace

    model = Recipe if what == "recipe" else SearchSpace
    text = json.dumps(model.model_json_schema(), indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


@verb
def doctor(json_line: JsonOption = False) -> None:
    """Say what this machine offers, and what is missing for a sweep.

    Example: kinesweep doctor
    """
    import torch

    home = state_home()
    free = shutil.disk_usage(next(p for p in (home, *home.parents) if p.exists())).free
    facts = {
        "python": machine.python_version(),
        **{name: _installed(name) for name in _PACKAGES},
        "cores": len(os.sched_getaffinity(0)),
        "gpus": torch.cuda.device_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "state": str(home),
        "free_disk": format_bytes(free),
    }
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, str(value))
    console.print(table)
    emit(facts, json_line)
    problems = [f"`{name}` is not installed" for name in _PACKAGES if facts[name] == "missing"]
    if free < _ROOM_BYTES:
        problems.append(f"only {format_bytes(free)} of disk are free beside `{home}`")
    if problems:
        raise ResourceError("; ".join(problems))


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
