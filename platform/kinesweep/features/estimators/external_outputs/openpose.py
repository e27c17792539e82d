"""Reader of OpenPose output: one JSON file per frame.

Format: https://github.com/CMU-Perceptual-Computing-Lab/openpose, doc/02_output.md and its earlier
versions. Each component (body, face, hands) is a flat list of its own, which is empty if the
component was not found or not estimated; its points are then 0 with confidence 0. The number of
body points tells the body model. BODY_25B has as many as BODY_25 and therefore has a name of its
own, `openpose_25b`.

Shapes: J points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pose_format.pose_header import PoseHeaderComponent

from kinesweep.features.estimators.external_outputs.clip_output import ClipOutput
from kinesweep.features.estimators.external_outputs.detections import ClipDetections, Detection
from kinesweep.features.estimators.external_outputs.json_content import (
    load_json,
    parse_integer,
    parse_points,
    require_list,
    require_mapping,
)
from kinesweep.features.estimators.external_outputs.point_layouts import KnownLayout, find_layout

# Component → its keys, from the newest version of the format to the oldest.
COMPONENT_KEYS = {
    "pose_keypoints_2d": ("pose_keypoints_2d", "pose_keypoints", "body_parts", "joints"),
    "face_keypoints_2d": ("face_keypoints_2d", "face_keypoints"),
    "hand_left_keypoints_2d": ("hand_left_keypoints_2d", "hand_left_keypoints"),
    "hand_right_keypoints_2d": ("hand_right_keypoints_2d", "hand_right_keypoints"),
}
_BODY = "pose_keypoints_2d"
_KEYS_3D = (
    *("pose_keypoints_3d", "body_keypoints_3d", "face_keypoints_3d"),
    *("hand_left_keypoints_3d", "hand_right_keypoints_3d"),
)
# Key of the list of people; the second one is that of the first versions.
_PEOPLE_KEYS = ("people", "bodies")

# Component → points, only those that are not empty.
Parts = dict[str, NDArray[np.float32]]


def read_openpose(output: ClipOutput, layouts: Mapping[int, KnownLayout]) -> ClipDetections:
    """Read the OpenPose files of one clip.

    Args:
        output: Files of the clip with their frame numbers.
        layouts: Number of body points → layout.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file has another format, or the body has an unknown number of points.
    """
    notes: set[str] = set()
    people_by_frame: dict[int, list[tuple[Parts, int | None]]] = {}
    for number, path in output.numbered_files():
        content = require_mapping(load_json(path), f"`{path.name}`")
        people_by_frame[number] = [
            _parse_person(person, f"person {order} of `{path.name}`", notes)
            for order, person in enumerate(_get_people(content, path.name))
        ]
    people = [parts for row in people_by_frame.values() for parts, _ in row]
    components = _choose_components(people, layouts, notes)
    frames = {
        number: [Detection(_join(parts, components), track_id) for parts, track_id in row]
        for number, row in people_by_frame.items()
    }
    # Every frame has a file, so the first file is that of the first frame.
    return ClipDetections(frames, components, min(frames), tuple(sorted(notes)))


def _get_people(content: Mapping[str, Any], name: str) -> list[Any]:
    """Return the people of a file.

    Raises:
        ValueError: If the file has no list of people.
    """
    for key in _PEOPLE_KEYS:
        if key in content:
            return require_list(content[key], f"`{key}` of `{name}`")
    raise ValueError(f"`{name}` has no `people`, so OpenPose did not write it with `--write_json`")


def _parse_person(person: Any, place: str, notes: set[str]) -> tuple[Parts, int | None]:
    """Parse the components and the tracking id of a person.

    Args:
        person: Entry of the list of people.
        place: Person and file, for error messages.
        notes: Findings; new ones are added.

    Raises:
        ValueError: If the person has another format.
    """
    entry = require_mapping(person, place)
    parts: Parts = {}
    is_known = False
    for component, keys in COMPONENT_KEYS.items():
        key = next((key for key in keys if key in entry), None)
        if key is None:
            continue
        is_known = True
        points_J3 = parse_points(entry[key], f"`{key}` of {place}")
        if len(points_J3):
            parts[component] = points_J3
    if any(entry.get(key) for key in _KEYS_3D):
        if not parts:
            raise ValueError(f"{place} has 3-D points only (`--3d`), which are not supported")
        notes.add("3-D points were left out; those in the image were used.")
    elif not is_known:
        known = ", ".join(f"`{key}`" for keys in COMPONENT_KEYS.values() for key in keys)
        raise ValueError(f"{place} has none of the known components {known}")
    return parts, _parse_track_id(entry.get("person_id"), place)


def _parse_track_id(value: Any, place: str) -> int | None:
    """Parse `person_id`, which is [-1] without tracking.

    Raises:
        ValueError: If it is neither a whole number nor a list of one.
    """
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return None
    track_id = parse_integer(value, f"`person_id` of {place}")
    return track_id if track_id >= 0 else None


def _choose_components(
    people: Sequence[Parts], layouts: Mapping[int, KnownLayout], notes: set[str]
) -> list[PoseHeaderComponent]:
    """Choose the components of the header by the number of body points.

    Args:
        people: Components of all people.
        layouts: Number of body points → layout.
        notes: Findings; new ones are added.

    Raises:
        ValueError: If there are no people, the number of points of a component is unknown, or the
            body has different numbers of points.
    """
    if not any(people):
        raise ValueError("no people were detected")
    counts = {len(parts[_BODY]) for parts in people if _BODY in parts}
    if len(counts) > 1:
        raise ValueError(f"bodies have different numbers of points: {sorted(counts)}")
    if not counts:
        notes.add("No body was estimated; its points are missing.")
        counts = {min(layouts, key=lambda number: abs(number - 25))}  # as by default
    components = find_layout(layouts, counts.pop())
    # BODY_135 has hands and face in its body, and no other components.
    sizes = {component.name: len(component.points) for component in components}
    for parts in people:
        for name, points_J3 in parts.items():
            if name not in sizes and name != _BODY:
                notes.add(f"`{name}` was left out, because the body has these points.")
            elif name != _BODY and len(points_J3) != sizes[name]:
                raise ValueError(
                    f"`{name}` has {len(points_J3)} points, but must have {sizes[name]} or none"
                )
    return components


def _join(parts: Parts, components: Sequence[PoseHeaderComponent]) -> NDArray[np.float32]:
    """Join the components of a person in the header's order; missing ones are 0, (J, 3)."""
    arrays = []
    for order, component in enumerate(components):
        name = _BODY if order == 0 else component.name
        missing = np.zeros((len(component.points), 3), np.float32)
        arrays.append(parts.get(name, missing))
    return np.concatenate(arrays)
