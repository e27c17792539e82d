"""Writers of sample clips as videos and as OpenPose output.

They provide input for `estimate-poses` and `import-poses`. The videos show a figure of plain
shapes, in which pose estimators may not detect a person; the OpenPose files contain the points of
the clips.

Shapes: T frames, P points, C coordinates; images are H × W.
"""

import json
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from kinesweep.sources.synthetic.layout import FPS, HEIGHT_PX, NUM_BODY, NUM_FACE, WIDTH_PX

_WALL, _SHIRT, _SKIN = (214, 214, 206), (40, 60, 110), (222, 170, 136)
# Pairs of MediaPipe's body points: upper arm and forearm of the left, then of the right side.
_ARMS = ((11, 13), (13, 15), (12, 14), (14, 16))
_LEFT_HAND = NUM_BODY + NUM_FACE
_HANDS = slice(_LEFT_HAND, _LEFT_HAND + 42)
_BODY_25 = (0, None, 12, 14, 16, 11, 13, 15, None, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
"""MediaPipe's points in the order of OpenPose's body points; None: the middle of both sides."""
_MIDPOINTS = {1: (11, 12), 8: (23, 24)}


def write_video(path: Path, points_TPC: NDArray[np.float32]) -> None:
    """Write a clip as an MPEG-4 video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=round(FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.codec_context.thread_count = 1  # threads may change the bytes of the video
        for points_PC in points_TPC:
            frame = av.VideoFrame.from_ndarray(_draw_frame(points_PC), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())  # flush the frames that the encoder still holds


def write_openpose(
    folder: Path, points_TPC: NDArray[np.float32], confidence_TP: NDArray[np.float32]
) -> None:
    """Write a clip in OpenPose's output format, one file per frame."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (points_PC, confidence_P) in enumerate(zip(points_TPC, confidence_TP, strict=True)):
        keypoints_P3 = np.column_stack([points_PC[:, :2], confidence_P]).round(2)
        parts = {
            "pose_keypoints_2d": _convert_to_body_25(keypoints_P3),
            "face_keypoints_2d": np.zeros((70, 3)),  # all points missing: confidence 0
            "hand_left_keypoints_2d": keypoints_P3[_LEFT_HAND : _LEFT_HAND + 21],
            "hand_right_keypoints_2d": keypoints_P3[_LEFT_HAND + 21 : _LEFT_HAND + 42],
        }
        person = {name: np.asarray(values).ravel().tolist() for name, values in parts.items()}
        text = json.dumps({"version": 1.3, "people": [person]})
        (folder / f"{folder.name}_{number:012d}_keypoints.json").write_text(text)


def _convert_to_body_25(keypoints_P3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert MediaPipe's points to OpenPose's 25 body points, (25, 3)."""
    rows_J3 = np.zeros((25, 3))  # the last 6, of the feet, have no counterpart and stay missing
    for index, point in enumerate(_BODY_25):
        source_points = [point] if point is not None else list(_MIDPOINTS[index])
        rows_J3[index] = keypoints_P3[source_points].mean(axis=0)
    return rows_J3


def _draw_frame(points_PC: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw one frame, (H, W, 3): a shirt, a head, arms and hands."""
    image = np.full((HEIGHT_PX, WIDTH_PX, 3), _WALL, np.uint8)
    xy = points_PC[:, :2]
    width = float(np.linalg.norm(xy[11] - xy[12]))
    for share in np.linspace(0, 1, 24):
        left, right = (xy[top] * (1 - share) + xy[low] * share for top, low in ((11, 23), (12, 24)))
        _draw_line(image, left, right, 0.06 * width, _SHIRT)
    middle = (xy[11] + xy[12]) / 2
    _draw_line(image, xy[0], middle, 0.12 * width, _SKIN)
    _draw_line(image, xy[0] - [0, 0.12 * width], xy[0] + [0, 0.08 * width], 0.26 * width, _SKIN)
    for start, end in _ARMS:
        _draw_line(image, xy[start], xy[end], 0.1 * width, _SHIRT if start < 13 else _SKIN)
    # Points of an undetected hand are at the origin and are not drawn.
    for point in xy[_HANDS][np.any(xy[_HANDS] != 0, axis=1)]:
        _draw_line(image, point, point, 0.035 * width, _SKIN)
    return image


def _draw_line(
    image: NDArray[np.uint8],
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    radius: float,
    color: tuple[int, int, int],
) -> None:
    """Draw a thick line with round ends as a row of overlapping disks."""
    steps = int(np.linalg.norm(end - start) // max(1.0, radius / 2)) + 1
    rows, columns = np.ogrid[:HEIGHT_PX, :WIDTH_PX]
    for share in np.linspace(0, 1, steps + 1):
        x, y = start * (1 - share) + end * share
        top, low = int(max(0, y - radius)), int(min(HEIGHT_PX, y + radius + 1))
        left, right = int(max(0, x - radius)), int(min(WIDTH_PX, x + radius + 1))
        if top < low and left < right:
            is_inside = (rows[top:low] - y) ** 2 + (columns[:, left:right] - x) ** 2 <= radius**2
            image[top:low, left:right][is_inside] = color
