"""Readers for the output of external pose estimators, which convert it to `.pose` files.

There is one reader per estimator; the point layouts are those of pose-format. Frames are placed by
their number in the output, so a frame without people remains a frame. People keep their order.

Shapes: T frames, P people, J points; each point has x, y and a confidence.
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

# Frame index → people in that frame, each (J, 3).
People = Mapping[int, Sequence[NDArray[np.float32]]]
# Suffix of the files of OpenPose, which writes one file per frame into a folder per video.
_OPENPOSE_SUFFIX = "_keypoints.json"


@dataclass(frozen=True)
class VideoProperties:
    """The properties of a video that an estimator's output does not contain.

    Attributes:
        fps: Frame rate in frames per second.
        width: Width in pixels.
        height: Height in pixels.
    """

    fps: float
    width: int
    height: int


def parse_video_properties(text: str) -> VideoProperties:
    """Parse the properties of a video (width, height, frame rate) from a text like `1280x720@25`.

    Raises:
        InputError: If the text has another form or a number is 0.
    """
    match = re.fullmatch(r"(\d+)x(\d+)@(\d+(?:\.\d+)?)", text)
    if match is None or not all(float(group) > 0 for group in match.groups()):
        raise InputError(f"`{text}` must give width, height and frames per second: `1280x720@25`")
    return VideoProperties(float(match[3]), int(match[1]), int(match[2]))


def find_estimator_outputs(estimator_name: str, inputs: Sequence[Path]) -> dict[str, Path]:
    """Find the output files of an external estimator among files and in folders.

    Args:
        estimator_name: Name of the estimator, a key of `OUTPUT_READERS`.
        inputs: Files and folders; folders are searched recursively.

    Returns:
        Clip name → file or folder of its output.

    Raises:
        InputError: If there is no such reader, an input does not exist, there is no output, or two
            outputs have the same clip name.
    """
    if estimator_name not in OUTPUT_READERS:
        raise InputError(
            f"outputs of `{estimator_name}` are not supported; supported are:"
            f" {', '.join(OUTPUT_READERS)}"
        )
    outputs: dict[str, Path] = {}
    for root in inputs:
        for path in _list_outputs(estimator_name, root):
            # Clips found inside a folder are named by their path below it, so that equal file
            # names in different subfolders stay distinct.
            clip_name = path.name if path.is_dir() else path.name.partition(".")[0]
            if path != root:
                clip_name = (path.relative_to(root).parent / clip_name).as_posix()
            if outputs.setdefault(clip_name, path) != path:
                raise InputError(
                    f"`{outputs[clip_name]}` and `{path}` are both outputs of `{clip_name}`"
                )
    if not outputs:
        raise InputError(
            f"there is no output of {estimator_name} in {', '.join(f'`{path}`' for path in inputs)}"
        )
    return outputs


def read_estimator_output(
    estimator_name: str, path: Path, video_properties: VideoProperties
) -> Pose:
    """Read the output of an external estimator for one clip as a pose.

    Args:
        estimator_name: Name of the estimator, a key of `OUTPUT_READERS`.
        path: File or folder of the output.
        video_properties: Properties of the video that the output belongs to.

    Raises:
        ClipError: If the output cannot be read, has another format or contains no people; reason
            `bad_output`.
    """
    try:
        return OUTPUT_READERS[estimator_name](path, video_properties)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        text = f"`{path}` is not an output of {estimator_name} ({type(error).__name__}: {error})"
        raise ClipError(text, "bad_output") from None


def _list_outputs(estimator_name: str, root: Path) -> list[Path]:
    """List the outputs of an estimator at or below a path: one folder or JSON file per clip.

    OpenPose writes a folder of JSON files per clip, all other estimators write a JSON file. The
    path itself comes first; the others are sorted.

    Raises:
        InputError: If the path does not exist.
    """
    if not root.exists():
        raise InputError(f"`{root}` does not exist")
    if estimator_name.startswith("openpose"):
        folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
        return [folder for folder in folders if any(folder.glob(f"*{_OPENPOSE_SUFFIX}"))]
    return [root] if root.is_file() else sorted(root.rglob("*.json"))


def _make_openpose_reader(load: Callable[..., Pose]) -> Callable[[Path, VideoProperties], Pose]:
    """Make a reader of the OpenPose output for one clip from a loader function of pose-format."""

    def read(path: Path, video: VideoProperties) -> Pose:
        """Read a folder of OpenPose files as a pose."""
        return load(str(path), fps=video.fps, width=video.width, height=video.height)

    return read


def _read_alphapose(path: Path, video: VideoProperties) -> Pose:
    """Read AlphaPose output, a list of people with the names of their images, as a pose."""
    content = json.loads(path.read_text(encoding="utf-8"))
    detections = content["frames"] if isinstance(content, dict) else content
    people: dict[int, list[NDArray[np.float32]]] = {}
    for person in detections:
        # The last number in the image name is the frame; other digits may be part of the clip name.
        frame_index = int(re.findall(r"\d+", person["image_id"])[-1])
        people.setdefault(frame_index, []).append(_reshape_keypoints(person["keypoints"]))
    layouts = {136: get_alphapose_components, 133: get_alphapose_133_components}
    return _build_pose(people, video, lambda num_points: layouts[num_points]())


def _read_mmpose(path: Path, video: VideoProperties) -> Pose:
    """Read MMPose output, as saved by its inferencer or its demos, as a pose.

    The output is a list of frames with their instances, that is, people.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    frames = content["instance_info"] if isinstance(content, dict) else content
    # Frame numbers start at 0 or 1, depending on the tool. At most 1 is subtracted, so that leading
    # frames without an entry keep their place.
    first_frame = min(frame["frame_id"] for frame in frames)
    people = {
        frame["frame_id"] - min(first_frame, 1): [
            np.column_stack([instance["keypoints"], instance["keypoint_scores"]]).astype(np.float32)
            for instance in frame["instances"]
        ]
        for frame in frames
    }
    meta = content.get("meta_info", {}) if isinstance(content, dict) else {}
    names_by_id = meta.get("keypoint_id2name", {})

    def get_components(num_points: int) -> list[PoseHeaderComponent]:
        """Return the point components of the header for this number of points."""
        if num_points == 133:
            return list(cocowholebody_components())
        # Other models name their points in the file.
        point_names = [names_by_id[str(point_id)] for point_id in range(num_points)]
        return [PoseHeaderComponent("BODY", point_names, [], [(0, 255, 0)], "XYC")]

    return _build_pose(people, video, get_components)


