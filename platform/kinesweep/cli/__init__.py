"""The command line: one verb a function, grouped by what they act on.

Verbs parse and print; what they do stands in `workflows`. Recipes and spaces are positional,
`key.sub=value` overrides follow.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from kinesweep.cli import (
    about,
    cluster,
    converting,
    data,
    embedding,
    estimating,
    running,
    runs,
    services,
    sweeps,
)

app = typer.Typer(
    name="kinesweep",
    help="Finds, trains and hands over the best model that turns human motion into text."
    "\n\nExample: kinesweep sample .kinesweep/sample --keep",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for verb in (
    *(data.sample, data.prepare, data.check, data.split),
    *(estimating.estimate, data.extract, data.show, data.export_features),
    *(running.run, runs.train, runs.repeat, runs.evaluate, runs.translate, runs.export, runs.diff),
    embedding.embed,
    *(sweeps.plan, sweeps.sweep, sweeps.status, sweeps.report),
    *(services.up, services.down, services.submit, services.ui),
    *(converting.convert, about.schema, about.doctor),
):
    app.command()(verb)
app.command(name="import")(estimating.import_poses)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and leaves with its exit code."""
    cluster.prepare()
    app(args=list(sys.argv[1:] if arguments is None else arguments))
    sys.exit(0)
