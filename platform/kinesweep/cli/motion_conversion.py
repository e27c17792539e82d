"""The part of `convert` that converts pickled motions; `conversion` has the command."""

from pathlib import Path
from typing import Literal

from kinesweep.cli.console import print_json_result, print_line
from kinesweep.core.errors import InputError

Third = Literal["z", "confidence", "none"]
Joints = Literal["pred_xyz_29", "pred_xyz_24", "pred_xyz_24_struct"]


def is_motion_input(path: Path) -> bool:
    """Return whether a file is converted as motions: a pickle or a NumPy file by its suffix."""
    from kinesweep.interop.motion_pickle import is_motion_file

    return is_motion_file(path)


def check_third_option(
    third: Third | None, path: Path, to: str | None, joints: Joints | None = None
) -> None:
    """Check that `--third` and `--joints` are given for motions only.

    Args:
        third: Value of the option.
        path: Input of the command.
        to: Layout in which features are written; None for other conversions.
        joints: Value of the option `--joints`.

    Raises:
        InputError: If the input does not contain motions.
    """
    if joints is not None and (to is not None or not is_motion_input(path)):
        raise InputError(f"`--joints` selects joints of HybrIK's output, but `{path}` is none")
    if third is not None and (to is not None or not is_motion_input(path)):
        raise InputError(f"`--third` is the meaning of values in motions, but `{path}` has none")


def convert_motions(
    path: Path,
    out: Path,
    third: Third | None,
    overwrite: bool,
    json_line: bool,
    joints: Joints | None = None,
) -> None:
    """Convert pickled motions to a table and an `.npz` beside it, and print what was converted.

    Args:
        path: Pickle or NumPy file.
        out: Path of the table.
        third: Meaning of the third value of a point; None if the format defines it.
        overwrite: Whether existing files are replaced.
        json_line: Whether the result is also printed as JSON.
        joints: Array of HybrIK's output to convert; None for the first that a file has.

    Raises:
        InputError: If an output file exists and may not be replaced, or if `out` is not a `.tsv`.
        SourceError: If the file contains anything but plain values, if records are invalid, or if
            `third` is needed.
    """
    from kinesweep.interop.motion_pickle import convert_pickled_motions

    check_not_existing(overwrite, out, out.with_suffix(".npz"))
    result = convert_pickled_motions(path, out, third, joints)
    print_line(f"{result.table}: {result.clips} clips; {result.pack}: {result.points} points")
    for key, count in result.left.items():
        print_line(f"left out  {key} of {count} records")
    statement = "" if result.third == "z" else f" source.third={result.third}"
    print_line(
        f"to read the motions: source.kind=skeletons source.train={result.table}{statement}"
        " source.fps=…"
    )
    values = {**vars(result), "table": str(result.table), "pack": str(result.pack)}
    print_json_result(values, json_line)


def check_not_existing(overwrite: bool, *paths: Path | None) -> None:
    """Check that none of the paths exists, unless they may be overwritten.

    Raises:
        InputError: If one exists and `overwrite` is not set.
    """
    for path in paths:
        if path is not None and path.exists() and not overwrite:
            raise InputError(f"`{path}` already exists; choose another path or pass `--overwrite`")
