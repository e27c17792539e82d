"""The media file of one row: bytes, a path, or an array, written or linked into the corpus.

Paths in a data set must stay inside its folder: a data set from somebody else could otherwise copy
any file of this machine into a corpus that is published.
"""

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kinesweep.core.errors import ClipError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.core.video_files import is_video_file
from kinesweep.sources.pose_format.pose_header import (
    HeaderCutOffError,
    NotAPoseFileError,
    parse_header,
)
from kinesweep.sources.prepare.hub.hub_files import HubFiles
from kinesweep.sources.prepare.hub.pose_arrays import build_pose_bytes, make_float_array
from kinesweep.sources.prepare.media.row_journal import link_file, write_file

_NPY_MAGIC = b"\x93NUMPY"
_VIDEO_SUFFIX_BY_MAGIC = (
    (4, b"ftyp", ".mp4"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),
    (8, b"AVI", ".avi"),
)
"""Offset, bytes and suffix of the containers of videos; WebM is a kind of Matroska."""


class RowMediaWriter:
    """A writer of the media files of a split.

    Args:
        kind: `poses`, `videos` or `features`.
        files: Folder that paths in the rows are relative to, or files of a data set on the Hub.
        out: Folder of the corpus.
        split: Name of the split.
        header: `pose_format.PoseHeader` of poses that are arrays, or None if there is none.
    """

    def __init__(
        self, kind: str, files: Path | HubFiles, out: Path, split: str, header: Any
    ) -> None:
        self._kind = kind
        self._files = files
        self._out = out
        self._split = split
        self._header = header

    def write(self, value: Any, name: str, confidence: Any, fps: float | None) -> str:
        """Write or link the media file of a row, and return its path relative to the corpus.

        Args:
            value: Bytes, a path, a dict with `bytes` and `path`, or an array.
            name: Name of the file without its suffix.
            confidence: Confidences of a pose that is an array, or None.
            fps: Frame rate of a pose that is an array, or None if it is not known.

        Raises:
            ClipError: If the row has no usable media, with the reason.
        """
        path = ""
        if isinstance(value, Mapping):
            # `datasets` gives such a dict for a media column that it does not decode; without
            # bytes, the path names a file.
            path, value = value.get("path") or "", value.get("bytes") or value.get("path")
        if value is None or (isinstance(value, bytes | str | list) and not len(value)):
            raise ClipError("the row has no media", "no_media")
        if isinstance(value, str):
            if isinstance(self._files, Path):
                return self._link(self._files, value, name)
            path, value = value, self._files.read(value)
        if isinstance(value, bytes):
            content, suffix = value, self._find_suffix(value, path)
        elif self._kind == "poses":
            content, suffix = self._build_pose(value, confidence, fps), ".pose"
        elif self._kind == "features":
            content, suffix = _build_npy(value), ".npy"
        else:
            raise ClipError("the video is neither bytes nor a path", "decoded_frames")
        target = f"{self._kind}/{self._split}/{name}{suffix}"
        write_file(self._out / target, lambda file: file.write(content))
        return target

    def _link(self, root: Path, path: str, name: str) -> str:
        """Link a file that a row names into the corpus.

        Args:
            root: Folder of the data set.
            path: Path in the row.
            name: Name of the file without its suffix.

        Raises:
            ClipError: With reason `outside_root` or `missing_file`, or for its content.
        """
        source = resolve_path_inside(root, path)
        # A symbolic link inside the folder may lead out of it.
        if not source.resolve().is_relative_to(root.resolve()):
            raise ClipError(f"`{path}` leads out of the data set's folder", "outside_root")
        if not source.is_file():
            raise ClipError(f"`{path}` does not exist", "missing_file")
        with source.open("rb") as file:
            # 1 MiB is more than the header of any known pose estimator takes.
            suffix = self._find_suffix(file.read(1 << 20), path)
        target = f"{self._kind}/{self._split}/{name}{suffix}"
        link_file(source, self._out / target)
        return target

    def _find_suffix(self, head: bytes, path: str) -> str:
        """Return the suffix of a file by its content, or by its path where that decides.

        Args:
            head: First bytes of the file, or all of them.
            path: Path that the data set states, or an empty text.

        Raises:
            ClipError: With reason `not_a_pose_file`, `not_a_video` or `not_features`.
        """
        suffix = PurePosixPath(path).suffix.lower()
        if self._kind == "poses":
            _check_pose_header(head)
            return ".pose"
        if self._kind == "features":
            if head.startswith(_NPY_MAGIC):
                return ".npy"
            if suffix == ".pt":
                return ".pt"
            raise ClipError("the features are not a `.npy` file", "not_features")
        for offset, magic, container in _VIDEO_SUFFIX_BY_MAGIC:
            if head[offset:].startswith(magic):
                # WebM and MOV begin like other containers, so a known suffix precedes.
                return suffix if is_video_file(suffix) else container
        if is_video_file(suffix):
            return suffix
        raise ClipError("the bytes are not a video in a known container", "not_a_video")

    def _build_pose(self, value: Any, confidence: Any, fps: float | None) -> bytes:
        """Build the bytes of a pose that is an array.

        Raises:
            ClipError: With reason `no_pose_header`, `bad_fps` or one of the array.
        """
        if self._header is None:
            raise ClipError("the poses are arrays; pass `--pose-header`", "no_pose_header")
        if not fps or not 0 < fps < float("inf"):
            raise ClipError("the row has no frame rate", "bad_fps")
        return build_pose_bytes(value, confidence, self._header, fps)


def _check_pose_header(head: bytes) -> None:
    """Check that bytes begin with the header of a `.pose` file.

    Raises:
        ClipError: With reason `not_a_pose_file`.
    """
    try:
        parse_header(head)
    except (NotAPoseFileError, HeaderCutOffError) as error:
        raise ClipError(f"the bytes are not a `.pose` file: {error}", "not_a_pose_file") from None


def _build_npy(value: Any) -> bytes:
    """Build the bytes of a `.npy` file with features (T, D).

    Raises:
        ClipError: With reason `ragged_array` or `wrong_shape`.
    """
    x_TD = make_float_array(value)
    if x_TD.ndim != 2 or not x_TD.size:
        raise ClipError(f"features of shape {x_TD.shape} are not (T, D)", "wrong_shape")
    buffer = io.BytesIO()
    np.save(buffer, x_TD, allow_pickle=False)
    return buffer.getvalue()
