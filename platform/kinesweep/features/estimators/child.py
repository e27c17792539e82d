"""The far end of an estimator's pipe: decodes videos, estimates, writes `.pose` files.

This file runs alone, in the estimator's environment, where Kinesweep is not installed; it imports
nothing of it. Requests and answers are JSON, a line each: `{"source", "out", "fps"}` is answered by
what was written, or by `{"reason", "message"}`. Whatever libraries print goes to stderr.

Usage: python child.py MODULE FILE CLASS
"""

import importlib
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAMES = frozenset({".png", ".jpg", ".jpeg"})
_LEAST_SHARE = 0.95
"""Of the frames that a file says it has; some headers count a few too many."""


class VideoError(Exception):
    """A video that cannot be used; `reason` is a word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Film:
    """A video, or a folder of pictures in the order of the numbers in their names.

    Args:
        source: which.
        fps: of a folder; a video knows its own.

    Attributes:
        fps: frames a second.
        width: of a frame as it is seen.
        height: likewise.
        read: frames so far.
    """

    def __init__(self, source: Path, fps: float | None) -> None:
        self.source, self.read, self.declared = source, 0, 0
        self._frames = self._pictures() if source.is_dir() else self._decoded()
        self.fps = fps or 0.0
        self._first = next(self._frames, None)
        if self._first is None:
            raise VideoError("holds no frames", "no_frames")
        if not self.fps > 0:
            raise VideoError("does not say how many frames a second it has", "no_frame_rate")
        self.height, self.width = self._first.shape[:2]

    def __iter__(self) -> Iterator[Any]:
        frame = self._first
        while frame is not None:
            if frame.shape[:2] != (self.height, self.width):
                raise VideoError(f"frame {self.read} has another size", "sizes_differ")
            self.read += 1
            yield frame
            frame = next(self._frames, None)
        if self.read < _LEAST_SHARE * self.declared:
            text = f"ends after {self.read} of {self.declared} frames"
            raise VideoError(text, "truncated")

    def _decoded(self) -> Iterator[Any]:
        try:
            container = av.open(str(self.source), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"cannot be opened as a video: {error}", "not_a_video") from None
        with container:
            if not container.streams.video:
                raise VideoError("holds no video", "not_a_video")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # a worker has one core
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
            self.declared = stream.frames
            try:
                for frame in container.decode(stream):
                    upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                    yield np.ascontiguousarray(upright)
            except av.FFmpegError as error:
                reason = "truncated" if self.read else "not_a_video"
                raise VideoError(f"cannot be decoded further: {error}", reason) from None

    def _pictures(self) -> Iterator[Any]:
        for path in sorted(filter(is_picture, self.source.iterdir()), key=_numbered):
            try:
                with av.open(str(path)) as container:
                    yield next(container.decode(video=0)).to_ndarray(format="rgb24")
            except (av.FFmpegError, OSError, StopIteration) as error:
                raise VideoError(f"`{path.name}` cannot be read: {error}", "bad_frame") from None


def is_picture(path: Path) -> bool:
    """Whether a file is a frame, by its name."""
    return path.suffix.lower() in FRAMES


def _numbered(path: Path) -> list[Any]:
    """`2.png` comes before `10.png`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def load(module: str, file: str, attribute: str) -> Any:
    """An estimator's class; by its file where its package is not installed."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):
            raise
        spec = importlib.util.spec_from_file_location("estimator", file)
        assert spec is not None and spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    return getattr(found, attribute)


def estimate(estimator: Any, request: dict[str, Any]) -> dict[str, Any]:
    """One video; its poses are there whole or not at all."""
    out, began, worked = Path(request["out"]), time.perf_counter(), time.process_time()
    film = Film(Path(request["source"]), request.get("fps"))
    pose = estimator(iter(film), film.fps, film.width, film.height)
    frames = len(pose.body.data)
    if frames != film.read:
        raise VideoError(f"gave {film.read} frames, its poses have {frames}", "wrong_length")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    with beside.open("wb") as file:
        pose.write(file)
        file.flush()
        os.fsync(file.fileno())
    size = beside.stat().st_size
    beside.replace(out)
    return {
        "fps": film.fps,
        "width": film.width,
        "height": film.height,
        "frames": frames,
        "points": sum(len(component.points) for component in pose.header.components),
        "pose_bytes": size,
        "seconds": time.perf_counter() - began,
        "core_seconds": time.process_time() - worked,
    }


def main() -> None:
    """Answers until the pipe ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    estimator = load(*sys.argv[1:4])()
    for line in sys.stdin:
        try:
            answer = estimate(estimator, json.loads(line))
        except VideoError as error:
            answer = {"reason": error.reason, "message": str(error)}
        except Exception as error:  # whatever the estimator raises is one file's, not the others'
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = {"reason": "estimator_failed", "message": said}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
