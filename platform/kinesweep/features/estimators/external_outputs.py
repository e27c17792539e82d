"""Readers for the output of external pose estimators, which convert it to `.pose` files.

There is one reader per estimator; the point layouts are those of pose-format. Frames are placed by
their number in the output, so a frame without people remains a frame. People keep their order.

Shapes: T frames, P people, J points; x, y and a confidence each.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pose_format import Pose
from pose_format.numpy.pose_body import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions
from pose_format.utils.alphapose import get_alphapose_components
from pose_format.utils.alphapose_133 import get_alphapose_133_components
from pose_format.utils.cocowholebody133_header import cocowholebody_components
from pose_format.utils.openpose import load_openpose_directory
from pose_format.utils.openpose_135 import load_openpose_135_directory

from kinesweep.core.errors import ClipError, InputError

# Frame number → people in that frame, each (J, 3).
People = Mapping[int, Sequence[NDArray[np.float32]]]
# Suffix of the files of OpenPose, which writes one file per frame into a folder per video.
_OPENPOSE = "_keypoints.json"


@dataclass(frozen=True)
class VideoProperties:
    """The properties of a video that an estimator's output does not contain; size in pixels."""

    fps: float
    width: int
    height: int


def parse_video_properties(text: str) -> VideoProperties:
    """Parse width, height and frame rate from a text such as `1280x720@25`.

    Raises:
        InputError: If the text has another form or a number is 0.
    """
    found = re.fullmatch(r"(\d+)x(\d+)@(\d+(?:\.\d+)?)", text)
    if found is None or not all(float(part) > 0 for part in found.groups()):
        raise InputError(f"`{text}` must give width, height and frames per second: `1280x720@25`")
    return VideoProperties(float(found[3]), int(found[1]), int(found[2]))


def find_outputs(name: str, inputs: Sequence[Path]) -> dict[str, Path]:
    """Find the outputs of an estimator among files and in folders.

    Args:
        name: Name of the estimator, a key of `READERS`.
        inputs: Files and folders; folders are searched recursively.

    Returns:
        Clip name → file or folder of its output.

    Raises:
        InputError: If there is no such reader, no output, or two outputs with the same clip name.
    """
    if name not in READERS:
        raise InputError(
            f"outputs of `{name}` are not supported; supported are: {', '.join(READERS)}"
        )
    found: dict[str, Path] = {}
    for root in inputs:
        for path in _outputs(name, root):
            # Clips found inside a folder are named by their path below it, so that equal file
            # names in different subfolders stay distinct.
            clip = path.name if path.is_dir() else path.name.partition(".")[0]
            if path != root:
                clip = (path.relative_to(root).parent / clip).as_posix()
            if found.setdefault(clip, path) != path:
                raise InputError(f"`{found[clip]}` and `{path}` are both outputs of `{clip}`")
    if not found:
        raise InputError(
            f"there is no output of {name} in {', '.join(f'`{path}`' for path in inputs)}"
        )
    return found


def read_output(name: str, path: Path, film: VideoProperties) -> Pose:
    """Read the output for one clip as a pose.

    Raises:
        ClipError: If the file has another format or contains no people; reason `bad_output`.
    """
    try:
        return READERS[name](path, film)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        text = f"`{path}` is not an output of {name} ({type(error).__name__}: {error})"
        raise ClipError(text, "bad_output") from None


def _outputs(name: str, root: Path) -> list[Path]:
    """List the outputs at a path: folders for OpenPose, JSON files for all others."""
    if not root.exists():
        raise InputError(f"`{root}` does not exist")
    if name.startswith("openpose"):
        folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
        return [folder for folder in folders if any(folder.glob(f"*{_OPENPOSE}"))]
    return [root] if root.is_file() else sorted(root.rglob("*.json"))


