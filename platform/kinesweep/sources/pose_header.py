"""The header of a `.pose` file: version, points by component, coordinates.

Bytes in, a `PoseHeader` out. A header of 576 points takes 0.2 ms to take apart, as long as reading
the rest of a short clip, and the files of a corpus share theirs; so headers are remembered by their
bytes, up to `MAX_KNOWN` different ones a process, and a known one costs one comparison (2 µs).
Drawing instructions (limbs, colours) are skipped.

Format: https://github.com/sign-language-processing/pose/tree/master/docs/specs (v0.0, v0.1, v0.2).
"""

import struct
from dataclasses import dataclass

from kinesweep.core.pose import PointLayout

VERSIONS = (0.0, 0.1, 0.2)
MAX_KNOWN = 64

_FRONT = struct.Struct("<fHHH")  # version, width, height, depth: these may differ between files
_USHORT = struct.Struct("<H")
_TRIPLE = struct.Struct("<HHH")
_LIMB_BYTES, _COLOUR_BYTES = 4, 6


class NotAPoseFileError(Exception):
    """The bytes are not a `.pose` header; the text says why, without naming the file."""


class HeaderCutOffError(Exception):
    """The bytes end within the header."""


@dataclass(frozen=True)
class PoseHeader:
    """What a file's header says.

    Attributes:
        layout: names of its J points.
        num_dims: coordinates a point, C, without the confidence.
        even: whether all components have C coordinates (v0.0 stores them one by one).
    """

    layout: PointLayout
    num_dims: int
    even: bool


_known: dict[bytes, PoseHeader] = {}


def parse_header(head: bytes) -> tuple[float, PoseHeader, int]:
    """Version, header and the offset of the body, from a file's first bytes.

    Raises:
        NotAPoseFileError: these are other bytes than a `.pose` file's.
        HeaderCutOffError: more bytes are needed than were given.
    """
    if len(head) < _FRONT.size:
        raise HeaderCutOffError
    version = _version(_FRONT.unpack_from(head)[0])
    for known, header in _known.items():
        if head.startswith(known, _FRONT.size):
            return version, header, _FRONT.size + len(known)
    try:
        header, end = _parse_components(head)
    except struct.error:
        raise HeaderCutOffError from None
    if len(_known) >= MAX_KNOWN:
        del _known[next(iter(_known))]
    _known[head[_FRONT.size : end]] = header
    return version, header, end


def frame_size(head: bytes) -> tuple[int, int]:
    """Width and height of the pictures, from a file's first bytes; not remembered with the rest."""
    _, width, height, _ = _FRONT.unpack_from(head)
    return width, height


def _version(value: float) -> float:
    for version in VERSIONS:
        if (
            abs(value - version) <= version * 1e-6
        ):  # 0 exactly: other formats begin with tiny floats
            return version
    raise NotAPoseFileError(
        f"it begins with version {value:g}, but `.pose` files are of 0, 0.1 or 0.2"
    )


def _parse_components(head: bytes) -> tuple[PoseHeader, int]:
    (count,) = _USHORT.unpack_from(head, _FRONT.size)
    offset = _FRONT.size + _USHORT.size
    components: list[tuple[str, tuple[str, ...]]] = []
    widths: set[int] = set()
    for _ in range(count):
        name, offset = _string(head, offset)
        form, offset = _string(head, offset)
        if len(form) < 2 or not form.endswith("C"):
            raise NotAPoseFileError(f"a component has the point format `{form[:20]}`, not `XYZC`")
        widths.add(len(form) - 1)
        num_points, num_limbs, num_colours = _TRIPLE.unpack_from(head, offset)
        offset += _TRIPLE.size
        points = []
        for _ in range(num_points):
            point, offset = _string(head, offset)
            points.append(point)
        components.append((name, tuple(points)))
        offset += num_limbs * _LIMB_BYTES + num_colours * _COLOUR_BYTES
    layout = PointLayout(tuple(components))
    if layout.num_points == 0:
        raise NotAPoseFileError("its header names no points")
    if offset > len(head):
        raise HeaderCutOffError
    return PoseHeader(layout, max(widths), len(widths) == 1), offset


def _string(head: bytes, offset: int) -> tuple[str, int]:
    (length,) = _USHORT.unpack_from(head, offset)
    start = offset + _USHORT.size
    end = start + length
    if end > len(head):
        raise HeaderCutOffError
    try:
        return head[start:end].decode("utf-8"), end
    except UnicodeDecodeError:
        raise NotAPoseFileError("the names in its header are not text") from None
