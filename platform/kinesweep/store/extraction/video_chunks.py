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
from kinesweep.features.video import VideoFeatures, groups
from kinesweep.features.video_windows import WindowStitcher
from kinesweep.store.extraction.build import Progress
from kinesweep.store.extraction.chunk_processor import (
    ChunkProcessor,
    ChunkResult,
    ClipTask,
    Compute,
)
from kinesweep.store.extraction.plan import Plan

CLIPS_A_PIECE = 8
"""Clips that a decoder takes at a time; they are decoded again if it dies."""
CPU = "cpu"
"""Device name of an encoder without a GPU."""
_DEVICE = ".device-"


@dataclass(frozen=True)
class Piece:
    """Clips that one actor decodes.

    Attributes:
        chunk: Number of the chunk to which they belong.
        entries: Clips in order.
    """

    chunk: int
    entries: tuple[ClipTask, ...]

    @property
    def text(self) -> str:
        """Return a description of the piece for messages."""
        return f"the clips `{self.entries[0].clip.id}` to `{self.entries[-1].clip.id}`"


@dataclass
class PieceResult:
    """The encoder results for a piece.

    Attributes:
        windows: Position of a clip in the piece → features (K, D) of its windows.
        kept: Position → number of real frames in its last window.
        ended: Position → frame rate of its video, or reason and message if the clip failed.
    """

    windows: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    kept: dict[int, int] = field(default_factory=dict)
    ended: dict[int, float | tuple[str, str]] = field(default_factory=dict)

    def features(self, place: int, seam: WindowStitcher) -> Features:
        """Return the features of one clip.

        Args:
            place: Position of the clip in the piece.
            seam: Window stitcher that joins the windows.

        Raises:
            ClipError: If the video could not be decoded.
        """
        fps = self.ended[place]
        if isinstance(fps, tuple):
            raise ClipError(fps[1], fps[0])
        return Features(seam.join(self.windows[place], self.kept[place]), seam.rate_hz(fps))


def pieces_of(plan: Plan) -> list[Piece]:
    """Return the pieces of a plan in the order of the clips, without clips that are copied."""
    found = []
    for number, chunk in enumerate(plan.chunks):
        # Pieces never cross chunks: `written` completes a chunk after its last piece.
        todo = [entry for entry in chunk.entries if entry.earlier is None]
        found += [Piece(number, tuple(some)) for some in groups(todo, CLIPS_A_PIECE)]
    return found


def note_device(folder: Path, device: str) -> None:
    """Record the device of an encoder, even if it never receives work."""
    # A file, because encoders on other nodes share only the file system with the driver.
    folder.mkdir(exist_ok=True)
    (folder / f"{_DEVICE}{device}").touch()


def noted_devices(folder: Path) -> set[str]:
    """Return the devices on which encoders run."""
    return {path.name.removeprefix(_DEVICE) for path in folder.glob(f"{_DEVICE}*")}


