"""Verbs on sweeps: sweep, status."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from kinesweep.cli.output import DryRun, JsonOption, Overrides, console, emit, say, verb
from kinesweep.core.errors import InputError
from kinesweep.core.paths import state_home
from kinesweep.core.scores import format_scores

if TYPE_CHECKING:
    from kinesweep.sweeps.status import Status
    from kinesweep.sweeps.table import Style

SpaceArgument = Annotated[Path, typer.Argument(help="A search space, YAML.", show_default=False)]


@verb
def sweep(  # noqa: PLR0913 (options of a verb)
    space: SpaceArgument,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on, or show the result.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove it, begin again.")] = False,
    extend: Annotated[int, typer.Option(min=0, help="Go on with so many more trials.")] = 0,
    dry_run: DryRun = False,
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
    from kinesweep.sweeps.loading import load_space

    # A wrong space is refused before Ray and PyTorch are loaded, which takes seconds.
    load_space(space, tuple(overrides or ()), base or Path.cwd())
    from kinesweep.cli import sweeping
    from kinesweep.cli.results import objectives_table, ranking_table, sanity_lines

    order = sweeping.Order(
        space, tuple(overrides or ()), name or space.stem, base or Path.cwd(), extend
    )
    expected = ""
    if dry_run:
        from kinesweep.cli.dry import dry_sweep

        done, expected = dry_sweep(order)
    else:
        done = sweeping.run_space(order, resume=resume or extend > 0, overwrite=overwrite)
    outcome = done.outcome
    console.print(ranking_table(outcome))
    if outcome.objectives:
        console.print(objectives_table(outcome))
    for line in (*sanity_lines(outcome), outcome.answer, *outcome.notes):
        say(line)
    for seed, scores in outcome.test.items():
        say(f"test, {outcome.winner}, seed {seed}: {format_scores(scores, [outcome.metric])}")
    say(f"bundle  {done.bundle}")
    say(f"report  {done.report}")
    say(f"MLflow  {done.tracking or 'not recorded: no server (kinesweep up)'}")
    if expected:
        say(expected)
    emit(done.as_dict(), json_line)


@verb
def plan(
    space: SpaceArgument,
    overrides: Overrides = None,
    cluster: Annotated[
        str, typer.Option(help="To plan for, such as cpus=64,gpus=8; default: the one there is.")
    ] = "",
    seed_sd: Annotated[float, typer.Option(min=0, help="Of a final score between seeds.")] = 1.0,
    sentence_sd: Annotated[
        float, typer.Option(min=0, help="Of a difference, from the choice of sentences.")
    ] = 0.8,
    base: Annotated[
        Path | None, typer.Option(help="Folder that a recipe's paths start at.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Tell what a sweep will take: train a few short runs, then simulate it many times.

    Example: kinesweep plan search_spaces/sample.yaml --cluster cpus=8
    """
    from kinesweep.cli.cluster_size import parse_cluster
    from kinesweep.sweeps.loading import load_space

    # A wrong space is refused before Ray and PyTorch are loaded, which takes seconds.
    wanted = parse_cluster(cluster)
    load_space(space, tuple(overrides or ()), base or Path.cwd())
    from kinesweep.cli import planning
    from kinesweep.cli.results import plan_table

    order = planning.Order(space, tuple(overrides or ()), base or Path.cwd())
    made = planning.plan_space(order, wanted, seed_sd, sentence_sd)
    console.print(plan_table(made))
    say(
        f"the finals see a difference of {made.detectable:.1f} in 80 % of cases, if scores differ"
        f" by a standard deviation of {seed_sd:g} between seeds, {sentence_sd:g} between sentences"
    )
    emit(asdict(made), json_line)


@verb
def status(
    name: Annotated[str | None, typer.Argument(help="A sweep's name; default: all.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every 2 seconds.")] = False,
    table: Annotated[
        Literal["tsv", "markdown", "latex"] | None,
        typer.Option(help="Print all configurations of one sweep, for a paper or spreadsheet."),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Show how far sweeps are, from their journals; of one sweep also its provisional ranking.

    Example: kinesweep status
    """
    import time

    from rich.live import Live

    if table is not None:
        _print_table(name, table, json_line)
        return
    rows = _statuses(name)
    if watch:
        with Live(_status_table(rows), console=console, auto_refresh=False) as live:
            while any(row.state in ("search", "finals") for row in rows):
                time.sleep(2)
                rows = _statuses(name)
                live.update(_status_table(rows), refresh=True)
    else:
        console.print(_status_table(rows) if rows else f"no sweeps in {state_home() / 'sweeps'}")
        shown = rows[0].provisional if name and len(rows) == 1 else None
        for line in shown.lines() if shown is not None else []:
            say(line)
    emit({"sweeps": [asdict(row) for row in rows]}, json_line)


@verb
def report(
    name: Annotated[str, typer.Argument(help="A finished sweep's name.", show_default=False)],
    json_line: JsonOption = False,
) -> None:
    """Write a sweep's report: a page that needs no network, its data as JSON, a picture.

    A sweep does this at its end; this verb does it again.

    Example: kinesweep report sample
    """
    from kinesweep.cli.reporting import report_sweep
    from kinesweep.cli.workflows import sweep_folder

    page = report_sweep(sweep_folder(name))
    say(f"report  {page}")
    emit({"report": str(page)}, json_line)


def _print_table(name: str | None, style: "Style", json_line: bool) -> None:
    """The table of one sweep, on stdout.

    Raises:
        InputError: none was named, or there is none of the name.
    """
    from kinesweep.cli.workflows import sweep_folder
    from kinesweep.sweeps.table import summarise

    if name is None:
        raise InputError("`--table` is of one sweep; give its name too")
    made = summarise(sweep_folder(name))
    if not json_line:
        typer.echo(made.render(style))
    emit(asdict(made), json_line)


def _statuses(name: str | None) -> "list[Status]":
    """All sweeps, or the one of a name.

    Raises:
        InputError: there is none of this name.
    """
    from kinesweep.sweeps.status import read_status

    folders = sorted((state_home() / "sweeps").glob(name or "*"))
    found = [read_status(folder) for folder in folders if (folder / "journal.jsonl").exists()]
    if name and not found:
        raise InputError(f"there is no sweep `{name}` in `{state_home() / 'sweeps'}`")
    return found


def _status_table(rows: "Sequence[Status]") -> Table:
    table = Table("sweep", "state", "trials", "running", "pruned", "failed")
    for heading in ("rung", "best", "final runs", "hours", "to go"):
        table.add_column(heading)
    for row in rows:
        of = "" if row.of is None else f" of {row.of}"
        table.add_row(
            row.sweep,
            row.state,
            f"{row.finished + row.pruned + row.failed}{of}",
            str(row.running),
            str(row.pruned),
            str(row.failed),
            "" if row.rung is None else f"{row.rung:,.0f}",
            "" if row.best is None else f"{row.best:.2f}",
            str(row.runs),
            f"{row.hours:.2f}",
            row.stopped or ("" if row.eta_hours is None else f"{row.eta_hours:.2f} h"),
        )
    return table
