"""The command `cross-validate`: a search over folds of signers or documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from kinesweep.cli.console import (
    DryRunOption,
    JsonOption,
    OverridesArgument,
    console,
    print_json_result,
    print_line,
    wrap_command,
)
from kinesweep.cli.sweeps import BaseOption, SpaceArgument

if TYPE_CHECKING:
    from kinesweep.pipelines.sweeps.cross_validation import CrossValidation


@wrap_command
def cross_validate(  # noqa: PLR0913 (options of a command)
    space: SpaceArgument,
    overrides: OverridesArgument = None,
    by: Annotated[
        Literal["signer", "document"], typer.Option(help="Property that no two folds may share.")
    ] = "signer",
    folds: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 5,
    fold_seed: Annotated[
        int, typer.Option(min=0, help="Random seed for the assignment of groups to folds.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the search.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove it, with its sweeps, and start again.")
    ] = False,
    dry_run: DryRunOption = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the search. Default: that of the file.")
    ] = None,
    base: BaseOption = None,
    json_line: JsonOption = False,
) -> None:
    """Search over folds: sweep each, and rank configurations by their mean score over all folds.

    Train and validation are pooled and divided; test is kept as it is. The space must try a fixed
    list (`grid`, `random` or `qmc`) without a pruner. Every fold is a sweep, `NAME-fold-K`.

    Example: kinesweep cross-validate search_spaces/kinect_words.yaml --by signer --folds 5
    """
    from kinesweep.sweeps.space.fold_search import check_fold_search
    from kinesweep.sweeps.space.loading import load_space

    # Validate the space before importing Ray and PyTorch, which takes seconds.
    check_fold_search(*load_space(space, tuple(overrides or ()), base or Path.cwd()))
    from kinesweep.pipelines.sweeps import cross_validation
    from kinesweep.pipelines.sweeps.fold_tables import FoldSettings
    from kinesweep.pipelines.sweeps.sweep import SweepRequest

    request = SweepRequest(space, tuple(overrides or ()), name or space.stem, base or Path.cwd())
    settings = FoldSettings(by, folds, fold_seed)
    if dry_run:
        dry_result, estimate = cross_validation.dry_run_cross_validation(request, settings)
        print_line(estimate)
        print_json_result(dry_result.as_dict(), json_line)
        return
    result = cross_validation.cross_validate(request, settings, resume=resume, overwrite=overwrite)
    _print_result(result)
    print_json_result(result.as_dict(), json_line)
    cross_validation.raise_if_nothing_ranked(result)


def _print_result(result: "CrossValidation") -> None:
    """Print the configurations with their scores on each fold, and the folders of the sweeps."""
    folds = [f"fold {fold}" for fold in range(len(result.sweeps))]
    table = Table("configuration", "mean", "gap to best", *folds, title=result.metric)
    for one in result.configurations:
        gap = "" if one.gap_to_best is None else f"{one.gap_to_best:+.2f}"
        if one.gap_interval is not None:
            gap += " [{:+.2f}, {:+.2f}]".format(*one.gap_interval)
        table.add_row(
            ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in one.values.items()),
            "-" if one.mean is None else f"{one.mean:.2f}",
            gap,
            *("failed" if score is None else f"{score:.2f}" for score in one.scores),
        )
    console.print(table)
    best = result.configurations[0] if result.configurations else None
    if best is not None and best.mean is not None:
        settings = " ".join(f"{key}={value}" for key, value in best.values.items())
        print_line(f"best over all folds: {settings}")
    for sweep in result.sweeps:
        print_line(f"sweep  {sweep}")
