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
_OPENPOSE_SUFFIX = "_keypoints.json"


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
    match = re.fullmatch(r"(\d+)x(\d+)@(\d+(?:\.\d+)?)", text)
    if match is None or not all(float(part) > 0 for part in match.groups()):
        raise InputError(f"`{text}` must give width, height and frames per second: `1280x720@25`")
    return VideoProperties(float(match[3]), int(match[1]), int(match[2]))


def find_estimator_outputs(name: str, inputs: Sequence[Path]) -> dict[str, Path]:
    """Find the output files of an external estimator among files and in folders.

    Args:
        name: Name of the estimator, a key of `OUTPUT_READERS`.
        inputs: Files and folders; folders are searched recursively.

    Returns:
        Clip name → file or folder of its output.

    Raises:
        InputError: If there is no such reader, no output, or two outputs with the same clip name.
    """
    if name not in OUTPUT_READERS:
        raise InputError(
            f"outputs of `{name}` are not supported; supported are: {', '.join(OUTPUT_READERS)}"
        )
    outputs: dict[str, Path] = {}
    for root in inputs:
        for path in _list_outputs(name, root):
            # Clips found inside a folder are named by their path below it, so that equal file
            # names in different subfolders stay distinct.
            clip = path.name if path.is_dir() else path.name.partition(".")[0]
            if path != root:
                clip = (path.relative_to(root).parent / clip).as_posix()
            if outputs.setdefault(clip, path) != path:
                raise InputError(f"`{outputs[clip]}` and `{path}` are both outputs of `{clip}`")
    if not outputs:
        raise InputError(
            f"there is no output of {name} in {', '.join(f'`{path}`' for path in inputs)}"
        )
    return outputs


def read_estimator_output(name: str, path: Path, video: VideoProperties) -> Pose:
    """Read an external estimator's output for one clip as a pose.

    Raises:
        ClipError: If the file has another format or contains no people; reason `bad_output`.
    """
    try:
        return OUTPUT_READERS[name](path, video)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        text = f"`{path}` is not an output of {name} ({type(error).__name__}: {error})"
        raise ClipError(text, "bad_output") from None


def _list_outputs(name: str, root: Path) -> list[Path]:
    """List an estimator's outputs at a path: folders for OpenPose, JSON files for all others."""
    if not root.exists():
        raise InputError(f"`{root}` does not exist")
    if name.startswith("openpose"):
        folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
        return [folder for folder in folders if any(folder.glob(f"*{_OPENPOSE_SUFFIX}"))]
    return [root] if root.is_file() else sorted(root.rglob("*.json"))


def _make_openpose_reader(load: Callable[..., Pose]) -> Callable[[Path, VideoProperties], Pose]:
    """Make a reader of OpenPose output from a loader of pose-format."""

    def read(path: Path, video: VideoProperties) -> Pose:
        """Read a folder of OpenPose files as a pose."""
        return load(str(path), fps=video.fps, width=video.width, height=video.height)

    return read


def _read_alphapose(path: Path, video: VideoProperties) -> Pose:
    """Read AlphaPose output: a list of people, each with the name of its image."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = content["frames"] if isinstance(content, dict) else content
    people: dict[int, list[NDArray[np.float32]]] = {}
    for row in rows:
        # The last number in the image name is the frame; other digits may be part of the clip name.
        number = int(re.findall(r"\d+", row["image_id"])[-1])
        people.setdefault(number, []).append(_reshape_keypoints(row["keypoints"]))
    layouts = {136: get_alphapose_components, 133: get_alphapose_133_components}
    return _build_pose(people, video, lambda points: layouts[points]())


def _read_mmpose(path: Path, video: VideoProperties) -> Pose:
    """Read MMPose output: frames with their instances, as saved by its inferencer or demos."""
    content = json.loads(path.read_text(encoding="utf-8"))
    frames = content["instance_info"] if isinstance(content, dict) else content
    # Frame numbers start at 0 or 1, depending on the tool. At most 1 is subtracted, so that leading
    # frames without an entry keep their place.
    first = min(frame["frame_id"] for frame in frames)
    people = {
        frame["frame_id"] - min(first, 1): [
            np.column_stack([instance["keypoints"], instance["keypoint_scores"]]).astype(np.float32)
            for instance in frame["instances"]
        ]
        for frame in frames
    }
    meta = content.get("meta_info", {}) if isinstance(content, dict) else {}
    names = meta.get("keypoint_id2name", {})

    def get_components(points: int) -> list[PoseHeaderComponent]:
        """Return the point components of the header for this number of points."""
        if points == 133:
            return list(cocowholebody_components())
        # Other models name their points in the file.
        point_names = [names[str(number)] for number in range(points)]
        return [PoseHeaderComponent("BODY", point_names, [], [(0, 255, 0)], "XYC")]

    return _build_pose(people, video, get_components)


def _read_openpifpaf(path: Path, video: VideoProperties) -> Pose:
    """Read OpenPifPaf output: JSON lines, one per frame with its predictions."""
    people: dict[int, list[NDArray[np.float32]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        people[row["frame"]] = [
            _reshape_keypoints(prediction["keypoints"]) for prediction in row["predictions"]
        ]
    first = min(people)
    shifted = {number - min(first, 1): detections for number, detections in people.items()}
    return _build_pose(shifted, video, lambda points: {133: cocowholebody_components}[points]())


def _reshape_keypoints(flat: Sequence[float]) -> NDArray[np.float32]:
    """Reshape a flat list of x, y and confidence to (J, 3)."""
    return np.asarray(flat, np.float32).reshape(-1, 3)


def _build_pose(
    people: People,
    video: VideoProperties,
    get_components: Callable[[int], list[PoseHeaderComponent]],
) -> Pose:
    """Build a pose from all frames and people; missing people have confidence 0."""
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
    header = PoseHeader(
        0.2, PoseHeaderDimensions(video.width, video.height, 0), get_components(count)
    )
    return Pose(header, NumPyPoseBody(video.fps, data_TPJ3[..., :2], data_TPJ3[..., 2]))


# Name of the estimator → reader of the output for one clip.
OUTPUT_READERS: dict[str, Callable[[Path, VideoProperties], Any]] = {
    "openpose": _make_openpose_reader(load_openpose_directory),
    "openpose_135": _make_openpose_reader(load_openpose_135_directory),
    "alphapose": _read_alphapose,
    "mmpose": _read_mmpose,
    "openpifpaf": _read_openpifpaf,
}
