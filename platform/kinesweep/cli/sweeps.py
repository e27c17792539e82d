"""Commands on sweeps: plan, sweep, status, report."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kinesweep.cli.console import (
    DryRunOption,
    JsonOption,
    OverridesArgument,
    console,
    print_json_result,
    print_line,
    wrap_command,
)
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.paths import get_state_dir
from kinesweep.core.scores import format_scores

if TYPE_CHECKING:
    from kinesweep.pipelines.sweeps.sweep import SweepResult
    from kinesweep.sweeps.journal.status import SweepStatus
    from kinesweep.sweeps.results.table import TableStyle

SpaceArgument = Annotated[
    Path, typer.Argument(help="Search space file (YAML).", show_default=False)
]
BaseOption = Annotated[
    Path | None,
    typer.Option(help="Folder for relative paths in the recipe. Default: the current one."),
]


@wrap_command
def sweep(  # noqa: PLR0913 (options of a command)
    space: SpaceArgument,
    overrides: OverridesArgument = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the sweep, or show its result.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the sweep and start again.")
    ] = False,
    extend: Annotated[
        int, typer.Option(min=0, help="Resume with this number of additional trials.")
    ] = 0,
    dry_run: DryRunOption = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the sweep folder. Default: that of the file.")
    ] = None,
    base: BaseOption = None,
    json_line: JsonOption = False,
) -> None:
    """Run a sweep: search, train the best over several seeds, rank, score test, export the winner.

    Overrides of the space are plain (`search.trials=4`); those of its recipe begin with `recipe.`.

    Example: kinesweep sweep search_spaces/sample.yaml --resume
    """
    from kinesweep.sweeps.space.loading import load_space

    # Validate the space before importing Ray and PyTorch, which takes seconds.
    load_space(space, tuple(overrides or ()), base or Path.cwd())
    from kinesweep.pipelines.sweeps import sweep

    request = sweep.SweepRequest(
        space, tuple(overrides or ()), name or space.stem, base or Path.cwd(), extend
    )
    estimate = ""
    if dry_run:
        from kinesweep.pipelines.dry_run import dry_run_sweep

        result, estimate = dry_run_sweep(request)
    else:
        # `--extend` implies `--resume`.
        result = sweep.run_requested_sweep(
            request, resume=resume or extend > 0, overwrite=overwrite
        )
    _print_sweep_result(result)
    if estimate:
        print_line(estimate)
    print_json_result(result.as_dict(), json_line)
    # After the result: what was trained is shown, but a search without a trial is no success.
    sweep.raise_if_search_failed(result)


def _print_sweep_result(result: "SweepResult") -> None:
    """Print the outcome of a sweep and its outputs: bundle, report and trackers.

    The outcome consists of ranking, objectives, sanity baselines, conclusion, notes and scores on
    test.
    """
    from kinesweep.cli.tables import (
        build_objectives_table,
        build_ranking_table,
        format_sanity_scores,
    )

    outcome = result.outcome
    console.print(build_ranking_table(outcome))
    if outcome.objectives:
        console.print(build_objectives_table(outcome))
    for line in (*format_sanity_scores(outcome), outcome.answer, *outcome.notes):
        print_line(line)
    for seed, scores in outcome.test.items():
        print_line(
            f"test, {outcome.winner}, seed {seed}: {format_scores(scores, [outcome.metric])}"
        )
    print_line(f"bundle  {result.bundle}")
    print_line(f"report  {result.report}")
    for tracker, place in (result.places or {"MLflow": "not recorded (kinesweep up)"}).items():
        print_line(f"{tracker:<7} {place}")


@wrap_command
def plan(
    space: SpaceArgument,
    overrides: OverridesArgument = None,
    cluster: Annotated[
        str,
        typer.Option(
            help="Cluster to plan for, such as cpus=64,gpus=8. Default: the running cluster."
        ),
    ] = "",
    seed_sd: Annotated[
        float, typer.Option(min=0, help="Standard deviation of a final score between seeds.")
    ] = 1.0,
    sentence_sd: Annotated[
        float,
        typer.Option(
            min=0, help="Standard error of a score difference from the choice of sentences."
        ),
    ] = 0.8,
    base: BaseOption = None,
    json_line: JsonOption = False,
) -> None:
    """Estimate the cost of a sweep: train a few short runs, then simulate the sweep many times.

    Example: kinesweep plan search_spaces/sample.yaml --cluster cpus=8
    """
    from kinesweep.pipelines.cluster.cluster_size import parse_cluster_size
    from kinesweep.sweeps.space.loading import load_space

    # Validate the arguments before importing Ray and PyTorch, which takes seconds.
    cluster_resources = parse_cluster_size(cluster)
    load_space(space, tuple(overrides or ()), base or Path.cwd())
    from kinesweep.cli.tables import build_plan_table
    from kinesweep.pipelines.sweeps import sweep_planning

    request = sweep_planning.PlanRequest(space, tuple(overrides or ()), base or Path.cwd())
    sweep_plan = sweep_planning.plan_sweep(request, cluster_resources, seed_sd, sentence_sd)
    console.print(build_plan_table(sweep_plan))
    print_line(
        f"the finals detect a difference of {sweep_plan.min_detectable_difference:.1f} in 80 % of"
        " cases,"
        f" with a standard deviation of {seed_sd:g} between seeds and a standard error of"
        f" {sentence_sd:g} from sentences"
    )
    print_json_result(asdict(sweep_plan), json_line)


@wrap_command
def status(
    name: Annotated[
        str | None, typer.Argument(help="Name of a sweep. Default: all sweeps.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every 2 seconds while a sweep is running.")
    ] = False,
    table: Annotated[
        Literal["tsv", "markdown", "latex"] | None,
        typer.Option(
            help="Print all configurations of one sweep as a table for a paper or spreadsheet."
        ),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Show the progress of sweeps; of a named one, its provisional ranking and Optuna study too.

    Example: kinesweep status
    """
    import time

    from rich.live import Live

    from kinesweep.cli.tables import build_status_table

    if table is not None:
        _print_sweep_table(name, table, json_line)
        return
    # Journals are read without a lock and without Ray, so this works while a driver is running.
    rows = _read_statuses(name)
    if watch:
        with Live(build_status_table(rows), console=console, auto_refresh=False) as live:
            # A sweep whose journal has been silent for 15 minutes is `silent` and ends the loop.
            while any(row.state in ("search", "finals") for row in rows):
                time.sleep(2)
                rows = _read_statuses(name)
                live.update(build_status_table(rows), refresh=True)
    else:
        console.print(
            build_status_table(rows) if rows else f"no sweeps in {get_state_dir() / 'sweeps'}"
        )
        if name and len(rows) == 1:
            rows = [_print_details(rows[0])]
    print_json_result({"sweeps": [asdict(row) for row in rows]}, json_line)


