"""Parser for the header of a `.pose` file: version, points by component, coordinates.

Parsing a header of 576 points takes 0.2 ms, as long as reading the rest of a short clip, and the
files of a corpus share one header. Parsed headers are therefore cached by their bytes, up to
`MAX_CACHED_HEADERS` per process; a cached header costs one comparison (2 µs). Drawing instructions
(limbs, colors) are skipped.

Format: https://github.com/sign-language-processing/pose/tree/master/docs/specs (v0.0, v0.1, v0.2).
"""

import struct
from dataclasses import dataclass

from kinesweep.core.skeleton.pose import PointLayout

SUPPORTED_VERSIONS = (0.0, 0.1, 0.2)
MAX_CACHED_HEADERS = 64

# Version, width, height, depth. These may differ between files and are not part of the cache key.
_FRONT = struct.Struct("<fHHH")
_USHORT = struct.Struct("<H")
_TRIPLE = struct.Struct("<HHH")
_LIMB_BYTES, _COLOR_BYTES = 4, 6


class NotAPoseFileError(Exception):
    """An error for bytes that are not a `.pose` header; its message does not name the file."""


class HeaderCutOffError(Exception):
    """An error for bytes that end within the header."""


@dataclass(frozen=True)
class PoseHeader:
    """The parsed header of a `.pose` file.

    Attributes:
        layout: Names of the J points, by component.
        num_dims: Number of coordinates C of a point, without the confidence.
        has_equal_dims: Whether all components have C coordinates; v0.0 stores each separately.
    """

    layout: PointLayout
    num_dims: int
    has_equal_dims: bool


_header_cache: dict[bytes, PoseHeader] = {}


def parse_header(head: bytes) -> tuple[float, PoseHeader, int]:
    """Parse the version and the header of a file, and return them with the offset of the body.

    Parsed headers are cached by their bytes.

    Args:
        head: First bytes of the file, at least the whole header.

    Raises:
        NotAPoseFileError: If the bytes are not those of a `.pose` file.
        HeaderCutOffError: If more bytes are needed.
    """
    if len(head) < _FRONT.size:
        raise HeaderCutOffError
    version = _match_version(_FRONT.unpack_from(head)[0])
    for cached_bytes, header in _header_cache.items():
        if head.startswith(cached_bytes, _FRONT.size):
            return version, header, _FRONT.size + len(cached_bytes)
    try:
        header, end = _parse_components(head)
    except struct.error:
        raise HeaderCutOffError from None
    # Drop the oldest entry: a corpus with a new header in each file must not fill the memory.
    if len(_header_cache) >= MAX_CACHED_HEADERS:
        del _header_cache[next(iter(_header_cache))]
    _header_cache[head[_FRONT.size : end]] = header
    return version, header, end


def parse_frame_size(head: bytes) -> tuple[int, int]:
    """Return the frame width and height that are stored in the first bytes of a file.

    Raises:
        struct.error: If there are too few bytes.
    """
    _, width, height, _ = _FRONT.unpack_from(head)
    return width, height


def _match_version(value: float) -> float:
    """Return the supported version that equals a stored float32 up to rounding.

    Raises:
        NotAPoseFileError: If the version is not supported.
    """
    for version in SUPPORTED_VERSIONS:
        # The tolerance is relative, so that 0 must match exactly: the first bytes of other formats,
        # read as a float, are often tiny numbers.
        if abs(value - version) <= version * 1e-6:
            return version
    raise NotAPoseFileError(f"its version is {value:g}, but only 0, 0.1 and 0.2 are supported")


def _parse_components(head: bytes) -> tuple[PoseHeader, int]:
    """Parse the components of a header, and return the header and the offset of its end.

    Args:
        head: First bytes of the file, at least the whole header.

    Raises:
        NotAPoseFileError: If the bytes are not those of a `.pose` file.
        HeaderCutOffError: If more bytes are needed.
        struct.error: If more bytes are needed.
    """
    (num_components,) = _USHORT.unpack_from(head, _FRONT.size)
    offset = _FRONT.size + _USHORT.size
    components: list[tuple[str, tuple[str, ...]]] = []
    widths: set[int] = set()
    for _ in range(num_components):
        name, offset = _parse_string(head, offset)
        point_format, offset = _parse_string(head, offset)
        if len(point_format) < 2 or not point_format.endswith("C"):
            raise NotAPoseFileError(
                f"a component has the point format `{point_format[:20]}`; it must end in `C`, like"
                " `XYZC`"
            )
        widths.add(len(point_format) - 1)  # the last letter, `C`, stands for the confidence
        num_points, num_limbs, num_colors = _TRIPLE.unpack_from(head, offset)
        offset += _TRIPLE.size
        points = []
        for _ in range(num_points):
            point, offset = _parse_string(head, offset)
            points.append(point)
        components.append((name, tuple(points)))
        offset += num_limbs * _LIMB_BYTES + num_colors * _COLOR_BYTES
    layout = PointLayout(tuple(components))
    if layout.num_points == 0:
        raise NotAPoseFileError("its header names no points")
    if offset > len(head):
        raise HeaderCutOffError
    return PoseHeader(layout, max(widths), len(widths) == 1), offset


def _parse_string(head: bytes, offset: int) -> tuple[str, int]:
    """Parse a string with a length prefix at an offset, and return it and the offset of its end.

    Raises:
        NotAPoseFileError: If the string is not UTF-8.
        HeaderCutOffError: If more bytes are needed.
        struct.error: If more bytes are needed.
    """
    (length,) = _USHORT.unpack_from(head, offset)
    start = offset + _USHORT.size
    end = start + length
    if end > len(head):
        raise HeaderCutOffError
    try:
        return head[start:end].decode("utf-8"), end
    except UnicodeDecodeError:
        raise NotAPoseFileError("the names in its header are not UTF-8") from None
