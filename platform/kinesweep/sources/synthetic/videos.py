"""Writers of sample clips as videos and as OpenPose output.

They provide input for `estimate-poses` and `import-poses`. The videos show a figure of plain
shapes, in which pose estimators may not detect a person; the OpenPose files contain the points of
the clips.

Shapes: T frames, J points (576), K points of OpenPose's body (25), C coordinates; images are H × W.
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


def write_video(path: Path, points_TJC: NDArray[np.float32]) -> None:
    """Write an MPEG-4 video that shows the points of a clip as a figure of plain shapes.

    Args:
        path: Path of the video; its folder is created.
        points_TJC: Points of the clip in pixels, (T, 576, 3).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video_stream = container.add_stream("mpeg4", rate=round(FPS))
        video_stream.width, video_stream.height = WIDTH_PX, HEIGHT_PX
        video_stream.pix_fmt = "yuv420p"
        video_stream.codec_context.thread_count = 1  # threads may change the bytes of the video
        for points_JC in points_TJC:
            frame = av.VideoFrame.from_ndarray(_draw_frame(points_JC), format="rgb24")
            container.mux(video_stream.encode(frame))
        container.mux(video_stream.encode())  # flush the frames that the encoder still holds


def write_openpose(
    folder: Path, points_TJC: NDArray[np.float32], confidence_TJ: NDArray[np.float32]
) -> None:
    """Write the points of a clip in OpenPose's output format, one JSON file per frame.

    Args:
        folder: Folder of the files, which is created; its name begins the name of each file.
        points_TJC: Points of the clip in pixels, (T, 576, 3).
        confidence_TJ: Confidences of the points, (T, 576).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for frame_index, (points_JC, confidence_J) in enumerate(
        zip(points_TJC, confidence_TJ, strict=True)
    ):
        keypoints_JC = np.column_stack([points_JC[:, :2], confidence_J]).round(2)
        keypoints_by_part = {
            "pose_keypoints_2d": _convert_to_body_25(keypoints_JC),
            "face_keypoints_2d": np.zeros((70, 3)),  # all points missing: confidence 0
            "hand_left_keypoints_2d": keypoints_JC[_LEFT_HAND : _LEFT_HAND + 21],
            "hand_right_keypoints_2d": keypoints_JC[_LEFT_HAND + 21 : _LEFT_HAND + 42],
        }
        person = {
            part: np.asarray(keypoints).ravel().tolist()
            for part, keypoints in keypoints_by_part.items()
        }
        text = json.dumps({"version": 1.3, "people": [person]})
        (folder / f"{folder.name}_{frame_index:012d}_keypoints.json").write_text(text)


def _convert_to_body_25(keypoints_JC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert MediaPipe's points of one frame to OpenPose's 25 body points.

    Args:
        keypoints_JC: x, y and confidence of MediaPipe's points, (576, 3).

    Returns:
        x, y and confidence of OpenPose's points, (25, 3).
    """
    body_KC = np.zeros((25, 3))  # the last 6, of the feet, have no counterpart and stay missing
    for index, point in enumerate(_BODY_25):
        source_points = [point] if point is not None else list(_MIDPOINTS[index])
        body_KC[index] = keypoints_JC[source_points].mean(axis=0)
    return body_KC


def _draw_frame(points_JC: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw an image of one frame, (H, W, 3): a shirt, a head, arms and hands.

    Args:
        points_JC: Points of the frame in pixels, (576, 3).
    """
    image = np.full((HEIGHT_PX, WIDTH_PX, 3), _WALL, np.uint8)
    xy = points_JC[:, :2]
    shoulder_width = float(np.linalg.norm(xy[11] - xy[12]))
    for share in np.linspace(0, 1, 24):
        # Lines from one side of the trunk to the other, from the shoulders down to the hips.
        left, right = (
            xy[shoulder] * (1 - share) + xy[hip] * share for shoulder, hip in ((11, 23), (12, 24))
        )
        _draw_line(image, left, right, 0.06 * shoulder_width, _SHIRT)
    neck = (xy[11] + xy[12]) / 2
    _draw_line(image, xy[0], neck, 0.12 * shoulder_width, _SKIN)
    head_top = xy[0] - [0, 0.12 * shoulder_width]
    chin = xy[0] + [0, 0.08 * shoulder_width]
    _draw_line(image, head_top, chin, 0.26 * shoulder_width, _SKIN)
    for start, end in _ARMS:
        _draw_line(image, xy[start], xy[end], 0.1 * shoulder_width, _SHIRT if start < 13 else _SKIN)
    # Points of an undetected hand are at the origin and are not drawn.
    for point in xy[_HANDS][np.any(xy[_HANDS] != 0, axis=1)]:
        _draw_line(image, point, point, 0.035 * shoulder_width, _SKIN)
    return image


def _draw_line(
    image: NDArray[np.uint8],
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    radius: float,
    color: tuple[int, int, int],
) -> None:
    """Draw a thick line with round ends into an image, as a row of overlapping disks.

    Args:
        image: Image to change, (H, W, 3).
        start: Start of the line in pixels, (x, y).
        end: End of the line in pixels, (x, y).
        radius: Half of the thickness in pixels.
        color: Red, green and blue, from 0 to 255.
    """
    num_steps = int(np.linalg.norm(end - start) // max(1.0, radius / 2)) + 1
    rows, columns = np.ogrid[:HEIGHT_PX, :WIDTH_PX]
    for share in np.linspace(0, 1, num_steps + 1):
        x, y = start * (1 - share) + end * share
        top, bottom = int(max(0, y - radius)), int(min(HEIGHT_PX, y + radius + 1))
        left, right = int(max(0, x - radius)), int(min(WIDTH_PX, x + radius + 1))
        if top < bottom and left < right:
            is_inside = (rows[top:bottom] - y) ** 2 + (columns[:, left:right] - x) ** 2 <= radius**2
            image[top:bottom, left:right][is_inside] = color
