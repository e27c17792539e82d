"""Output of pose estimators, built in code after the published formats."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinesweep.features.estimators.external_outputs import (
    VideoProperties,
    find_estimator_outputs,
    read_estimator_output,
)

VIDEO = VideoProperties(25.0, 1280, 720)
PARTS = (
    *("pose_keypoints_2d", "face_keypoints_2d"),
    *("hand_left_keypoints_2d", "hand_right_keypoints_2d"),
)


@dataclass
class Imported:
    """x, y and confidence (T, P, J, 3), the components (name, points) and notes of a pose."""

    data: Any
    components: list[tuple[str, list[str]]]
    notes: str

    @property
    def x(self) -> Any:
        """x of the first point of each person, nan where it is missing: [[frame 0], …]."""
        return np.where(self.data[..., 0, 2] > 0, self.data[..., 0, 0], np.nan).tolist()


def read_all(estimator: str, *paths: Path, first_frame: int | None = None) -> dict[str, Imported]:
    clips = find_estimator_outputs(estimator, paths).clips
    imported = {}
    for name, output in clips.items():
        found = read_estimator_output(estimator, output, VIDEO, first_frame)
        body, header = found.pose.body, found.pose.header
        data = np.concatenate([np.ma.getdata(body.data), body.confidence[..., None]], axis=-1)
        components = [(part.name, part.points) for part in header.components]
        imported[name] = Imported(data, components, " ".join(found.notes))
    return imported


def read_one(estimator: str, path: Path, first_frame: int | None = None) -> Imported:
    (imported,) = read_all(estimator, path, first_frame=first_frame).values()
    return imported


def points(count: int, x: float = 100.0) -> Any:
    """Points (J, 3), each different from the others; they begin at x."""
    place = np.arange(count, dtype=np.float64)
    return np.stack([x + place, 50 + 2 * place, 1 - place / 500], axis=1)


def flat(count: int, x: float = 100.0) -> list[float]:
    return list(points(count, x).ravel().tolist())


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_openpose(folder: Path, frames: dict[str, list[Any]]) -> Path:
    """Files `NAME_keypoints.json` of the given people."""
    for name, people in frames.items():
        write_json(folder / f"{name}_keypoints.json", {"version": 1.3, "people": people})
    return folder


def openpose_person(x: float = 100.0, body: int = 25, **others: Any) -> dict[str, Any]:
    """A person whose face begins at x + 1000, and whose hands begin at x + 2000 and x + 3000."""
    return {
        "person_id": [-1],
        "pose_keypoints_2d": flat(body, x),
        "face_keypoints_2d": flat(70, x + 1000),
        "hand_left_keypoints_2d": flat(21, x + 2000),
        "hand_right_keypoints_2d": flat(21, x + 3000),
        **{key.replace("_2d", "_3d"): [] for key in PARTS},
    } | others
