"""The commands `estimate` and `import`: pose files from videos or from other tools' output."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.console import JsonOption, command, print_json_result, print_line
from kinesweep.core.errors import ClipError, InputError
from kinesweep.pipelines.progress import progress_bar


@command
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
        float | None, typer.Option(help="Frames per second of folders of images.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Estimate the poses of videos on Ray Data; finished videos are skipped.

    A `.pose.json` with size, frame rate and estimator is written beside each `.pose`. Videos that
    cannot be used are counted with their reasons. Exits with code 2 if none can be used.

    Example: kinesweep estimate-poses .kinesweep/sample/films --out /tmp/kinesweep-poses
    """
    from kinesweep.features.estimators import find_estimator
    from kinesweep.store.pose_estimation.videos import find_videos

    if fps is not None and not fps > 0:
        raise InputError(f"`--fps` must be above 0, but is {fps:g}")
    # Before the import below, so that a wrong name or folder is reported at once.
    spec, found = find_estimator(estimator), find_videos(videos, out)
    from kinesweep.pipelines.pose_estimation import (
        estimate_all,  # imports Ray, which takes a second
    )

    done = estimate_all(found, spec, fps)
    print_json_result({**vars(done), "reasons": done.reasons, "folder": str(out)}, json_line)
    # A part of the videos may fail; the command fails only if it has nothing to show.
    if done.failed and not done.written and not done.kept:
        raise InputError(f"none of the {len(found)} videos could be used; see the reasons above")


@command
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
    from kinesweep.features.estimators.external_outputs import (
        find_outputs,
        parse_video_properties,
        read_output,
    )

    of, found = parse_video_properties(film), find_outputs(estimator, [outputs])
    there = [clip for clip in found if (out / f"{clip}.pose").exists()]
    if there and not overwrite:
        raise InputError(
            f"`{out}` already contains `{there[0]}.pose`; pass `--overwrite` or another folder"
        )
    failed: dict[str, str] = {}
    with progress_bar("import") as update:
        for number, (clip, path) in enumerate(found.items(), 1):
            try:
                pose = read_output(estimator, path, of)
            except ClipError as error:
                failed[clip] = str(error)
                print_line(f"{error.reason}  {error}")
                continue
            target = out / f"{clip}.pose"
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                pose.write(file)
            update(number, len(found))
    print_line(f"{len(found) - len(failed)} written, {len(failed)} failed")
    print_json_result(
        {"written": len(found) - len(failed), "failed": failed, "folder": str(out)}, json_line
    )
    if len(failed) == len(found):
        raise InputError(f"none of the {len(found)} files could be used; see the reasons above")
