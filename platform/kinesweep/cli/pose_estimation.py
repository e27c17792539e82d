"""The commands `estimate-poses` and `import-poses`: write `.pose` files.

The poses are estimated from videos or converted from the output of other tools.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.core.errors import InputError

if TYPE_CHECKING:
    from kinesweep.pipelines.pose_import import PoseImportResult

# Clips whose notes are printed; a corpus may have the same note for each of its clips.
_MAX_SHOWN_NOTES = 5


@wrap_command
def estimate_poses(
    videos: Annotated[
        list[Path],
        typer.Argument(
            help="Videos, folders of videos, or folders of images (one per video).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Output folder for the `.pose` files.", show_default=False)
    ],
    estimator: Annotated[
        str,
        typer.Option(
            help="Name of a built-in estimator or of an installed plug-in, or a YAML file with the"
            " section `source.estimator` of a recipe, such as that of HybrIK."
        ),
    ] = "mediapipe",
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames per second of folders of images; rate of the poses of video files"
            " (default: each file's own)."
        ),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Estimate the poses of videos on Ray Data; finished videos are skipped.

    A `.pose.json` with size, frame rate and estimator is written beside each `.pose`. Videos that
    cannot be used are counted with their reasons. Exits with code 2 if none can be used.

    Example: kinesweep estimate-poses .kinesweep/sample/films --out /tmp/kinesweep-poses
    """
    from kinesweep.features.estimators.smpl.configured import find_named_estimator
    from kinesweep.store.pose_estimation.tasks import build_pose_estimation_tasks

    if fps is not None and not fps > 0:
        raise InputError(f"`--fps` must be above 0, but is {fps:g}")
    # Before the import below, so that a wrong name or folder is reported at once.
    spec, input_videos = find_named_estimator(estimator), build_pose_estimation_tasks(videos, out)
    from kinesweep.pipelines.pose_estimation import (
        estimate_missing_poses,  # imports Ray, which takes a second
    )

    result = estimate_missing_poses(input_videos, spec, fps)
    print_json_result(
        {**vars(result), "reasons": result.failure_counts, "folder": str(out)}, json_line
    )
    # A part of the videos may fail; the command fails only if it has nothing to show.
    if result.failed and not result.written and not result.kept:
        raise InputError(
            f"none of the {len(input_videos)} videos could be used; see the reasons above"
        )


@wrap_command
def import_poses(
    estimator: Annotated[
        str,
        typer.Argument(
            help="Tool that wrote the files: openpose, openpose_25b, openpose_135, alphapose,"
            " mmpose or openpifpaf.",
            show_default=False,
        ),
    ],
    outputs: Annotated[
        Path, typer.Argument(help="Output file of the tool, or a folder.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Argument(help="Output folder for the `.pose` files.", show_default=False)
    ],
    film: Annotated[
        str,
        typer.Argument(
            help="Size and frame rate of the videos, such as 1280x720@25.", show_default=False
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing pose files.")
    ] = False,
    first_frame: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of the videos' first frame in the output; by default, that of the first"
            " frame in it.",
            show_default=False,
        ),
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Convert the output of another pose estimator to pose files.

    Supported are OpenPose (a JSON file per frame; bodies of 15, 18, 25 and 135 points, with hands
    and face; `openpose_25b` is BODY_25B, which also has 25), AlphaPose (16, 17, 21, 26, 68, 133 and
    136 points, in all three formats), MMPose (16, 17, 21, 26, 68, 98, 106, 133 and 136 points, or
    any others that the output names) and OpenPifPaf (17 and 133 points). Other numbers of points
    are refused. People are followed by the tracking ids in the output, otherwise by their position.

    Files that cannot be used are counted with their reasons. Exits with code 2 if none can be used.

    Example: kinesweep import-poses openpose .kinesweep/sample/openpose /tmp/poses 640x480@12
    """
    from kinesweep.pipelines.pose_import import import_external_poses

    result = import_external_poses(estimator, outputs, out, film, overwrite, first_frame)
    _report_import(result, out, json_line)


def _report_import(result: "PoseImportResult", out: Path, json_line: bool) -> None:
    """Print what was imported, what was left out, and notes on the first clips.

    Raises:
        InputError: If nothing was imported.
    """
    print_line(f"{result.num_written} written, {len(result.failed)} failed")
    if result.people:
        counts = [f"{clips} with {number}" for number, clips in sorted(result.people.items())]
        print_line(f"people per clip: {', '.join(counts)}")
    for reason, count in result.left_out.items():
        print_line(f"{count} files left out: {reason}")
    for clip, notes in list(result.notes.items())[:_MAX_SHOWN_NOTES]:
        print_line(f"{clip}: {' '.join(notes)}")
    if (others := len(result.notes) - _MAX_SHOWN_NOTES) > 0:
        print_line(f"{others} more clips have notes; `--json` shows all of them")
    print_json_result(
        {
            "written": result.num_written,
            "failed": result.failed,
            "people": {str(number): result.people[number] for number in sorted(result.people)},
            "left_out": result.left_out,
            "notes": result.notes,
            "folder": str(out),
        },
        json_line,
    )
    if not result.num_written:
        raise InputError(
            f"none of the {result.num_files} files could be used; see the reasons above"
        )
