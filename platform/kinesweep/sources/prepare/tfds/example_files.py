"""Conversion of one example of TensorFlow Datasets to plain values and media files.

A pose feature of `sign-language-datasets` gives points, confidences and a whole frame rate without
the header that names the points; the header comes from the feature itself. Poses become `.pose`
files, files that the data set downloaded are linked, and everything else becomes JSON values.

This module runs in the environment of TensorFlow Datasets, without Kinesweep. Shapes: T frames,
P people, J points, C coordinates.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class ExampleWriter:
    """A writer that converts the examples of one split to plain values and media files.

    Args:
        out: Folder of the corpus; media files are written below `MEDIA/SPLIT`.
        split: Name of the split.
        find_header: Function that returns the header of the pose feature with a dotted name.
        path_fields: Dotted names of fields that hold the path of a downloaded file to link.
        write_file: Function that writes a file atomically.
        link_file: Function that links or copies a file.
    """

    def __init__(
        self,
        out: Path,
        split: str,
        *,
        find_header: Callable[[str], Any],
        path_fields: tuple[str, ...],
        write_file: Callable[..., None],
        link_file: Callable[[Path, Path], None],
    ) -> None:
        self._out = out
        self._split = split
        self._find_header = find_header
        self._path_fields = path_fields
        self._write_file = write_file
        self._link_file = link_file

    def write(self, example: dict[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
        """Write the media files of an example.

        Args:
            example: Example as NumPy arrays.
            name: File name of the example's media files, without a suffix.

        Returns:
            The plain values of the example, in which each media field is
            `{"media": path or None, "reason": why there is no file}`, and the paths of its files.
        """
        files: list[str] = []
        values = self._convert(example, "", name, files)
        assert isinstance(values, dict)
        return values, files

    def _convert(self, value: Any, field: str, name: str, files: list[str]) -> Any:
        """Convert a value of an example to a plain value; add the files it gives to `files`."""
        if isinstance(value, dict):
            # The keys of a decoded pose feature of the package.
            if {"data", "conf"} <= value.keys():
                return self._write_pose(value, field, name, files)
            return {
                key: self._convert(item, f"{field}.{key}" if field else key, name, files)
                for key, item in value.items()
            }
        # Frames (T, H, W, C) would have to be encoded again, at a loss of quality.
        if isinstance(value, np.ndarray) and value.ndim >= 4:
            return {"media": None, "reason": "decoded_frames"}
        plain = _make_plain(value)
        if field in self._path_fields:
            if isinstance(plain, list):
                return [
                    self._link(path, f"{field}.{number}", name, files)
                    for number, path in enumerate(plain)
                ]
            return self._link(plain, field, name, files)
        return plain

    def _write_pose(
        self, value: dict[str, Any], field: str, name: str, files: list[str]
    ) -> dict[str, Any]:
        """Write a pose feature as a `.pose` file, unless it has no frames or does not fit.

        Args:
            value: Arrays `data` (T, P, J, C), `conf` (T, P, J) and, if known, `fps`.
            field: Dotted name of the feature.
            name: File name of the example's media files.
            files: List that the path of the file is added to.
        """
        from pose_format import Pose
        from pose_format.numpy import NumPyPoseBody

        points_TPJC = np.asarray(value["data"], np.float32)
        confidence_TPJ = np.asarray(value["conf"], np.float32)
        if not len(points_TPJC):
            return {"media": None, "reason": "no_pose"}
        header, fps = self._find_header(field), float(value.get("fps", 0))
        if header is None:
            return {"media": None, "reason": "no_pose_header"}
        if fps <= 0:
            return {"media": None, "reason": "bad_fps"}
        # A header of other points would give every point the name of another one.
        # A format such as `XYZC` names the coordinates, then the confidence.
        widths = {len(component.format) - 1 for component in header.components}
        if header.total_points() != points_TPJC.shape[2] or widths != {points_TPJC.shape[3]}:
            return {"media": None, "reason": "wrong_pose_header"}
        pose = Pose(header, NumPyPoseBody(fps, points_TPJC, confidence_TPJ))
        path = self._make_path("poses", f"{name}{_make_suffix(field)}.pose")
        self._write_file(self._out / path, pose.write)
        files.append(path)
        return {"media": path, "frames": len(points_TPJC), "fps": fps}

    def _link(self, source: str, field: str, name: str, files: list[str]) -> dict[str, Any]:
        """Link a downloaded file into the corpus, if the data set has it."""
        if not source:
            return {"media": None, "reason": "no_media"}
        if not Path(source).is_file():
            return {"media": None, "reason": "missing_file"}
        kind = "poses" if source.endswith(".pose") else "videos"
        # Downloads may have no suffix; a video's container is recognized by its content.
        file_name = f"{name}{_make_suffix(field)}{Path(source).suffix or '.mp4'}"
        path = self._make_path(kind, file_name)
        self._link_file(Path(source), self._out / path)
        files.append(path)
        return {"media": path}

    def _make_path(self, kind: str, file_name: str) -> str:
        """Return the path of a media file relative to the folder of the corpus."""
        return f"{kind}/{self._split}/{file_name}"


def _make_suffix(field: str) -> str:
    """Return what tells the files of an example's fields apart: empty for the field `pose`."""
    return "" if field in ("pose", "video", "pose_path") else f".{field.rpartition('.')[2]}"


def _make_plain(value: Any) -> Any:
    """Convert an array, a ragged tensor or a scalar to values that JSON can represent."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic | np.ndarray):
        return _make_plain(value.tolist())
    if isinstance(value, list):
        return [_make_plain(item) for item in value]
    # The ragged tensors of TensorFlow and of TensorFlow Datasets.
    return _make_plain(value.to_list()) if hasattr(value, "to_list") else value
