"""Assembly of video features: results of encoder actors are collected and written as chunks.

A piece is a group of clips for one decoder; its batches return in order. Once the last batch of a
chunk's last piece has arrived, the shard of the chunk is written. This module does not use Ray;
`extract_videos` drives it.

Shapes: K time steps of a window, D width.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.features.contract import Features
from kinesweep.features.video import VideoFeatures, iter_batches
from kinesweep.features.video_windows import WindowStitcher
from kinesweep.store.extraction.build import ClipProgressCallback
from kinesweep.store.extraction.chunk_processor import (
    ChunkProcessor,
    ChunkResult,
    ClipTask,
    ComputeFeatures,
)
from kinesweep.store.extraction.plan import ExtractionPlan

CLIPS_PER_PIECE = 8
"""Clips that a decoder takes at a time; they are decoded again if it dies."""
CPU_DEVICE = "cpu"
"""Device name of an encoder without a GPU."""
_DEVICE_PREFIX = ".device-"


@dataclass(frozen=True)
class VideoPiece:
    """A group of clips of one chunk, which one actor decodes together.

    Attributes:
        chunk: Number of the chunk to which the clips belong.
        tasks: Clips in order.
    """

    chunk: int
    tasks: tuple[ClipTask, ...]

    @property
    def description(self) -> str:
        """Return a description of the piece for messages."""
        return f"the clips `{self.tasks[0].clip.id}` to `{self.tasks[-1].clip.id}`"


@dataclass
class VideoPieceResult:
    """The encoder results for a piece.

    Attributes:
        windows: Position of a clip in the piece → features (K, D) of its windows.
        num_real_frames: Position → number of real frames in its last window.
        clip_outcomes: Position → frame rate of its video, or reason and message if the clip failed.
    """

    windows: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    num_real_frames: dict[int, int] = field(default_factory=dict)
    clip_outcomes: dict[int, float | tuple[str, str]] = field(default_factory=dict)

    def join_features(self, position: int, stitcher: WindowStitcher) -> Features:
        """Join the windows of one clip to its features.

        Args:
            position: Position of the clip in the piece.
            stitcher: Window stitcher that joins the windows.

        Raises:
            ClipError: If the video could not be decoded.
        """
        fps = self.clip_outcomes[position]
        if isinstance(fps, tuple):
            raise ClipError(fps[1], fps[0])
        return Features(
            stitcher.stitch_windows(self.windows[position], self.num_real_frames[position]),
            stitcher.compute_rate_hz(fps),
        )


def split_into_pieces(plan: ExtractionPlan) -> list[VideoPiece]:
    """Split the clips of a plan that are not copied into pieces, in the order of the clips."""
    pieces = []
    for number, chunk in enumerate(plan.chunks):
        # Pieces never cross chunks: `write_video_chunks` completes a chunk after its last piece.
        uncached = [task for task in chunk.tasks if task.cached is None]
        pieces += [
            VideoPiece(number, tuple(tasks)) for tasks in iter_batches(uncached, CLIPS_PER_PIECE)
        ]
    return pieces


def record_device(folder: Path, device: str) -> None:
    """Record the device of an encoder in the staging folder, even if it never receives work."""
    # A file, because encoders on other nodes share only the file system with the driver.
    folder.mkdir(exist_ok=True)
    (folder / f"{_DEVICE_PREFIX}{device}").touch()


def list_recorded_devices(folder: Path) -> set[str]:
    """Return the devices on which encoders run, as recorded by `record_device`."""
    return {path.name.removeprefix(_DEVICE_PREFIX) for path in folder.glob(f"{_DEVICE_PREFIX}*")}


class ExtractionProgress:
    """A progress meter for video extraction: clips, windows per second, and device utilization.

    Args:
        progress: Callback that receives the progress.
    """

    def __init__(self, progress: ClipProgressCallback | None) -> None:
        self._progress = progress
        self._done = self._total = self._windows = 0
        self._busy_s = dict[str, float]()
        self._start_s, self._end_s = math.inf, 0.0
        self._folder: Path | None = None

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report the progress to the callback; the number of finished clips never decreases."""
        # Two sources report: finished pieces (`add_clips`) and written chunks, which lag behind.
        self._done = max(done, self._done)
        if self._progress is not None:
            self._progress(self._done, total, note or self.throughput_text)

    def start(self, total: int, done: int, folder: Path) -> None:
        """Set the total, the clips that are already done, and the folder of the devices.

        Args:
            total: Total number of clips.
            done: Number of clips that are already done.
            folder: Folder in which encoders record their devices.
        """
        self._total, self._done, self._folder = total, done, folder

    def add_batch(self, num_windows: int, device: str, busy_s: float, ended_s: float) -> None:
        """Add a finished batch to the throughput and the busy time of its device.

        Args:
            num_windows: Number of windows in the batch.
            device: Device that computed it.
            busy_s: Computing time in seconds.
            ended_s: Time of completion in seconds since 1970.
        """
        # Batches of several encoders arrive in plan order rather than in order of completion.
        self._start_s = min(self._start_s, ended_s - busy_s)
        self._end_s = max(self._end_s, ended_s)
        self._windows += num_windows
        self._busy_s[device] = self._busy_s.get(device, 0.0) + busy_s

    def add_clips(self, num_clips: int) -> None:
        """Add the clips of a finished piece and report the progress."""
        self(self._done + num_clips, self._total)

    @property
    def throughput_text(self) -> str:
        """Return a text with the windows per second and the busy share of each device."""
        if not self._windows:
            return ""
        elapsed_s = max(self._end_s - self._start_s, 1e-9)
        recorded_devices = set() if self._folder is None else list_recorded_devices(self._folder)
        # Encoders without work are listed too, so that idle devices become visible.
        names = sorted({*self._busy_s, *recorded_devices})
        shares = {name: self._busy_s.get(name, 0.0) / elapsed_s for name in names}
        devices = ", ".join(
            f"{share:.1f} cpus" if name == CPU_DEVICE else f"gpu {name} {min(share, 1):.0%}"
            for name, share in shares.items()
        )
        return f"{self._windows / elapsed_s:.2f} windows/s, busy: {devices}"


