"""Reader of AlphaPose output: a JSON file per video, or one per image.

Format: https://github.com/MVIG-SJTU/AlphaPose, doc/output.md and `write_json` in
alphapose/utils/pPose_nms.py. The default is a list of people with the names of their images; with
`--format cmu` or `open` it is an object with the people of each image, also written per image into
`sep-json`. PoseFlow writes an object with a list of people per image. Images without people have no
entry, so frames before the first person keep their place.
"""

from collections.abc import Mapping
from typing import Any

from kinesweep.features.estimators.external_outputs.clip_output import ClipOutput
from kinesweep.features.estimators.external_outputs.detections import (
    SINGLE_IMAGE_NOTE,
    ClipDetections,
    Detection,
    count_points,
)
from kinesweep.features.estimators.external_outputs.frame_names import (
    find_start_frame,
    number_images,
)
from kinesweep.features.estimators.external_outputs.json_content import (
    load_json,
    parse_frame_number,
    parse_integer,
    parse_points,
    require_list,
    require_mapping,
)
from kinesweep.features.estimators.external_outputs.point_layouts import (
    ALPHAPOSE,
    ALPHAPOSE_CMU,
    find_layout,
)

# Key of a person's points; with the last two (`--format cmu`, `open`) they are in OpenPose's order.
_POINT_KEYS = ("keypoints", "joints", "pose_keypoints_2d")
_PEOPLE_KEYS = ("bodies", "people")

Images = Mapping[str | int, list[Any]]


def read_alphapose(output: ClipOutput) -> ClipDetections:
    """Read the AlphaPose output of one clip.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file has another format, the people have an unknown number of points, or
            the frame numbers are unknown.
    """
    notes: tuple[str, ...] = ()
    if output.numbers is None:
        content = load_json(output.files[0])
        images = _sort_by_image(content)
        notes = (SINGLE_IMAGE_NOTE,) if is_image_output(content) else ()
        frame_by_image = _number_frames(images)
        start_frame = find_start_frame(
            [str(image) for image in images], [frame_by_image[image] for image in images]
        )
    else:
        images = {number: _read_image(load_json(path)) for number, path in output.numbered_files()}
        frame_by_image = {image: int(image) for image in images}
        start_frame = min(*frame_by_image.values(), 1)
    point_keys: set[str] = set()
    frames = {
        frame_by_image[image]: [
            _parse_person(person, f"person {order} of image `{image}`", point_keys)
            for order, person in enumerate(people)
        ]
        for image, people in images.items()
    }
    num_points = count_points(frames)
    if len(point_keys) > 1:
        raise ValueError(f"people have different keys: {', '.join(sorted(point_keys))}")
    layouts = ALPHAPOSE if point_keys == {"keypoints"} else ALPHAPOSE_CMU
    return ClipDetections(frames, find_layout(layouts, num_points), start_frame, notes)


def is_image_output(content: Any) -> bool:
    """Return whether a file's content is that of one image, as in `sep-json`."""
    return isinstance(content, dict) and any(key in content for key in _PEOPLE_KEYS)


def _read_image(content: Any) -> list[Any]:
    """Return the people of a file per image.

    Raises:
        ValueError: If the file is not one of an image.
    """
    for key in _PEOPLE_KEYS:
        if isinstance(content, dict) and key in content:
            return require_list(content[key], f"`{key}`")
    raise ValueError("files of single images and of whole videos are mixed")


def _sort_by_image(content: Any) -> Images:
    """Sort the people of a file by image: name or number of the image → people.

    Raises:
        ValueError: If the file has another format.
    """
    if is_image_output(content):
        return {0: _read_image(content)}
    if isinstance(content, dict) and "frames" not in content:
        return {
            name: require_list(value, f"image `{name}`")
            if isinstance(value, list)
            else _read_image(value)
            for name, value in content.items()
        }
    people = content["frames"] if isinstance(content, dict) else content
    images: dict[str | int, list[Any]] = {}
    for order, value in enumerate(require_list(people, "the output")):
        person = require_mapping(value, f"person {order}")
        image = person.get("image_id")
        if not isinstance(image, str):
            image = parse_frame_number(image, f"`image_id` of person {order}")
        images.setdefault(image, []).append(person)
    return images


def _number_frames(images: Images) -> dict[str | int, int]:
    """Return the frame number of each image.

    Raises:
        ValueError: If there are no images, or their frame numbers are unknown or not unique.
    """
    if not images:
        raise ValueError("no people were detected")
    numbers: dict[str | int, int] = {}
    for image in images:
        if isinstance(image, int):
            numbers[image] = image
    names = [image for image in images if isinstance(image, str)]
    if names and numbers:
        raise ValueError("some images have numbers and others have names")
    if names:
        numbers.update(number_images(names))
    if len(set(numbers.values())) < len(numbers):
        raise ValueError("two images have the same frame number")
    return numbers


def _parse_person(person: Any, place: str, point_keys: set[str]) -> Detection:
    """Parse a person.

    Args:
        person: Entry of the list of people.
        place: Person and image, for error messages.
        point_keys: Keys of the points; that of this person is added.

    Raises:
        ValueError: If the person has another format.
    """
    entry = require_mapping(person, place)
    key = next((key for key in _POINT_KEYS if key in entry), None)
    if key is None:
        raise ValueError(f"{place} has none of {', '.join(f'`{key}`' for key in _POINT_KEYS)}")
    point_keys.add(key)
    return Detection(parse_points(entry[key], f"`{key}` of {place}"), _parse_idx(entry, place))


def _parse_idx(entry: Mapping[str, Any], place: str) -> int | None:
    """Parse the tracking id `idx`, a number or a nested list of those of merged people.

    Raises:
        ValueError: If it is something else.
    """
    value = entry.get("idx")
    # Non-maximum suppression merges people; the id of the first stands for all.
    while isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return None
    track_id = parse_integer(value, f"`idx` of {place}")
    return track_id if track_id >= 0 else None
