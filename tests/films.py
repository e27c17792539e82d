"""Videos and a toy estimator, made by code."""

from pathlib import Path

import av
import numpy as np

from kinesweep.features.estimators import EstimatorSpec

TOY = '''
"""Follows the brightest pixel of each frame."""

import os

import numpy as np
from pose_format import Pose
from pose_format.numpy.pose_body import NumPyPoseBody
from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions


class Brightest:
    version = "1"
    requirements = ()

    def __call__(self, frames, fps, width, height):
        print("a library that talks")
        found = [np.unravel_index(f.sum(axis=2).argmax(), f.shape[:2])[::-1] for f in frames]
        if width == 66:
            raise ValueError("66 is not liked")
        if width == 68:
            os._exit(7)
        points = PoseHeaderComponent("POINT", ["brightest"], [], [(0, 0, 0)], "XYC")
        header = PoseHeader(0.2, PoseHeaderDimensions(width, height, 0), [points])
        data = np.array(found, np.float32).reshape(len(found), 1, 1, 2)
        return Pose(header, NumPyPoseBody(fps, data, np.ones(data.shape[:3], np.float32)))


class Careless(Brightest):
    version = "2"
'''


def pictures(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Frames on which a light block moves from left to right."""
    found = []
    for number in range(count):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[8:16, 2 * number : 2 * number + 8] = 255
        found.append(frame)
    return found


def write_video(path: Path, count: int = 20, fps: int = 25, width: int = 64) -> Path:
    """A video file; the format is that of its suffix. What an MP4 holds stands at its beginning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
        for frame in pictures(count, width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def turn_video(path: Path) -> Path:
    """Marks an MP4 to be shown turned clockwise by 90 degrees, as telephones do."""
    plain = path.read_bytes()
    place = plain.index(b"tkhd") + 4 + 40  # the matrix of its track header (ISO 14496-12, 8.3.2)
    matrix = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30], ">i4")
    path.write_bytes(plain[:place] + matrix.tobytes() + plain[place + 36 :])
    return path


def write_pictures(folder: Path, count: int = 12) -> Path:
    """A folder of numbered pictures, without leading zeros."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(pictures(count), 1):
        with av.open(str(folder / f"{number}.png"), "w", format="image2") as container:
            stream = container.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    return folder


def toy_estimator(folder: Path, attribute: str = "Brightest") -> EstimatorSpec:
    """The toy, in a file that no package knows."""
    file = folder / "toy_estimator_of_tests.py"
    file.write_text(TOY)
    version = "1" if attribute == "Brightest" else "2"
    return EstimatorSpec("toy", file.stem, attribute, str(file), version, ())
