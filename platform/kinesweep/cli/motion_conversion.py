"""The part of `convert` that converts pickled motions; `conversion` has the command."""

from pathlib import Path
from typing import Literal, NamedTuple

from kinesweep.cli.console import print_json_result, print_line
from kinesweep.core.errors import InputError

Third = Literal["z", "confidence", "none"]
Setting = Literal["gt", "error", "aligned", "none"]
Joints = Literal["pred_xyz_29", "pred_xyz_24", "pred_xyz_24_struct"]


class MotionOptions(NamedTuple):
    """The options of `convert` that only motions have; None where not given.

    Attributes:
        third: Meaning of the third value of a point.
        setting: Setting of CoachMe's data that is converted.
        standards: Pickle of the standard motions of CoachMe's data.
        joints: Array of HybrIK's output that is converted; None for the first that a file has.
    """

    third: Third | None = None
    setting: Setting | None = None
    standards: Path | None = None
    joints: Joints | None = None


def is_motion_input(path: Path) -> bool:
    """Return whether a file is converted as motions: a pickle or a NumPy file by its suffix."""
    from kinesweep.interop.motion_pickle import is_motion_file

    return is_motion_file(path)


def check_motion_options(options: MotionOptions, path: Path, to: str | None) -> None:
    """Check that the options of motions are given for motions, and fit together.

    Args:
        options: Options as they were given.
        path: Input of the command.
        to: Layout in which features are written; None for other conversions.

    Raises:
        InputError: If the input does not contain motions, or an option excludes another.
    """
    given = [name for name, value in options._asdict().items() if value is not None]
    if given and (to is not None or not is_motion_input(path)):
        raise InputError(f"`--{given[0]}` is an option for motions, but `{path}` has none")
    if options.standards is not None and options.setting is None:
        raise InputError("`--standards` belongs to CoachMe's data; pass `--setting` too")
    if options.third not in (None, "z") and options.setting is not None:
        raise InputError(
            f"`--third {options.third}`: CoachMe's joints have three coordinates; leave it out"
        )
    if options.joints is not None and options.setting is not None:
        raise InputError("`--joints` selects joints of HybrIK's output; leave `--setting` out")


def convert_motions(
    path: Path,
    out: Path,
    options: MotionOptions,
    overwrite: bool,
    json_line: bool,
) -> None:
    """Convert pickled motions to a table and an `.npz` beside it, and print what was converted.

    Args:
        path: Pickle or NumPy file.
        out: Path of the table.
        options: Options of motions.
        overwrite: Whether existing files are replaced.
        json_line: Whether the result is also printed as JSON.

    Raises:
        InputError: If an output file exists and may not be replaced, `out` is not a `.tsv`, or the
            file has no clip of the setting.
        SourceError: If the file contains anything but plain values, if records are invalid, if the
            third value must be stated, or if motion types have no standard.
    """
    check_not_existing(overwrite, out, out.with_suffix(".npz"))
    if options.setting is not None:
        _convert_coachme_data(path, out, options.setting, options.standards, json_line)
        return
    from kinesweep.interop.motion_pickle import convert_pickled_motions

    result = convert_pickled_motions(path, out, options.third, options.joints)
    print_line(f"{result.table}: {result.clips} clips; {result.pack}: {result.points} points")
    for key, count in result.left.items():
        print_line(f"left out  {key} of {count} records")
    if "augmented_labels" in result.left:
        print_line("note      pass `--setting` to convert CoachMe's segments and augmented labels")
    statement = "" if result.third == "z" else f" source.third={result.third}"
    print_line(
        f"to read the motions: source.kind=skeletons source.train={result.table}{statement}"
        " source.fps=…"
    )
    values = {**vars(result), "table": str(result.table), "pack": str(result.pack)}
    print_json_result(values, json_line)


def _convert_coachme_data(
    path: Path, out: Path, setting: Setting, standards: Path | None, json_line: bool
) -> None:
    """Convert a setting of CoachMe's data, and print what was converted and what was not.

    Args:
        path: Pickle of the data.
        out: Path of the table.
        setting: Setting that is converted.
        standards: Pickle of the standard motions; None: clips have no reference motion.
        json_line: Whether the result is also printed as JSON.
    """
    from kinesweep.interop.coachme.conversion import convert_coachme_data
    from kinesweep.interop.coachme.records import DROP_REASONS

    result = convert_coachme_data(path, out, setting, standards)
    print_line(
        f"{result.table}: {result.clips} clips, {result.references} with a reference motion;"
        f" {result.pack}: {result.points} points, standards:"
        f" {', '.join(result.standards) or 'none'}"
    )
    for reason, count in result.dropped.items():
        print_line(f"dropped   {reason} {count}: {DROP_REASONS[reason]}")
    for key, count in result.left.items():
        print_line(f"left out  {key} of {count} records")
    for count, what in (
        (result.other_lengths, "another `original_seq_len` than frames; the frames count"),
        (result.other_ends, "another end than start plus length; the length counts"),
    ):
        if count:
            print_line(f"note      {count} records have {what}")
    # Whole clips and whole standards must be aligned; segments are.
    method = "dtw" if setting == "none" else "given"
    reference = f" features.reference.method={method}" if result.references else ""
    print_line(
        f"to read the motions: source.kind=skeletons source.train={result.table} source.fps=30"
        f" 'source.ignore_columns=[camera_view]'{reference}"
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