class ExtractionProgress:
    """A progress meter for video extraction: clips, windows per second, and device utilisation.

    Args:
        progress: Callback that receives the progress.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = self._total = self._windows = 0
        self._busy = dict[str, float]()
        self._began, self._ended = math.inf, 0.0
        self._folder: Path | None = None

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report progress, which never decreases."""
        # Two sources report: finished pieces (`ended`) and written chunks, which lag behind.
        self._done = max(done, self._done)
        if self._progress is not None:
            self._progress(self._done, total, note or self.note)

    def begin(self, total: int, done: int, folder: Path) -> None:
        """Start the meter.

        Args:
            total: Total number of clips.
            done: Number of clips that are already done.
            folder: Folder in which encoders record their devices.
        """
        self._total, self._done, self._folder = total, done, folder

    def watched(self, windows: int, device: str, busy_s: float, ended_s: float) -> None:
        """Add a finished batch.

        Args:
            windows: Number of windows in the batch.
            device: Device that computed it.
            busy_s: Computing time in seconds.
            ended_s: Time of completion in seconds since 1970.
        """
        # Batches of several encoders arrive in plan order rather than in order of completion.
        self._began = min(self._began, ended_s - busy_s)
        self._ended = max(self._ended, ended_s)
        self._windows += windows
        self._busy[device] = self._busy.get(device, 0.0) + busy_s

    def ended(self, clips: int) -> None:
        """Add the clips of a finished piece."""
        self(self._done + clips, self._total)

    @property
    def note(self) -> str:
        """Return the windows per second and the share of time each device was busy."""
        if not self._windows:
            return ""
        elapsed = max(self._ended - self._began, 1e-9)
        idle = set() if self._folder is None else noted_devices(self._folder)
        # Encoders without work are listed too, so that idle devices become visible.
        names = sorted({*self._busy, *idle})
        shares = {name: self._busy.get(name, 0.0) / elapsed for name in names}
        devices = ", ".join(
            f"{share:.1f} cpus" if name == CPU else f"gpu {name} {min(share, 1):.0%}"
            for name, share in shares.items()
        )
        return f"{self._windows / elapsed:.2f} windows/s, busy: {devices}"


def collect(seen: PieceResult, row: Mapping[str, Any]) -> None:
    """Add the features of a batch to the clips to which they belong.

    Args:
        seen: Results of the piece so far.
        row: Row returned by an encoder.
    """
    found = np.frombuffer(row["seen"], np.float32).reshape(row["shape"])
    for place, window_KD, kept in zip(row["owners"], found, row["kept"], strict=True):
        seen.windows.setdefault(place, []).append(window_KD)
        # Windows arrive in order, so the value of the last window remains.
        seen.kept[place] = kept
    for place, how in json.loads(row["ended"] or "{}").items():
        # JSON turned the positions into strings and the failures (reason, message) into lists.
        seen.ended[int(place)] = tuple(how) if isinstance(how, list) else how


def written(
    plan: Plan, computer: ChunkProcessor, answers: Iterator[tuple[Piece, PieceResult]]
) -> Iterator[tuple[int, ChunkResult]]:
    """Write each chunk once its last piece has arrived; chunks that are only copied need no piece.

    Args:
        plan: Plan to execute.
        computer: Chunk processor that writes the shards.
        answers: Finished pieces with their results, in order.

    Yields:
        Number and result of each chunk, in order.
    """
    step = computer.step
    assert isinstance(step, VideoFeatures)
    seam = step.seam(step.encoder())
    by_chunk = groupby(answers, key=lambda answer: answer[0].chunk)
    # `groupby` is lazy and shares its iterator: a group must be consumed before the next one is
    # requested, or it is lost.
    waiting: tuple[int, Any] | None = next(by_chunk, None)
    for number, chunk in enumerate(plan.chunks):
        known: dict[str, Callable[[], dict[str, Features]]] = {}
        if waiting is not None and waiting[0] == number:
            for piece, seen in waiting[1]:
                # Joining is deferred until the chunk is written: a failed clip then raises inside
                # `computer`, which turns the error into a status.
                known |= {
                    entry.clip.id: _lazily(seen, place, seam, step)
                    for place, entry in enumerate(piece.entries)
                }
            waiting = next(by_chunk, None)
        yield number, computer(chunk, _compute(known, computer))


def _lazily(
    seen: PieceResult, place: int, seam: WindowStitcher, step: VideoFeatures
) -> Callable[[], dict[str, Features]]:
    """Return a function that joins the windows of one clip."""
    return lambda: dict.fromkeys(step.streams, seen.features(place, seam))


def _compute(
    known: dict[str, Callable[[], dict[str, Features]]], computer: ChunkProcessor
) -> Compute:
    """Return a function that serves encoded clips and computes clips whose copy was damaged."""

    def compute(entry: ClipTask) -> dict[str, Features]:
        # A clip to be copied has no piece; if its copy is damaged, it is computed in this process.
        found = known.get(entry.clip.id)
        return computer.features(entry) if found is None else found()

    return compute
