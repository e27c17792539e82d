"""The command line: one function per command, one module per group of commands.

Commands parse their arguments and print results; the work itself is done in
`kinesweep.pipelines`. Recipes and search spaces are positional arguments, followed by overrides of
the form `key.sub=value`.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from kinesweep.cli import (
    conversion,
    data,
    frame_embedding,
    info,
    pose_estimation,
    running,
    runs,
    services,
    sweeps,
)
from kinesweep.pipelines.cluster import ray_cluster

app = typer.Typer(
    name="kinesweep",
    help="Find, train and export the best model that turns human motion into text."
    "\n\nExample: kinesweep sample .kinesweep/sample --keep",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# The order here is the order in `kinesweep --help`; it follows the path from a corpus to a result.
for verb in (
    *(data.sample, data.prepare, data.check, data.split),
    *(pose_estimation.estimate, data.extract, data.show, data.export_features),
    *(running.run, runs.train, frame_embedding.embed, runs.repeat, runs.evaluate),
    *(runs.translate, runs.attention, runs.export, runs.diff),
    *(sweeps.plan, sweeps.sweep, sweeps.status, sweeps.report),
    *(services.up, services.down, services.submit, services.ui),
    *(conversion.convert, info.schema, info.doctor),
):
    app.command()(verb)
# `import` is a Python keyword, so this function cannot have the name of its command.
app.command(name="import")(pose_estimation.import_poses)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its exit code."""
    # Before the command: Ray reads these variables when it is first imported.
    ray_cluster.set_ray_env()
    app(args=list(sys.argv[1:] if arguments is None else arguments))
    sys.exit(0)
