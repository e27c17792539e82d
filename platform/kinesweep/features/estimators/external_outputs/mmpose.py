"""Reader of MMPose output: a JSON file per video, or one per image.

Formats: `pred_out_dir` of the inferencer (mmpose/apis/inferencers/base_mmpose_inferencer.py) and
`--save-predictions` of the demos (demo/topdown_demo_with_mmdet.py), which add `meta_info` with the
names of the points. Results of MMPose 0.x are lists of people per frame whose points are x, y and
score. Poses lifted to 3-D are refused, because their x and y are not positions in the image.

Shapes: J points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pose_format.pose_header import PoseHeaderComponent

from kinesweep.features.estimators.external_outputs.clip_output import ClipOutput
from kinesweep.features.estimators.external_outputs.detections import (
    SINGLE_IMAGE_NOTE,
    ClipDetections,
    Detection,
    count_points,
)
from kinesweep.features.estimators.external_outputs.json_content import (
    load_json,
    parse_frame_number,
    parse_integer,
    parse_numbers,
    require_list,
    require_mapping,
)
from kinesweep.features.estimators.external_outputs.point_layouts import (
    MMPOSE,
    find_layout,
    make_component,
)

_LAYOUT_HINT = (
    "; the output of others must contain `meta_info` with `keypoint_id2name`, as the demos of"
    " MMPose write it with `--save-predictions`"
)
# Names of all known layouts of this number of points are those of pose-format.
_WHOLE_BODY = 133


def read_mmpose(output: ClipOutput) -> ClipDetections:
    """Read the MMPose output of one clip.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file has another format, or the people have an unknown number of points.
    """
    notes: tuple[str, ...] = ()
    if output.numbers is None:
        meta, entries = _split_meta(load_json(output.files[0]))
        notes = (SINGLE_IMAGE_NOTE,) if _is_image(entries) else ()
        people_by_frame = _sort_by_frame(entries)
        start_frame = min(*people_by_frame, 1) if people_by_frame else 0
    else:
        meta, people_by_frame = {}, {}
        for number, path in output.numbered_files():
            file_meta, entries = _split_meta(load_json(path))
            meta = meta or file_meta
            if not _is_image(entries):
                raise ValueError(f"`{path.name}` is of a video, but others are of single images")
            people_by_frame[number] = entries
        # Every image has a file, even without people.
        start_frame = min(people_by_frame)
    frames = {
        number: [
            _parse_person(person, f"person {order} of frame {number}")
            for order, person in enumerate(people)
        ]
        for number, people in people_by_frame.items()
    }
    components = _choose_components(count_points(frames), meta)
    return ClipDetections(frames, components, start_frame, notes)


def is_image_output(content: Any) -> bool | None:
    """Return whether a file's content is that of one image; None if it has no people."""
    _, entries = _split_meta(content)
    return _is_image(entries) if entries else None


def _split_meta(content: Any) -> tuple[dict[str, Any], list[Any]]:
    """Split a file's content into information about the points and a list of frames or people.

    Raises:
        ValueError: If the file has another format.
    """
    if not isinstance(content, dict):
        return {}, require_list(content, "the output")
    if "instance_info" not in content:
        raise ValueError(
            "the output must be a list of frames, a list of people, or an object with"
            " `instance_info`"
        )
    meta = require_mapping(content.get("meta_info") or {}, "`meta_info`")
    return meta, require_list(content["instance_info"], "`instance_info`")


def _is_image(entries: Sequence[Any]) -> bool:
    """Return whether the entries are the people of one image."""
    return all(isinstance(entry, dict) and "keypoints" in entry for entry in entries)


def _sort_by_frame(entries: Sequence[Any]) -> dict[int, list[Any]]:
    """Sort entries by frame: frame number → people.

    The entries are frames with `frame_id` and `instances`, lists of people, or people of one image.

    Raises:
        ValueError: If they are something else, or a frame number occurs twice.
    """
    if _is_image(entries):
        return {0: list(entries)} if entries else {}
    if all(isinstance(entry, list) for entry in entries):
        return dict(enumerate(entries))
    frames: dict[int, list[Any]] = {}
    for order, value in enumerate(entries):
        entry = require_mapping(value, f"entry {order}")
        if "frame_id" not in entry or "instances" not in entry:
            raise ValueError(
                f"entry {order} has the keys {', '.join(map(repr, list(entry)[:8]))}; a frame of a"
                " video has `frame_id` and `instances`, a person has `keypoints`"
            )
        number = parse_frame_number(entry["frame_id"], f"`frame_id` of entry {order}")
        if number in frames:
            raise ValueError(f"frame {number} occurs twice")
        frames[number] = require_list(entry["instances"], f"`instances` of frame {number}")
    return frames


def _parse_person(person: Any, place: str) -> Detection:
    """Parse a person.

    Raises:
        ValueError: If the person has another format or 3-D points.
    """
    entry = require_mapping(person, place)
    rows = require_list(entry.get("keypoints"), f"`keypoints` of {place}")
    if not rows or not all(isinstance(row, list) for row in rows):
        raise ValueError(f"`keypoints` of {place} must be a list of [x, y]")
    widths = {len(row) for row in rows}
    if len(widths) > 1 or not widths <= {2, 3}:
        raise ValueError(f"`keypoints` of {place} have {sorted(widths)} numbers, but must have 2")
    numbers = parse_numbers([number for row in rows for number in row], f"`keypoints` of {place}")
    points = numbers.reshape(len(rows), -1)
    scores = entry.get("keypoint_scores")
    track_id = entry.get("track_id")
    if track_id is not None:
        track_id = parse_integer(track_id, f"`track_id` of {place}")
    return Detection(
        _join_scores(points, scores, place),
        track_id if track_id is not None and track_id >= 0 else None,
    )


def _join_scores(points: NDArray[np.float32], scores: Any, place: str) -> NDArray[np.float32]:
    """Join points with their scores as x, y and confidence, (J, 3).

    Args:
        points: x and y, or x, y and score as MMPose 0.x writes them.
        scores: `keypoint_scores` of the person, None if there are none.
        place: Person and frame, for error messages.

    Raises:
        ValueError: If there are no scores, not one for each point, or the points are 3-D.
    """
    is_wide = points.shape[1] == 3
    if scores is None:
        if is_wide:
            return points
        raise ValueError(f"{place} has no `keypoint_scores`")
    if is_wide:
        raise ValueError(
            f"`keypoints` of {place} are 3-D (x, y, z), as a pose lifter writes them, which is not"
            " supported; import the 2-D predictions"
        )
    scores_J = parse_numbers(scores, f"`keypoint_scores` of {place}")
    if len(scores_J) != len(points):
        raise ValueError(f"{place} has {len(points)} points, but {len(scores_J)} scores")
    return np.column_stack([points, scores_J])


def _choose_components(num_points: int, meta: Mapping[str, Any]) -> list[PoseHeaderComponent]:
    """Choose the components of the header: names in the file, or else those of a known layout.

    Raises:
        ValueError: If the file names other points, or the number of points is unknown.
    """
    if "keypoint_id2name" not in meta or num_points == _WHOLE_BODY:
        return find_layout(MMPOSE, num_points, _LAYOUT_HINT)
    names = require_mapping(meta["keypoint_id2name"], "`keypoint_id2name`")
    points = [names.get(str(index)) for index in range(num_points)]
    if len(names) != num_points or not all(isinstance(point, str) for point in points):
        raise ValueError(
            f"people have {num_points} points, but `keypoint_id2name` does not name exactly these"
        )
    return [make_component("BODY", [str(point) for point in points])]
