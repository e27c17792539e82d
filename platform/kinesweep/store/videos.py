"""Which videos there are to estimate, which have their poses already, and the notes beside these.

A video is a file or a folder of numbered pictures. Its poses lie at the same place below the output
folder; beside `a.pose` stands `a.pose.json`, which says what they were made of and by what, and is
written last: without it, or with other facts in it, a video is estimated anew.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.core.media import PICTURES, VIDEOS, holds_pictures, is_video
from kinesweep.features.estimators import EstimatorSpec


@dataclass(frozen=True)
class Video:
    """One to estimate.

    Attributes:
        source: file or folder, absolute.
        out: its `.pose` file.
        name: as it is reported.
    """

    source: Path
    out: Path
    name: str

    @property
    def note(self) -> Path:
        """The file beside the poses."""
        return self.out.with_name(f"{self.out.name}.json")


def find_videos(inputs: Sequence[Path], out: Path) -> list[Video]:
    """All videos that are named, or lie below folders that are, in order.

    Raises:
        InputError: an input is not there, nothing is found, or two would have the same poses.
    """
    found = [video for path in inputs for video in _below(path.absolute(), out.absolute())]
    if not found:
        raise InputError(
            f"there is no video in {', '.join(f'`{path}`' for path in inputs)}: no"
            f" {', '.join(VIDEOS)} and no folder of pictures"
        )
    first: dict[Path, Video] = {}
    for video in found:
        other = first.setdefault(video.out, video)
        if other.source != video.source:
            raise InputError(
                f"`{other.source}` and `{video.source}` would both be written to `{video.out}`;"
                " estimate them into folders of their own"
            )
    return list(first.values())


def is_done(video: Video, spec: EstimatorSpec, fps: float | None) -> bool:
    """Whether its poses are there, made of this very file by this very estimator."""
    try:
        noted = json.loads(video.note.read_text(encoding="utf-8"))
        size = video.out.stat().st_size
    except (OSError, ValueError):
        return False
    facts = {**source_facts(video, spec, fps), "pose_bytes": size}
    return isinstance(noted, dict) and all(noted.get(key) == facts[key] for key in facts)


def source_facts(video: Video, spec: EstimatorSpec, fps: float | None) -> dict[str, Any]:
    """What the poses of a video depend on."""
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
    """Writes the file beside the poses, in one step."""
    beside = video.note.with_name(f".{video.note.name}")
    beside.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    beside.replace(video.note)


def _below(path: Path, out: Path) -> Iterator[Video]:
    if path.is_file():
        yield Video(path, out / f"{path.stem}.pose", path.name)
    elif not path.is_dir():
        raise InputError(f"`{path}` is not there")
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
