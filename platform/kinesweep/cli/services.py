"""Commands on processes: up, down, submit, ui."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import JsonOption, console, print_json_result, print_line, wrap_command
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.cluster import ray_cluster
from kinesweep.pipelines.cluster.job_package import PackageMode
from kinesweep.pipelines.cluster.job_submission import run_ray_job


@wrap_command
def up(
    cores: Annotated[
        int | None, typer.Option(min=1, help="Number of cores for Ray. Default: all.")
    ] = None,
    backend_store: Annotated[
        str | None,
        typer.Option(
            help="MLflow's database, postgresql://… or sqlite. Default: the one used last."
        ),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Start MLflow and a local Ray on loopback; services that are already running are kept.

    Example: kinesweep up --cores 2
    """
    mlflow, head = ray_cluster.start_services(cores, backend_store)
    print_line(f"MLflow  {mlflow.address}")
    ray, metrics = ray_cluster.get_dashboard_address(head), ray_cluster.get_metrics_address(head)
    print_line(f"Ray     {ray}")
    print_line(f"metrics {metrics}")
    print_json_result({"mlflow": mlflow.address, "ray": ray, "metrics": metrics}, json_line)


@wrap_command
def down(json_line: JsonOption = False) -> None:
    """Stop the services that `kinesweep up` started.

    Example: kinesweep down
    """
    stopped = ray_cluster.stop_services()
    print_line(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    print_json_result({"stopped": stopped}, json_line)


@wrap_command
def submit(  # noqa: PLR0913  one parameter per option
    space: Annotated[Path, typer.Argument(help="Search space file (YAML).", show_default=False)],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Overrides for `kinesweep sweep`.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the sweep, or show its result.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the sweep and start again.")
    ] = False,
    extend: Annotated[
        int, typer.Option(min=0, help="Resume with this number of additional trials.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run every stage on a few clips.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the sweep folder. Default: that of the file.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray job server. Default: the local Ray.")
    ] = None,
    package: Annotated[
        PackageMode,
        typer.Option(
            help="Which Kinesweep runs: the one installed on the cluster, an upload of this one, or"
            " auto: an upload if `--address` is given."
        ),
    ] = "auto",
    python: Annotated[
        str | None,
        typer.Option(help="Interpreter on the cluster. Default: `python` if `--address` is given."),
    ] = None,
) -> None:
    """Run a sweep as a Ray job, follow its log, and exit with its exit code.

    Files and the state folder must have the same paths on all machines of the cluster.

    Example: kinesweep submit search_spaces/sample.yaml --resume
    """
    # The job runs in another folder; relative paths in the recipe start from this one.
    base = f"--base={Path.cwd()}"
    options = ["--resume"] * resume + ["--overwrite"] * overwrite
    options += ["--dry-run"] * dry_run + [f"--extend={extend}"] * (extend > 0)
    options += [f"--name={name}"] if name else []
    job_command = ["sweep", str(space.absolute()), *(arguments or []), *options, base]
    # A dry run uses a separate folder and ends before there is any progress to show.
    folder = None if dry_run else get_state_dir() / "sweeps" / (name or space.stem)
    colors = console.is_terminal
    raise typer.Exit(
        run_ray_job(job_command, address, folder, package=package, python=python, colors=colors)
    )


@wrap_command
def ui(
    name: Annotated[
        str | None, typer.Argument(help="Name of a sweep. Default: all sweeps.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Print links to sweeps and commands of Optuna, TensorBoard, W&B; start MLflow if needed.

    Example: kinesweep ui sample
    """
    from kinesweep.pipelines.sweeps.tracking_links import collect_tracking_links

    address, links = collect_tracking_links(name)
    if address:
        print_line(f"MLflow  {address}")
    for sweep, page_links in links.items():
        print_line(f"\n{sweep}")
        for page, link in page_links.items():
            print_line(f"  {page:<18} {link or '(too few runs)'}")
    print_json_result({"mlflow": address, "sweeps": links}, json_line)