def _read_openpifpaf(path: Path, video: VideoProperties) -> Pose:
    """Read OpenPifPaf output, JSON lines with the predictions of one frame each, as a pose."""
    people_by_number: dict[int, list[NDArray[np.float32]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        frame = json.loads(line)
        people_by_number[frame["frame"]] = [
            _reshape_keypoints(prediction["keypoints"]) for prediction in frame["predictions"]
        ]
    # Frame numbers start at 0 or 1, as for MMPose.
    first_number = min(min(people_by_number), 1)
    people = {number - first_number: points for number, points in people_by_number.items()}
    layouts = {133: cocowholebody_components}
    return _build_pose(people, video, lambda num_points: layouts[num_points]())


def _reshape_keypoints(flat: Sequence[float]) -> NDArray[np.float32]:
    """Reshape a flat list of x, y and confidence of each point to float32 (J, 3)."""
    return np.asarray(flat, np.float32).reshape(-1, 3)


def _build_pose(
    people: People,
    video: VideoProperties,
    get_components: Callable[[int], list[PoseHeaderComponent]],
) -> Pose:
    """Build a pose from the people of all frames; missing people have confidence 0.

    Args:
        people: Frame index → people in that frame.
        video: Properties of the video.
        get_components: Function that returns the header's components for a number of points.

    Raises:
        ValueError: If there are no people or they have different numbers of points.
    """
    point_counts = {len(points_J3) for frame in people.values() for points_J3 in frame}
    if len(point_counts) != 1:
        raise ValueError(
            f"people have different numbers of points: {sorted(point_counts)}"
            if point_counts
            else "no people were detected"
        )
    (num_points,) = point_counts
    shape = (max(people) + 1, max(map(len, people.values())), num_points)
    data_TPJ3 = np.zeros((*shape, 3), np.float32)
    for frame_index, frame in people.items():
        for person_index, points_J3 in enumerate(frame):
            data_TPJ3[frame_index, person_index] = points_J3
    header = PoseHeader(
        0.2, PoseHeaderDimensions(video.width, video.height, 0), get_components(num_points)
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