@wrap_command
def report(
    name: Annotated[str, typer.Argument(help="Name of a finished sweep.", show_default=False)],
    json_line: JsonOption = False,
) -> None:
    """Write a sweep's report: a self-contained HTML page, its data as JSON, and an image.

    Every sweep writes its report at the end; this command writes it again.

    Example: kinesweep report sample
    """
    from kinesweep.pipelines.inputs import find_sweep_dir
    from kinesweep.pipelines.sweeps.study import complete_study
    from kinesweep.pipelines.sweeps.sweep_report import write_sweep_report

    folder = find_sweep_dir(name)
    page, study = write_sweep_report(folder), complete_study(folder)
    print_line(f"report  {page}")
    print_line(f"study   {study}")
    print_json_result({"report": str(page), "study": study}, json_line)


def _print_details(row: "SweepStatus") -> "SweepStatus":
    """Print the provisional ranking of a sweep, and the command that shows its study.

    Returns:
        The status with this command.
    """
    from kinesweep.pipelines.sweeps.study import complete_study

    for line in row.provisional.format_lines() if row.provisional is not None else []:
        print_line(line)
    try:
        command = complete_study(get_state_dir() / "sweeps" / row.sweep)
    except CheckpointError as error:
        # What is shown above comes from the journal alone, which needs no part of a package.
        print_line(f"study   not available: {error}")
        return row
    if command:
        print_line(f"study   {command}")
    return replace(row, study=command)


def _print_sweep_table(name: str | None, style: "TableStyle", json_line: bool) -> None:
    """Print the table of one sweep on stdout, in the given style or as one line of JSON.

    Raises:
        CheckpointError: If the folder contains no sweep.
        InputError: If no sweep is named or if there is no sweep of this name.
    """
    from kinesweep.pipelines.inputs import find_sweep_dir
    from kinesweep.sweeps.results.table import build_sweep_table

    if name is None:
        raise InputError("`--table` prints one sweep; pass its name as well")
    results_table = build_sweep_table(find_sweep_dir(name))
    if not json_line:
        typer.echo(results_table.render(style))
    print_json_result(asdict(results_table), json_line)


def _read_statuses(name: str | None) -> "list[SweepStatus]":
    """Read the status of all sweeps that have a journal, or of one of them.

    Args:
        name: Name of a sweep, or a pattern such as `sample*`; None: all sweeps.

    Raises:
        InputError: If no sweep of this name has a journal.
    """
    from kinesweep.sweeps.journal.status import read_sweep_status

    folders = sorted((get_state_dir() / "sweeps").glob(name or "*"))
    statuses = [
        read_sweep_status(folder) for folder in folders if (folder / "journal.jsonl").exists()
    ]
    if name and not statuses:
        raise InputError(f"there is no sweep `{name}` in `{get_state_dir() / 'sweeps'}`")
    return statuses
