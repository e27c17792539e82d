"""The commands `estimate-poses` and `import-poses`: write `.pose` files.

The poses are estimated from videos or converted from the output of other tools.
"""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.core.errors import InputError


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
        str, typer.Option(help="Name of a built-in estimator or of an installed plug-in.")
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
    from kinesweep.features.estimators import find_estimator
    from kinesweep.store.pose_estimation.tasks import build_pose_estimation_tasks

    if fps is not None and not fps > 0:
        raise InputError(f"`--fps` must be above 0, but is {fps:g}")
    # Before the import below, so that a wrong name or folder is reported at once.
    spec, input_videos = find_estimator(estimator), build_pose_estimation_tasks(videos, out)
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
            help="Tool that wrote the files: openpose, openpose_135, alphapose, mmpose or"
            " openpifpaf.",
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
    json_line: JsonOption = False,
) -> None:
    """Convert the output of another pose estimator to pose files.

    Files that cannot be used are counted with their reasons. Exits with code 2 if none can be used.

    Example: kinesweep import-poses openpose .kinesweep/sample/openpose /tmp/poses 640x480@12
    """
    from kinesweep.pipelines.pose_import import import_external_poses

    result = import_external_poses(estimator, outputs, out, film, overwrite)
    print_line(f"{result.num_written} written, {len(result.failed)} failed")
    print_json_result(
        {"written": result.num_written, "failed": result.failed, "folder": str(out)}, json_line
    )
    if not result.num_written:
        raise InputError(
            f"none of the {result.num_files} files could be used; see the reasons above"
        )
