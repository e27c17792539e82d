"""The verb that turns videos into poses."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.output import JsonOption, emit, verb
from kinesweep.core.errors import InputError


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

    Example: kinesweep estimate .kinesweep/videos --out .kinesweep/poses
    """
    from kinesweep.cli.estimates import estimate_all
    from kinesweep.features.estimators import find_estimator
    from kinesweep.store.videos import find_videos

    if fps is not None and not fps > 0:
        raise InputError(f"`--fps {fps:g}` must be above 0")
    spec, found = find_estimator(estimator), find_videos(videos, out)
    done = estimate_all(found, spec, fps)
    emit({**vars(done), "reasons": done.reasons, "folder": str(out)}, json_line)
    if done.failed and not done.written and not done.kept:
        raise InputError(f"none of {len(found)} videos could be estimated")
