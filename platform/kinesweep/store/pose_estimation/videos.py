"""Videos to estimate: discovery, existing poses, and the notes beside the poses.

A video is a file or a folder of numbered images. Its poses are written to the same relative path
below the output folder. Beside `a.pose`, the note `a.pose.json` records the input and the
estimator. It is written last: a video without a note, or with a note that does not match, is
estimated again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.core.video_files import PICTURES, VIDEOS, holds_pictures, is_video
from kinesweep.features.estimators import EstimatorSpec


@dataclass(frozen=True)
class Video:
    """A video to estimate.

    Attributes:
        source: Absolute path of the file or folder.
        out: Path of its `.pose` file.
        name: Name used in reports.
    """

    source: Path
    out: Path
    name: str

    @property
    def note(self) -> Path:
        """Return the path of the note beside the poses."""
        return self.out.with_name(f"{self.out.name}.json")


def find_videos(inputs: Sequence[Path], out: Path) -> list[Video]:
    """Return the given videos and all videos below the given folders, in order.

    Args:
        inputs: Video files, folders of images, or folders that contain either.
        out: Folder below which poses are written.

    Raises:
        InputError: If an input does not exist, no video is found, or two videos share an output
            file.
    """
    found = [video for path in inputs for video in _below(path.absolute(), out.absolute())]
    if not found:
        raise InputError(
            f"no video found in {', '.join(f'`{path}`' for path in inputs)}: neither a file with"
            f" the suffix {', '.join(VIDEOS)} nor a folder of images"
        )
    # The same video may be given twice, for example directly and through its folder.
    first: dict[Path, Video] = {}
    for video in found:
        other = first.setdefault(video.out, video)
        if other.source != video.source:
            raise InputError(
                f"`{other.source}` and `{video.source}` would both be written to `{video.out}`;"
                " estimate them into separate output folders"
            )
    return list(first.values())


def is_done(video: Video, spec: EstimatorSpec, fps: float | None) -> bool:
    """Return whether a video's poses exist and were made from this very file by this estimator."""
    try:
        noted = json.loads(video.note.read_text(encoding="utf-8"))
        # The size reveals a `.pose` file that was replaced or truncated after its note was written.
        size = video.out.stat().st_size
    except (OSError, ValueError):
        return False
    facts = {**source_facts(video, spec, fps), "pose_bytes": size}
    return isinstance(noted, dict) and all(noted.get(key) == facts[key] for key in facts)


def source_facts(video: Video, spec: EstimatorSpec, fps: float | None) -> dict[str, Any]:
    """Return everything that the poses of a video depend on, as recorded in its note.

    Args:
        video: Video, file or folder of images.
        spec: Pose estimator.
        fps: Frame rate of folders of images in Hz; ignored for files.
    """
    files = [video.source]
    if video.source.is_dir():
        files = [path for path in video.source.iterdir() if path.suffix.lower() in PICTURES]
    stats = [path.stat() for path in files]
    return {
        "source": video.name,
        "source_files": len(files),
        "source_bytes": sum(stat.st_size for stat in stats),
        "source_mtime_ns": max(stat.st_mtime_ns for stat in stats),
        "given_fps": fps if video.source.is_dir() else None,
        "estimator": spec.name,
        "estimator_version": spec.version,
        "estimator_fingerprint": spec.fingerprint,
        "requirements": list(spec.requirements),
    }


def write_note(video: Video, facts: Mapping[str, Any]) -> None:
    """Write the note beside the poses, atomically."""
    beside = video.note.with_name(f".{video.note.name}")
    beside.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    beside.replace(video.note)


def _below(path: Path, out: Path) -> Iterator[Video]:
    """Yield the videos at or below a path, with output paths below `out`."""
    if path.is_file():
        yield Video(path, out / f"{path.stem}.pose", path.name)
    elif not path.is_dir():
        raise InputError(f"`{path}` does not exist")
    elif holds_pictures(path):
        yield Video(path, out / f"{path.name}.pose", path.name)
    else:
        for place in sorted(path.rglob("*")):
            own = place.relative_to(path)
            if is_video(place.name) and place.is_file():
                yield Video(place, out / own.with_suffix(".pose"), own.as_posix())
            elif holds_pictures(place):
                name = own.with_name(f"{own.name}.pose")
                yield Video(place, out / name, own.as_posix())
