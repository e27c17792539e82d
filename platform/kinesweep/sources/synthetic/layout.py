"""Writer of `.pose` files in the 576-point layout of MediaPipe Holistic.

It converts frames of (576, 3) pixel coordinates and (576,) confidences to the `.pose` v0.2 bytes
that pose-format reads. The points have MediaPipe's names and order; the limbs are those of the
body, the hands and the 128 contour points of the face. The 2,556 tessellation lines of the face are
left out, because they only serve drawing and would add 25 KB to every file of about 250 KB. The
writer supports this layout and one person only.
"""

from functools import lru_cache
from io import BytesIO
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pose_format.numpy import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

from kinesweep.core.skeleton.keypoints import BODY_33, HAND_21

# Legend: T frames, J points (576), C coordinates (x and y in pixels, z in image widths).

FPS = 12.0
WIDTH_PX, HEIGHT_PX = 640, 480

BODY_NAMES, HAND_NAMES = BODY_33, HAND_21
# Offsets of the components, in the order in which they are concatenated.
NUM_BODY, NUM_FACE, NUM_HAND = len(BODY_NAMES), 468, len(HAND_NAMES)
FACE_START = NUM_BODY
LEFT_HAND_START = FACE_START + NUM_FACE
RIGHT_HAND_START = LEFT_HAND_START + NUM_HAND
WORLD_START = RIGHT_HAND_START + NUM_HAND
NUM_POINTS = WORLD_START + NUM_BODY

# Contour lines of MediaPipe's face mesh, each listed from one end to the other in the image.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LIPS_OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIPS_OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIPS_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
RIGHT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
LEFT_EYE_LOWER = (362, 382, 381, 380, 374, 373, 390, 249, 263)
LEFT_EYE_UPPER = (362, 398, 384, 385, 386, 387, 388, 466, 263)
RIGHT_BROW_LOWER = (46, 53, 52, 65, 55)
RIGHT_BROW_UPPER = (70, 63, 105, 66, 107)
LEFT_BROW_LOWER = (285, 295, 282, 283, 276)
LEFT_BROW_UPPER = (336, 296, 334, 293, 300)
OPEN_CONTOURS = (
    *(LIPS_OUTER_LOWER, LIPS_OUTER_UPPER, LIPS_INNER_LOWER, LIPS_INNER_UPPER),
    *(RIGHT_EYE_LOWER, RIGHT_EYE_UPPER, LEFT_EYE_LOWER, LEFT_EYE_UPPER),
    *(RIGHT_BROW_LOWER, RIGHT_BROW_UPPER, LEFT_BROW_LOWER, LEFT_BROW_UPPER),
)

_BODY_LINES = (
    *((7, 3, 2, 1, 0, 4, 5, 6, 8), (9, 10), (11, 12), (11, 23), (12, 24), (23, 24)),
    *((11, 13, 15, 17, 19, 15, 21), (12, 14, 16, 18, 20, 16, 22)),
    *((23, 25, 27, 29, 31, 27), (24, 26, 28, 30, 32, 28)),
)
_HAND_LINES = (
    *((0, 1, 2, 3, 4), (0, 5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16)),
    *((0, 17, 18, 19, 20), (5, 9, 13, 17)),
)


def encode_pose(points_TJC: NDArray[np.float32], confidence_TJ: NDArray[np.float32]) -> bytes:
    """Encode the points of one person over time as the bytes of a `.pose` v0.2 file.

    Args:
        points_TJC: Coordinates, (T, 576, 3), x and y in pixels, z as a fraction of the image width.
        confidence_TJ: Confidences, (T, 576), from 0 to 1; 0 for points that were not found.
    """
    buffer = BytesIO()
    body = NumPyPoseBody(FPS, points_TJC[:, None], confidence_TJ[:, None])
    body.write(0.2, buffer)
    return _encode_header() + buffer.getvalue()


@lru_cache(maxsize=1)
def _encode_header() -> bytes:
    """Encode the header of a `.pose` file, which is the same for all clips, as bytes."""
    face_names = tuple(str(index) for index in range(NUM_FACE))
    face_lines = ((*FACE_OVAL, FACE_OVAL[0]), *OPEN_CONTOURS)
    components = [
        _build_component("POSE_LANDMARKS", BODY_NAMES, _BODY_LINES, (255, 0, 0)),
        _build_component("FACE_LANDMARKS", face_names, face_lines, (128, 0, 0)),
        _build_component("LEFT_HAND_LANDMARKS", HAND_NAMES, _HAND_LINES, (0, 192, 0)),
        _build_component("RIGHT_HAND_LANDMARKS", HAND_NAMES, _HAND_LINES, (192, 128, 0)),
        _build_component("POSE_WORLD_LANDMARKS", BODY_NAMES, _BODY_LINES, (255, 0, 0)),
    ]
    buffer = BytesIO()
    PoseHeader(0.2, PoseHeaderDimensions(WIDTH_PX, HEIGHT_PX, 0), components).write(buffer)
    return buffer.getvalue()


def _build_component(
    name: str,
    points: tuple[str, ...],
    lines: tuple[tuple[int, ...], ...],
    color: tuple[int, int, int],
) -> PoseHeaderComponent:
    """Build the part of a header that describes one component.

    Args:
        name: Name of the component.
        points: Names of its points.
        lines: Polylines as indices of its points; each pair of neighbors becomes a limb.
        color: Red, green and blue of all limbs, from 0 to 255.
    """
    limbs = [limb for line in lines for limb in pairwise(line)]
    return PoseHeaderComponent(name, list(points), limbs, [color] * len(limbs), "XYZC")
