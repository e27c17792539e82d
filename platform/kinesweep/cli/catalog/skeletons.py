"""The command `skeletons`: named skeletons, their points and bones."""

from typing import Annotated

import typer
from rich.table import Table

from kinesweep.cli.console import JsonOption, console, print_json_result, print_line, wrap_command


@wrap_command
def skeletons(
    name: Annotated[
        str | None, typer.Argument(help="Skeleton whose points are listed. Default: all.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """List the skeletons that `source.skeleton` knows by name, or the points and bones of one.

    Example: kinesweep skeletons kinect_v2_25
    """
    from kinesweep.config.suggestions import suggest_closest_word
    from kinesweep.core.errors import InputError
    from kinesweep.core.skeleton.skeleton import ROOT, SKELETONS

    if name is None:
        table = Table("name", "points", "first points")
        for known, skeleton in SKELETONS.items():
            first_points = ", ".join(skeleton.layout.point_names[:4])
            table.add_row(known, str(skeleton.num_points), f"{first_points} …")
        console.print(table)
        counts = {known: skeleton.num_points for known, skeleton in SKELETONS.items()}
        print_json_result({"skeletons": counts}, json_line)
        return
    if name not in SKELETONS:
        hint = suggest_closest_word(name, list(SKELETONS)) or "; `kinesweep skeletons` lists them"
        raise InputError(f"there is no skeleton `{name}`{hint}")
    skeleton = SKELETONS[name]
    names = skeleton.layout.point_names
    for index, parent in enumerate(skeleton.parents):
        joined = "root" if parent == ROOT else f"← {parent} {names[parent]}"
        print_line(f"{index:>3} {names[index]:<24} {joined}")
    print_json_result({"name": name, **skeleton.to_json()}, json_line)
