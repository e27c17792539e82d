"""The verb that turns videos into poses."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.output import JsonOption, emit, progress, say, verb
from kinesweep.core.errors import ClipError, InputError


@verb
def estimate(
    videos: Annotated[
        list[Path],
        typer.Argument(help="Videos, folders of them, folders of pictures.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the `.pose` files.", show_default=False)],
    estimator: Annotated[str, typer.Option(help="Ours, or an installed plug-in's.")] = "mediapipe",
    fps: Annotated[
        float | None, typer.Option(help="Frames a second of folders of pictures.")
    ] = None,
    json_line: JsonOption = False,
) -> None:
    """Estimate the poses of videos on Ray Data; what is done is not done again.

    Beside each `.pose` stands a `.pose.json` with size, rate and estimator. Videos that cannot be
    used are counted with their reasons; exits with 2 when none can.

    Example: kinesweep estimate .kinesweep/sample/films --out /tmp/kinesweep-poses
    """
    from kinesweep.features.estimators import find_estimator
    from kinesweep.store.videos import find_videos

    if fps is not None and not fps > 0:
        raise InputError(f"`--fps {fps:g}` must be above 0")
    spec, found = find_estimator(estimator), find_videos(videos, out)
    from kinesweep.cli.estimates import estimate_all  # Ray: a second

    done = estimate_all(found, spec, fps)
    emit({**vars(done), "reasons": done.reasons, "folder": str(out)}, json_line)
    if done.failed and not done.written and not done.kept:
        raise InputError(f"none of {len(found)} videos could be estimated")


@verb
def import_poses(
    estimator: Annotated[
        str,
        typer.Argument(
            help="Who wrote them: openpose, openpose_135, alphapose, mmpose, openpifpaf.",
            show_default=False,
        ),
    ],
    outputs: Annotated[
        Path, typer.Argument(help="A file, or a folder of them.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the `.pose` files.", show_default=False)],
    film: Annotated[
        str, typer.Argument(help="Size and rate of the videos: 1280x720@25.", show_default=False)
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    json_line: JsonOption = False,
) -> None:
    """Turn what an estimator wrote elsewhere into pose files.

    Files that cannot be used are counted with their reasons; exits with 2 when none can.

    Example: kinesweep import openpose .kinesweep/sample/openpose /tmp/poses 640x480@12 --overwrite
    """
    from kinesweep.features.estimators.outputs import find_outputs, parse_film, read_output

    of, found = parse_film(film), find_outputs(estimator, [outputs])
    there = [clip for clip in found if (out / f"{clip}.pose").exists()]
    if there and not overwrite:
        raise InputError(
            f"`{out}` holds `{there[0]}.pose` already; give `--overwrite`, or a folder"
        )
    failed: dict[str, str] = {}
    with progress("import") as update:
        for number, (clip, path) in enumerate(found.items(), 1):
            try:
                pose = read_output(estimator, path, of)
            except ClipError as error:
                failed[clip] = str(error)
                say(f"{error.reason}  {error}")
                continue
            target = out / f"{clip}.pose"
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                pose.write(file)
            update(number, len(found))
    say(f"{len(found) - len(failed)} written, {len(failed)} failed")
    emit({"written": len(found) - len(failed), "failed": failed, "folder": str(out)}, json_line)
    if len(failed) == len(found):
        raise InputError(f"none of {len(found)} outputs could be used")
