"""What comes back of videos that were watched: pieces of work, and chunks put together of them.

A piece is some clips that one decoder takes; its batches come back in order. When the last batch of
a chunk's last piece is there, the chunk's shard is written. No Ray: `extract_videos` drives.

Shapes: K moments of a window, D width.
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
from kinesweep.features.windows import Seam
from kinesweep.store.build import Progress
from kinesweep.store.compute import ChunkResult, Compute, Computer, Entry
from kinesweep.store.plan import Plan

CLIPS_A_PIECE = 8
"""Clips that a decoder takes at a time; what a dead one has begun is decoded again."""
CPU = "cpu"
"""What a watcher without a GPU calls its device."""
_DEVICE = ".device-"


@dataclass(frozen=True)
class Piece:
    """Clips that are decoded by one actor.

    Attributes:
        chunk: number of the shard that they belong to.
        entries: the clips.
    """

    chunk: int
    entries: tuple[Entry, ...]

    @property
    def text(self) -> str:
        """For people."""
        return f"the clips `{self.entries[0].clip.id}` to `{self.entries[-1].clip.id}`"


@dataclass
class Seen:
    """What came back of a piece.

    Attributes:
        windows: place of a clip in the piece → (K, D) of its windows.
        kept: place → real frames of its last window.
        ended: place → frames a second of its film, or why it was dropped.
    """

    windows: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    kept: dict[int, int] = field(default_factory=dict)
    ended: dict[int, float | tuple[str, str]] = field(default_factory=dict)

    def features(self, place: int, seam: Seam) -> Features:
        """Of one clip.

        Raises:
            ClipError: its film could not be decoded.
        """
        fps = self.ended[place]
        if isinstance(fps, tuple):
            raise ClipError(fps[1], fps[0])
        return Features(seam.join(self.windows[place], self.kept[place]), seam.rate_hz(fps))


def pieces_of(plan: Plan) -> list[Piece]:
    """What decoders take, in the order of the clips; clips that are copied are no work."""
    found = []
    for number, chunk in enumerate(plan.chunks):
        todo = [entry for entry in chunk.entries if entry.earlier is None]
        found += [Piece(number, tuple(some)) for some in groups(todo, CLIPS_A_PIECE)]
    return found


def note_device(folder: Path, device: str) -> None:
    """A watcher says where it runs, also if there will be no work for it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{_DEVICE}{device}").touch()


def noted_devices(folder: Path) -> set[str]:
    """Devices that watchers run on."""
    return {path.name.removeprefix(_DEVICE) for path in folder.glob(f"{_DEVICE}*")}


class Meter:
    """What is told while videos are watched: clips, windows a second, how busy the devices are.

    Args:
        progress: who is told.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = self._total = self._windows = 0
        self._busy = dict[str, float]()
        self._began, self._ended = math.inf, 0.0
        self._folder: Path | None = None

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Tells of progress; never less than before."""
        self._done = max(done, self._done)
        if self._progress is not None:
            self._progress(self._done, total, note or self.note)

    def begin(self, total: int, done: int, folder: Path) -> None:
        """So many clips in all, some of them done; watchers note themselves in `folder`."""
        self._total, self._done, self._folder = total, done, folder

    def watched(self, windows: int, device: str, busy_s: float, ended_s: float) -> None:
        """A batch came back, which took so long and ended then (seconds since 1970)."""
        self._began = min(self._began, ended_s - busy_s)
        self._ended = max(self._ended, ended_s)
        self._windows += windows
        self._busy[device] = self._busy.get(device, 0.0) + busy_s

    def ended(self, clips: int) -> None:
        """A piece is complete."""
        self(self._done + clips, self._total)

    @property
    def note(self) -> str:
        """Windows a second, and the share of time in which each device computed."""
        if not self._windows:
            return ""
        elapsed = max(self._ended - self._began, 1e-9)
        idle = set() if self._folder is None else noted_devices(self._folder)
        names = sorted({*self._busy, *idle})
        shares = {name: self._busy.get(name, 0.0) / elapsed for name in names}
        devices = ", ".join(
            f"{share:.1f} cpus" if name == CPU else f"gpu {name} {min(share, 1):.0%}"
            for name, share in shares.items()
        )
        return f"{self._windows / elapsed:.2f} windows/s, busy: {devices}"


def take(seen: Seen, row: Mapping[str, Any]) -> None:
    """A batch's features to the clips that they are of."""
    found = np.frombuffer(row["seen"], np.float32).reshape(row["shape"])
    for place, window_KD, kept in zip(row["owners"], found, row["kept"], strict=True):
        seen.windows.setdefault(place, []).append(window_KD)
        seen.kept[place] = kept
    for place, how in json.loads(row["ended"] or "{}").items():
        seen.ended[int(place)] = tuple(how) if isinstance(how, list) else how


def written(
    plan: Plan, computer: Computer, answers: Iterator[tuple[Piece, Seen]]
) -> Iterator[tuple[int, ChunkResult]]:
    """Writes each chunk when the last of its pieces is there; what is only copied needs none."""
    step = computer.step
    assert isinstance(step, VideoFeatures)
    seam = step.seam(step.encoder())
    by_chunk = groupby(answers, key=lambda answer: answer[0].chunk)
    waiting: tuple[int, Any] | None = next(by_chunk, None)
    for number, chunk in enumerate(plan.chunks):
        known: dict[str, Callable[[], dict[str, Features]]] = {}
        if waiting is not None and waiting[0] == number:
            for piece, seen in waiting[1]:
                known |= {
                    entry.clip.id: _lazily(seen, place, seam, step)
                    for place, entry in enumerate(piece.entries)
                }
            waiting = next(by_chunk, None)
        yield number, computer(chunk, _compute(known, computer))


def _lazily(
    seen: Seen, place: int, seam: Seam, step: VideoFeatures
) -> Callable[[], dict[str, Features]]:
    return lambda: dict.fromkeys(step.streams, seen.features(place, seam))


def _compute(known: dict[str, Callable[[], dict[str, Features]]], computer: Computer) -> Compute:
    """What was watched; a clip whose copy turned out to be damaged is computed here."""

    def compute(entry: Entry) -> dict[str, Features]:
        found = known.get(entry.clip.id)
        return computer.features(entry) if found is None else found()

    return compute
