"""Frame numbers in file names: the number that changes from name to name.

Estimators name images after the frames of a video, for example `clip3_frame_0012_1080p.jpg`. Which
number counts the frames is decided by comparing the names, never by the position of the number.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_NUMBER = re.compile(r"[0-9]+")
# OpenPose names the files of a video `NAME_000000000012_keypoints.json`.
_OPENPOSE_NUMBER = re.compile(r"(.*?)([0-9]{12})")
_IMAGE_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}$")
_SEPARATORS = "_-. "


@dataclass(frozen=True)
class NumberedNames:
    """Names sorted into videos.

    Attributes:
        numbers: Prefix of a video → name → frame number. The prefix is the name without the frame
            number and without separators at its end.
        unnumbered: Names in which no number changes, or several change together.
    """

    numbers: dict[str, dict[str, int]] = field(default_factory=dict)
    unnumbered: list[str] = field(default_factory=list)

    def add(self, name: str, start: int, end: int) -> None:
        """Add a name whose frame number stands between two positions."""
        prefix = name[:start].rstrip(_SEPARATORS) + name[end:]
        self.numbers.setdefault(prefix, {})[name] = int(name[start:end])


def number_names(names: Iterable[str]) -> NumberedNames:
    """Sort names without suffixes into videos, and find the frame number of each.

    Names that differ in numbers only are compared. The frame number is the last number that
    changes while another name has the same other numbers. A name that stands alone has a frame
    number only if it contains exactly one number.
    """
    result = NumberedNames()
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(tuple(_NUMBER.split(name)), []).append(name)
    for group in groups.values():
        position = _find_changing_number([tuple(_NUMBER.findall(name)) for name in group])
        for name in group:
            if position is None:
                result.unnumbered.append(name)
            else:
                match = list(_NUMBER.finditer(name))[position]
                result.add(name, match.start(), match.end())
    return result


def number_openpose_names(names: Iterable[str]) -> NumberedNames:
    """Sort names of OpenPose files without suffix into videos, and find the frame numbers.

    A number of 12 digits at the end is the frame. Names of images are compared as in
    `number_names`; if that decides nothing, the last number is the frame, and a name without any
    number is a video of one frame.
    """
    result = NumberedNames()
    others = []
    for name in sorted(set(names)):
        if match := _OPENPOSE_NUMBER.fullmatch(name):
            result.add(name, match.start(2), match.end(2))
        else:
            others.append(name)
    compared = number_names(others)
    for prefix, numbers in compared.numbers.items():
        result.numbers.setdefault(prefix, {}).update(numbers)
    for name in compared.unnumbered:
        matches = list(_NUMBER.finditer(name))
        if matches:
            result.add(name, matches[-1].start(), matches[-1].end())
        else:
            result.numbers.setdefault(name, {})[name] = 0
    return result


def number_images(image_names: Sequence[str]) -> dict[str, int]:
    """Find the frame number of each image of one video.

    Args:
        image_names: File names of the images; equal names are the same frame.

    Raises:
        ValueError: If the images are of several videos or no number is that of the frames.
    """
    stem_by_name = {name: _IMAGE_SUFFIX.sub("", name) for name in image_names}
    result = number_names(stem_by_name.values())
    if result.unnumbered:
        raise ValueError(
            f"no number in the names of the images counts the frames, as in"
            f" `{result.unnumbered[0]}`; expected names such as `frame_0001.jpg`"
        )
    if len(result.numbers) > 1:
        videos = ", ".join(f"`{prefix}`" for prefix in sorted(result.numbers)[:5])
        raise ValueError(
            f"the images are of {len(result.numbers)} videos ({videos}); import the output of each"
            " video from a file of its own"
        )
    (numbers,) = result.numbers.values()
    return {name: numbers[stem] for name, stem in stem_by_name.items()}


def find_start_frame(names: Sequence[str], numbers: Sequence[int]) -> int:
    """Return the number that the first frame of a video has, judged by the names of its images.

    AlphaPose names the frames of a video `0.jpg`, `1.jpg`, …. Other names are those of image files,
    which tools number from 0 or from 1.
    """
    stems = [_IMAGE_SUFFIX.sub("", name) for name in names]
    is_bare = stems == [str(number) for number in numbers]
    return 0 if is_bare else min(*numbers, 1)


def _find_changing_number(numbers: Sequence[tuple[str, ...]]) -> int | None:
    """Find the position of the frame number among the numbers of names; None if undecided."""
    num_positions = len(numbers[0])
    if len(numbers) == 1:
        return 0 if num_positions == 1 else None
    # From the last to the first, because the number of a frame follows the name of its video.
    for position in reversed(range(num_positions)):
        others = [(*row[:position], *row[position + 1 :]) for row in numbers]
        changes = len({int(row[position]) for row in numbers}) > 1
        if changes and len(set(others)) < len(numbers):
            return position
    return None
