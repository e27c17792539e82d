"""Reader of OpenPifPaf output: JSON lines per video, or a JSON file per image.

Formats: `--json-output` of openpifpaf.video writes a line with `frame` and `predictions` per frame
into `VIDEO.openpifpaf.json`; openpifpaf.predict writes the list of predictions of an image into
`IMAGE.predictions.json` (earlier `IMAGE.pifpaf.json`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    parse_json,
    parse_points,
    require_list,
    require_mapping,
)
from kinesweep.features.estimators.external_outputs.point_layouts import OPENPIFPAF, find_layout


def read_openpifpaf(output: ClipOutput) -> ClipDetections:
    """Read the OpenPifPaf output of one clip.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file has another format, or the people have an unknown number of points.
    """
    notes: tuple[str, ...] = ()
    if output.numbers is None:
        predictions = _read_file(output.files[0])
        notes = (SINGLE_IMAGE_NOTE,) if is_image_output(output.files[0]) else ()
        start_frame = min(*predictions, 1) if predictions else 0
    else:
        predictions = {
            number: require_list(load_json(path), f"`{path.name}`")
            for number, path in output.numbered_files()
        }
        # Every image has a file, even without people.
        start_frame = min(predictions)
    frames = {
        number: [
            _parse_person(person, f"person {order} of frame {number}")
            for order, person in enumerate(people)
        ]
        for number, people in predictions.items()
    }
    components = find_layout(OPENPIFPAF, count_points(frames))
    return ClipDetections(frames, components, start_frame, notes)


def is_image_output(path: Path) -> bool:
    """Return whether a file is the output of one image, judged by its first character.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        # Byte order marks, and the zeros of UTF-16 and UTF-32.
        return file.read(1024).lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"[")


def _read_file(path: Path) -> Mapping[int, list[Any]]:
    """Read a file of a video or an image: frame number → predictions.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it has another format, or a frame number occurs twice.
    """
    content = path.read_bytes()
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise ValueError(f"`{path.name}` is not text ({error.reason})") from None
    if text.lstrip().startswith("["):
        return {0: require_list(parse_json(text, f"`{path.name}`"), f"`{path.name}`")}
    frames: dict[int, list[Any]] = {}
    # `splitlines` would also split at characters that JSON allows in strings.
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        entry = require_mapping(parse_json(line, f"line {line_number}"), f"line {line_number}")
        number = parse_frame_number(entry.get("frame"), f"`frame` of line {line_number}")
        if number in frames:
            raise ValueError(f"frame {number} occurs twice, the second time in line {line_number}")
        frames[number] = require_list(
            entry.get("predictions"), f"`predictions` of line {line_number}"
        )
    if not frames:
        raise ValueError("the file contains no frames")
    return frames


def _parse_person(person: Any, place: str) -> Detection:
    """Parse a prediction.

    Raises:
        ValueError: If it has another format, such as that of an object without keypoints.
    """
    entry = require_mapping(person, place)
    track_id = entry.get("id_")
    if track_id is not None:
        track_id = parse_integer(track_id, f"`id_` of {place}")
    points_J3 = parse_points(entry.get("keypoints"), f"`keypoints` of {place}")
    return Detection(points_J3, track_id if track_id is not None and track_id >= 0 else None)
