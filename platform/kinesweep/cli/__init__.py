"""The command line: one function per command, one module per group of commands.

Commands parse their arguments and print results; the work itself is done in
`kinesweep.pipelines`. Recipes and search spaces are positional arguments, followed by overrides of
the form `key.sub=value`.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import typer

from kinesweep.cli import (
    conversion,
    data,
    frame_embedding,
    info,
    models,
    pose_estimation,
    preparation,
    pretraining,
    services,
    sweeps,
    training,
    translation,
)
from kinesweep.cli.catalog import skeletons
from kinesweep.cli.inference import embedding, serving
from kinesweep.cli.panel_group import PanelGroup
from kinesweep.cli.search import cross_validation
from kinesweep.pipelines.cluster import ray_cluster

app = typer.Typer(
    name="kinesweep",
    cls=PanelGroup,
    help="Find, train and export the best model that turns human motion into text."
    "\n\nExample: kinesweep sample .kinesweep/sample --keep",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# Panels and commands in the order of `kinesweep --help`: first what a newcomer needs, then the path
# from a corpus to a result. A summary fits on one line of a terminal of 80 columns.
_PANELS: Mapping[str, Sequence[tuple[str, Callable[..., None], str]]] = {
    "Start here": (
        ("sample", data.sample, "Write a sample corpus to try everything on."),
        ("recipes", info.recipes, "List or copy the recipes that come with Kinesweep."),
        ("check", data.check, "Report invalid rows, unreadable files and leakage."),
        ("train", training.train, "Train one run of a recipe, or resume it."),
        ("sweep", sweeps.sweep, "Search, train finalists, rank, export the winner."),
        ("translate", translation.translate, "Translate pose files, videos or tables to text."),
    ),
    "Data": (
        ("prepare", preparation.prepare, "Convert published corpora to TSV files."),
        ("split", data.split, "Make cross-validation folds by signer or document."),
        ("estimate-poses", pose_estimation.estimate_poses, "Estimate poses of videos."),
        ("import-poses", pose_estimation.import_poses, "Convert poses of other estimators."),
        ("extract", data.extract, "Extract features with Ray Data."),
        ("show", data.show, "Show a feature store or one clip; draw a skeleton."),
        ("export-features", data.export_features, "Export features for other systems."),
    ),
    "Models": (
        ("run", training.run, "Estimate poses, extract, train and evaluate a recipe."),
        ("train-embedder", frame_embedding.train_embedder, "Train a frame embedder."),
        ("pretrain", pretraining.pretrain, "Pretrain a video model on frames."),
        ("repeat", training.repeat, "Train a recipe several times and compare the bits."),
        ("evaluate", models.evaluate, "Score a model, or given texts, on a split."),
        ("attention", translation.attention, "Write a page that shows a model's attention."),
        ("embed", embedding.embed, "Write the vectors that a model makes of clips."),
        ("diff", models.diff, "Compare two models tensor by tensor."),
        ("export", models.export, "Export a run as a bundle and verify it."),
        ("convert", conversion.convert, "Convert recipes, models, motions of other systems."),
    ),
    "Sweeps": (
        ("plan", sweeps.plan, "Estimate the cost of a sweep before it is run."),
        ("cross-validate", cross_validation.cross_validate, "Search over folds of signers."),
        ("status", sweeps.status, "Show the progress and ranking of sweeps."),
        ("report", sweeps.report, "Write the report of a finished sweep."),
    ),
    "Services": (
        ("up", services.up, "Start MLflow and a local Ray."),
        ("down", services.down, "Stop what `kinesweep up` started."),
        ("submit", services.submit, "Run a sweep as a Ray job and follow its log."),
        ("serve", serving.serve, "Serve a bundle over HTTP, with a page."),
        ("ui", services.ui, "Print links to runs, comparisons and reports."),
        ("doctor", info.doctor, "Report versions, resources and what is missing."),
        ("skeletons", skeletons.skeletons, "List skeletons by name, or the points of one."),
        ("new", info.new, "Write a package with a part of your own."),
        ("schema", info.schema, "Print the JSON schema of a recipe or search space."),
    ),
}
for _panel, _commands in _PANELS.items():
    for _name, _function, _summary in _commands:
        app.command(_name, short_help=_summary, rich_help_panel=_panel)(_function)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its exit code.

    Sets the environment variables that Ray reads, unless they are set already.

    Args:
        arguments: Command and its arguments; None: those of this process.
    """
    # Before the command: Ray reads these variables when it is first imported.
    ray_cluster.set_ray_env()
    app(args=list(sys.argv[1:] if arguments is None else arguments))
    sys.exit(0)