def _openpose(load: Callable[..., Pose]) -> Callable[[Path, VideoProperties], Pose]:
    """Adapt a loader of pose-format to the signature of a reader."""

    def read(path: Path, film: VideoProperties) -> Pose:
        return load(str(path), fps=film.fps, width=film.width, height=film.height)

    return read


def _alphapose(path: Path, film: VideoProperties) -> Pose:
    """Read AlphaPose's list of people, each with the name of its image."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    rows = plain["frames"] if isinstance(plain, dict) else plain
    people: dict[int, list[NDArray[np.float32]]] = {}
    for row in rows:
        # The last number in the image name is the frame; other digits may be part of the clip name.
        number = int(re.findall(r"\d+", row["image_id"])[-1])
        people.setdefault(number, []).append(_triples(row["keypoints"]))
    layouts = {136: get_alphapose_components, 133: get_alphapose_133_components}
    return _pose(people, film, lambda points: layouts[points]())


def _mmpose(path: Path, film: VideoProperties) -> Pose:
    """Read MMPose's frames with their instances, as saved by its inferencer or its demos."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    frames = plain["instance_info"] if isinstance(plain, dict) else plain
    # Frame numbers start at 0 or 1, depending on the tool. At most 1 is subtracted, so that leading
    # frames without an entry keep their place.
    first = min(frame["frame_id"] for frame in frames)
    people = {
        frame["frame_id"] - min(first, 1): [
            np.column_stack([one["keypoints"], one["keypoint_scores"]]).astype(np.float32)
            for one in frame["instances"]
        ]
        for frame in frames
    }
    meta = plain.get("meta_info", {}) if isinstance(plain, dict) else {}
    names = meta.get("keypoint_id2name", {})

    def components(points: int) -> list[PoseHeaderComponent]:
        if points == 133:
            return list(cocowholebody_components())
        # Other models name their points in the file.
        own = [names[str(number)] for number in range(points)]
        return [PoseHeaderComponent("BODY", own, [], [(0, 255, 0)], "XYC")]

    return _pose(people, film, components)


def _openpifpaf(path: Path, film: VideoProperties) -> Pose:
    """Read OpenPifPaf's JSON lines, one per frame with its predictions."""
    people: dict[int, list[NDArray[np.float32]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        people[row["frame"]] = [_triples(one["keypoints"]) for one in row["predictions"]]
    first = min(people)
    shifted = {number - min(first, 1): found for number, found in people.items()}
    return _pose(shifted, film, lambda points: {133: cocowholebody_components}[points]())


def _triples(flat: Sequence[float]) -> NDArray[np.float32]:
    """Reshape a flat list of x, y and confidence to (J, 3)."""
    return np.asarray(flat, np.float32).reshape(-1, 3)


def _pose(
    people: People, film: VideoProperties, components: Callable[[int], list[PoseHeaderComponent]]
) -> Pose:
    """Combine all frames and people into one pose; missing people have confidence 0."""
    counts = {len(points) for found in people.values() for points in found}
    if len(counts) != 1:
        raise ValueError(
            f"people have different numbers of points: {sorted(counts)}"
            if counts
            else "no people were detected"
        )
    (count,) = counts
    shape = (max(people) + 1, max(map(len, people.values())), count)
    data_TPJ3 = np.zeros((*shape, 3), np.float32)
    for frame, found in people.items():
        for person, points_J3 in enumerate(found):
            data_TPJ3[frame, person] = points_J3
    header = PoseHeader(0.2, PoseHeaderDimensions(film.width, film.height, 0), components(count))
    return Pose(header, NumPyPoseBody(film.fps, data_TPJ3[..., :2], data_TPJ3[..., 2]))


# Name of the estimator → reader of the output for one clip.
READERS: dict[str, Callable[[Path, VideoProperties], Any]] = {
    "openpose": _openpose(load_openpose_directory),
    "openpose_135": _openpose(load_openpose_135_directory),
    "alphapose": _alphapose,
    "mmpose": _mmpose,
    "openpifpaf": _openpifpaf,
}
