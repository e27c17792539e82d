"""The verb that turns videos into poses."""

from pathlib import Path
from typing import Annotated

import typer

from kinesweep.cli.output import JsonOption, emit, progress, say, verb
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
    from kinesweep.cli import cluster
    from kinesweep.features.estimators import find_estimator
    from kinesweep.store.videos import find_videos, is_done

    if fps is not None and not fps > 0:
        raise InputError(f"`--fps {fps:g}` must be above 0")
    spec = find_estimator(estimator)
    found = find_videos(videos, out)
    todo = sum(not is_done(video, spec, fps) for video in found)
    say(f"{len(found)} videos: {todo} to estimate with {spec.name} {spec.version}")
    if todo:
        cluster.connect()
    from kinesweep.store.estimate import estimate_videos

    with progress("estimate") as update:
        done = estimate_videos(found, spec, fps, update)
    for name, (reason, message) in done.failed.items():
        say(f"{reason}  {name}: {message}")
    if done.written:
        say(
            f"{done.frames} frames: {done.frames / done.seconds:.1f} a second and worker,"
            f" {done.frames / done.core_seconds:.1f} a second of a core"
        )
    counted = ", ".join(f"{count} {reason}" for reason, count in done.reasons.items())
    say(
        f"{done.written} written, {done.kept} kept, {len(done.failed)} failed ({counted or 'none'})"
    )
    emit({**vars(done), "reasons": done.reasons, "folder": str(out)}, json_line)
    if done.failed and not done.written and not done.kept:
        raise InputError(f"none of {len(found)} videos could be estimated")
