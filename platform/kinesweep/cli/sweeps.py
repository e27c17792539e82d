"""Verbs on sweeps: sweep, status."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kinesweep.cli.output import JsonOption, Overrides, console, emit, say, verb
from kinesweep.core.paths import state_home

SpaceArgument = Annotated[Path, typer.Argument(help="A search space, YAML.", show_default=False)]


@verb
def sweep(
    space: SpaceArgument,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on, or show the result.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove it, begin again.")] = False,
    name: Annotated[str | None, typer.Option(help="Of its folder; default: the file's.")] = None,
    base: Annotated[
        Path | None, typer.Option(help="Folder that a recipe's paths start at.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Search a space, settle the best over seeds, rank, score test, export the winner.

    Overrides of the space are plain (`search.trials=4`), those of its recipe begin with `recipe.`.

    Example: kinesweep sweep search_spaces/sample.yaml --resume
    """
    from kinesweep.cli import sweeping

    done = sweeping.run_space(
        space, overrides or [], resume=resume, overwrite=overwrite, name=name, base=base
    )
    outcome = done.outcome
    console.print(sweeping.ranking_table(outcome))
    say(outcome.answer)
    for seed, scores in outcome.test.items():
        shown = ", ".join(f"{metric} {value:.2f}" for metric, value in scores.items())
        say(f"test, {outcome.winner}, seed {seed}: {shown}")
    say(f"bundle  {done.bundle}")
    say(f"MLflow  {done.tracking or 'not recorded: no server (kinesweep up)'}")
    emit(done.as_dict(), json_line)


@verb
def status(
    name: Annotated[str | None, typer.Argument(help="A sweep's name; default: all.")] = None,
    json_line: JsonOption = False,
) -> None:
    """Show how far sweeps are, from their journals.

    Example: kinesweep status
    """
    from kinesweep.sweeps.status import read_status

    folders = sorted((state_home() / "sweeps").glob(name or "*"))
    table = Table("sweep", "state", "running", "finished", "pruned", "failed", "final runs", "best")
    rows = [read_status(folder) for folder in folders if (folder / "journal.jsonl").exists()]
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table if rows else f"no sweeps in {state_home() / 'sweeps'}")
    emit({"sweeps": rows}, json_line)
