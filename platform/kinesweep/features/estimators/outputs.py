"""What estimators that ran elsewhere have written, as `.pose` files.

Readers by the estimator's name; the layouts are pose-format's. Frames are placed by the numbers
they have in the output, so one without anybody in it stays a frame; persons keep their order.

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

People = Mapping[int, Sequence[NDArray[np.float32]]]
"""Frame → its persons, each (J, 3)."""
_OPENPOSE = "_keypoints.json"


@dataclass(frozen=True)
class Film:
    """What an output does not say of its video."""

    fps: float
    width: int
    height: int


def parse_film(text: str) -> Film:
    """`1280x720@25`.

    Raises:
        InputError: something else.
    """
    found = re.fullmatch(r"(\d+)x(\d+)@(\d+(?:\.\d+)?)", text)
    if found is None or not all(float(part) > 0 for part in found.groups()):
        raise InputError(f"`{text}` must be width, height and frames a second, as in 1280x720@25")
    return Film(float(found[3]), int(found[1]), int(found[2]))


def find_outputs(name: str, inputs: Sequence[Path]) -> dict[str, Path]:
    """Clip → its output, among files and below folders.

    Raises:
        InputError: no such reader, nothing there, or two of one name.
    """
    if name not in READERS:
        raise InputError(f"outputs of `{name}` are not known; known are: {', '.join(READERS)}")
    found: dict[str, Path] = {}
    for root in inputs:
        for path in _outputs(name, root):
            clip = path.name if path.is_dir() else path.name.partition(".")[0]
            if path != root:
                clip = (path.relative_to(root).parent / clip).as_posix()
            if found.setdefault(clip, path) != path:
                raise InputError(f"`{found[clip]}` and `{path}` are both outputs of `{clip}`")
    if not found:
        raise InputError(f"no output of {name} in {', '.join(f'`{path}`' for path in inputs)}")
    return found


def read_output(name: str, path: Path, film: Film) -> Pose:
    """One clip's output as a pose.

    Raises:
        ClipError: reason `bad_output`: it is not what this estimator writes, or holds nobody.
    """
    try:
        return READERS[name](path, film)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        text = f"`{path}` is no output of {name} ({type(error).__name__}: {error})"
        raise ClipError(text, "bad_output") from None


def _outputs(name: str, root: Path) -> list[Path]:
    if not root.exists():
        raise InputError(f"`{root}` is not there")
    if name.startswith("openpose"):
        folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
        return [folder for folder in folders if any(folder.glob(f"*{_OPENPOSE}"))]
    return [root] if root.is_file() else sorted(root.rglob("*.json"))


def _openpose(load: Callable[..., Pose]) -> Callable[[Path, Film], Pose]:
    def read(path: Path, film: Film) -> Pose:
        return load(str(path), fps=film.fps, width=film.width, height=film.height)

    return read


def _alphapose(path: Path, film: Film) -> Pose:
    """A list of persons, each with the picture it was seen in."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    rows = plain["frames"] if isinstance(plain, dict) else plain
    people: dict[int, list[NDArray[np.float32]]] = {}
    for row in rows:
        number = int(re.findall(r"\d+", row["image_id"])[-1])
        people.setdefault(number, []).append(_triples(row["keypoints"]))
    layouts = {136: get_alphapose_components, 133: get_alphapose_133_components}
    return _pose(people, film, lambda points: layouts[points]())


def _mmpose(path: Path, film: Film) -> Pose:
    """Frames with their instances, as its inferencer or its demos save them."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    frames = plain["instance_info"] if isinstance(plain, dict) else plain
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
        own = [names[str(number)] for number in range(points)]
        return [PoseHeaderComponent("BODY", own, [], [(0, 255, 0)], "XYC")]

    return _pose(people, film, components)


def _openpifpaf(path: Path, film: Film) -> Pose:
    """A line a frame, with its predictions."""
    people: dict[int, list[NDArray[np.float32]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        people[row["frame"]] = [_triples(one["keypoints"]) for one in row["predictions"]]
    first = min(people)
    shifted = {number - min(first, 1): found for number, found in people.items()}
    return _pose(shifted, film, lambda points: {133: cocowholebody_components}[points]())


def _triples(flat: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(flat, np.float32).reshape(-1, 3)


def _pose(
    people: People, film: Film, components: Callable[[int], list[PoseHeaderComponent]]
) -> Pose:
    """Frames and persons side by side; who is not there has confidence 0."""
    counts = {len(points) for found in people.values() for points in found}
    if len(counts) != 1:
        raise ValueError(f"persons have {sorted(counts)} points" if counts else "nobody is in it")
    (count,) = counts
    shape = (max(people) + 1, max(map(len, people.values())), count)
    data_TPJ3 = np.zeros((*shape, 3), np.float32)
    for frame, found in people.items():
        for person, points_J3 in enumerate(found):
            data_TPJ3[frame, person] = points_J3
    header = PoseHeader(0.2, PoseHeaderDimensions(film.width, film.height, 0), components(count))
    return Pose(header, NumPyPoseBody(film.fps, data_TPJ3[..., :2], data_TPJ3[..., 2]))


READERS: dict[str, Callable[[Path, Film], Any]] = {
    "openpose": _openpose(load_openpose_directory),
    "openpose_135": _openpose(load_openpose_135_directory),
    "alphapose": _alphapose,
    "mmpose": _mmpose,
    "openpifpaf": _openpifpaf,
}
"""Estimator → reader of one clip's output."""