def add_batch_result(result: VideoPieceResult, row: Mapping[str, Any]) -> None:
    """Add the features of a batch to the result of its piece, by clip.

    Args:
        result: Results of the piece so far.
        row: Row returned by an encoder.
    """
    features = np.frombuffer(row["seen"], np.float32).reshape(row["shape"])
    for position, window_KD, num_real in zip(row["owners"], features, row["kept"], strict=True):
        result.windows.setdefault(position, []).append(window_KD)
        # Windows arrive in order, so the value of the last window remains.
        result.num_real_frames[position] = num_real
    for position, outcome in json.loads(row["ended"] or "{}").items():
        # JSON turned the positions into strings and the failures (reason, message) into lists.
        result.clip_outcomes[int(position)] = (
            tuple(outcome) if isinstance(outcome, list) else outcome
        )


def write_video_chunks(
    plan: ExtractionPlan,
    processor: ChunkProcessor,
    piece_results: Iterator[tuple[VideoPiece, VideoPieceResult]],
) -> Iterator[tuple[int, ChunkResult]]:
    """Write each chunk once its last piece has arrived; chunks that are only copied need no piece.

    Args:
        plan: Plan to execute.
        processor: Chunk processor that writes the shards.
        piece_results: Finished pieces with their results, in order.

    Yields:
        Number and result of each chunk, in order.
    """
    step = processor.step
    assert isinstance(step, VideoFeatures)
    stitcher = step.build_stitcher(step.load_encoder())
    by_chunk = groupby(piece_results, key=lambda answer: answer[0].chunk)
    # `groupby` is lazy and shares its iterator: a group must be consumed before the next one is
    # requested, or it is lost.
    next_group: tuple[int, Any] | None = next(by_chunk, None)
    for number, chunk in enumerate(plan.chunks):
        feature_functions: dict[str, Callable[[], dict[str, Features]]] = {}
        if next_group is not None and next_group[0] == number:
            for piece, result in next_group[1]:
                # Joining is deferred until the chunk is written: a failed clip then raises inside
                # `processor`, which turns the error into a status.
                feature_functions |= {
                    task.clip.id: _make_lazy_features(result, position, stitcher, step)
                    for position, task in enumerate(piece.entries)
                }
            next_group = next(by_chunk, None)
        yield number, processor(chunk, _make_compute_features(feature_functions, processor))


def _make_lazy_features(
    result: VideoPieceResult, position: int, stitcher: WindowStitcher, step: VideoFeatures
) -> Callable[[], dict[str, Features]]:
    """Return a function that joins the windows of one clip when it is called."""
    return lambda: dict.fromkeys(step.streams, result.join_features(position, stitcher))


def _make_compute_features(
    feature_functions: dict[str, Callable[[], dict[str, Features]]], processor: ChunkProcessor
) -> ComputeFeatures:
    """Return a function that joins encoded clips and computes clips whose copy was damaged."""

    def compute(task: ClipTask) -> dict[str, Features]:
        # A clip to be copied has no piece; if its copy is damaged, it is computed in this process.
        join_features = feature_functions.get(task.clip.id)
        return processor.compute_features(task) if join_features is None else join_features()

    return compute
