"""Extraction from videos on Ray Data: CPUs decode, GPUs watch, the driver puts together.

Decoders are actors with one CPU; they take some clips at a time and hand on batches of windows,
always `features.batch` of them, those of neighbouring clips beside each other. Watchers are actors
that hold the video model, with `features.gpus` GPUs each, or a CPU. Which windows share a batch
follows from the order of the clips alone, and every batch is full, so the bytes of the store depend
neither on the number of actors nor on which of them died. Batches stream: a decoder holds one
window and what Ray takes off its hands.

Shapes: B windows, F frames, H pixels high, W = H a crop, K moments, D width.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError, ResourceError, StoreError
from kinesweep.features.contract import Features
from kinesweep.features.video import VideoFeatures, groups, see
from kinesweep.features.windows import Seam, Window
from kinesweep.store.attempts import count_attempt
from kinesweep.store.build import Progress, compute_here
from kinesweep.store.compute import ChunkResult, Computer, Entry
from kinesweep.store.plan import Plan
from kinesweep.store.quiet import calm, quiet

_CLIPS_A_PIECE = 8
"""Clips that a decoder takes at a time; what a dead one has begun is decoded again."""
_CPU = "cpu"
_PACK = pa.schema(
    [
        *(("piece", pa.int64()), ("number", pa.int64())),
        *(("pixels", pa.large_binary()), ("kept", pa.list_(pa.int64()))),
        *(("owners", pa.list_(pa.int64())), ("ended", pa.string())),
    ]
)


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


def watch_on_ray(
    plan: Plan, computer: Computer, meter: "Meter"
) -> Iterator[tuple[int, ChunkResult]]:
    """Computes a plan's chunks on the running Ray, in order.

    Args:
        plan: what is to be done.
        computer: source, step, type, folder.
        meter: told of every batch and piece.

    Raises:
        StoreError: Ray is not running.
        ResourceError: the cluster has not what the recipe asks for.
    """
    if not ray.is_initialized():
        raise StoreError(
            "Ray is not running in this process; call `ray.init()` first, or use `extract_locally`"
        )
    step = computer.step
    assert isinstance(step, VideoFeatures)
    share = _share(step, plan.summary.compute)
    if share is None:
        yield from compute_here(plan, computer)
        return
    pieces = _pieces(plan)
    meter.begin(plan.survey.num_clips, plan.summary.reuse)
    with quiet():
        answers = _seen(_dataset(pieces, computer, share), pieces, meter)
        yield from _written(plan, computer, answers)


@dataclass(frozen=True)
class _Share:
    """Actors of each kind, and the CPUs of a watcher."""

    decoders: int
    watchers: int
    cpus: float


def _share(step: VideoFeatures, num_clips: int) -> _Share | None:
    """How a cluster is divided; None: nothing to compute, or too small to divide.

    Raises:
        ResourceError: it has not the GPUs that one watcher needs.
    """
    have = ray.cluster_resources()
    cpus, gpus, asked = int(have.get("CPU", 0)), have.get("GPU", 0.0), step.config.gpus
    if asked > gpus:
        raise ResourceError(
            f"`features.gpus` asks for {asked:g} GPUs, but the cluster has {gpus:g}; set it to 0 to"
            " run the video model on CPUs"
        )
    if not num_clips or cpus < 2:
        return None
    room = int(gpus / asked) if asked else cpus // 2
    watchers = max(1, min(step.config.actors or room, room if asked else cpus - 1))
    decoders = max(1, cpus if asked else cpus - watchers)
    return _Share(min(decoders, -(-num_clips // _CLIPS_A_PIECE)), watchers, 0 if asked else 1)


def _pieces(plan: Plan) -> list[Piece]:
    """What decoders take, in the order of the clips; clips that are copied are no work."""
    found = []
    for number, chunk in enumerate(plan.chunks):
        todo = [entry for entry in chunk.entries if entry.earlier is None]
        found += [Piece(number, tuple(some)) for some in groups(todo, _CLIPS_A_PIECE)]
    return found


class _Decoder:
    """An actor's body: a piece's number in, its windows out, batch after batch."""

    def __init__(self, pieces: Sequence[Piece], computer: Computer, size: int) -> None:
        self._pieces, self._computer, self._size = pieces, computer, size
        step = computer.step
        assert isinstance(step, VideoFeatures)
        self._step = step

    def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
        for number in batch["piece"].tolist():
            piece = self._pieces[number]
            count_attempt(self._computer.folder, f"piece-{number}", piece.text)
            ended: dict[int, Any] = {}
            packs = groups(self._windows(piece, ended), self._step.config.batch)
            parts = 0
            for parts, pack in enumerate(packs, 1):
                yield _pack_row(number, parts, pack, "")
            yield _pack_row(number, parts + 1, [], json.dumps(ended))

    def _windows(self, piece: Piece, ended: dict[int, Any]) -> Iterator[tuple[int, Window]]:
        """The windows of all clips, each with the place of its clip; fills `ended`."""
        for place, entry in enumerate(piece.entries):
            try:
                footage = self._computer.source.read(entry.clip)
                fps, windows = self._step.windows(footage, self._size)  # type: ignore[arg-type]
                for window in windows:
                    yield place, window
                ended[place] = fps
            except ClipError as error:
                ended[place] = (error.reason, f"{entry.clip.row}: {error}")


class _Watcher:
    """An actor's body: a batch of windows in, their features out."""

    def __init__(self, pieces: Sequence[Piece], computer: Computer) -> None:
        torch.set_num_threads(1)
        self._pieces, self._computer = pieces, computer
        step = computer.step
        assert isinstance(step, VideoFeatures)
        self._step, self._encoder = step, step.encoder()
        self._device = ",".join(map(str, ray.get_gpu_ids())) or _CPU

    def __call__(self, table: pa.Table) -> pa.Table:
        (row,) = table.drop_columns(["pixels"]).to_pylist()
        began, seen = time.perf_counter(), np.empty((0, 0, 0), np.float32)
        if row["owners"]:
            piece = self._pieces[row["piece"]]
            name = f"batch-{row['piece']}-{row['number']}"
            count_attempt(self._computer.folder, name, f"windows of {piece.text}")
            seen = self._see(table["pixels"][0].as_buffer(), row["kept"])
        row |= {"seen": seen.tobytes(), "shape": list(seen.shape), "device": self._device}
        row |= {"busy_s": time.perf_counter() - began}
        return pa.Table.from_pylist([row])

    def _see(self, pixels: pa.Buffer, kept: list[int]) -> NDArray[np.float32]:
        config, size = self._step.config, self._encoder.size
        shape = (len(kept), config.windows.num_frames, size, -1, 3)
        pixels_BFHWC = np.frombuffer(pixels, np.uint8).reshape(shape)
        windows = [Window(one, real) for one, real in zip(pixels_BFHWC, kept, strict=True)]
        return see(self._encoder, windows, config.batch)


def _pack_row(piece: int, number: int, pack: Sequence[tuple[int, Window]], ended: str) -> pa.Table:
    """A batch of windows as one row; the last of a piece has none, but says how clips ended."""
    pixels = b"".join(window.pixels_FHWC.tobytes() for _, window in pack)
    row = {
        "piece": [piece],
        "number": [number],
        "pixels": [pixels],
        "kept": [[window.kept for _, window in pack]],
        "owners": [[place for place, _ in pack]],
        "ended": [ended],
    }
    return pa.table(row, schema=_PACK)


def _dataset(pieces: Sequence[Piece], computer: Computer, share: _Share) -> ray.data.Dataset:
    """The lazy data set: one block a piece, decoded, watched, order kept."""
    items = [{"piece": number} for number in range(len(pieces))]
    work = calm(ray.data.from_items(items, override_num_blocks=len(pieces)))
    work.context.execution_options.preserve_order = True
    step = computer.step
    assert isinstance(step, VideoFeatures)
    decoded = work.map_batches(
        _Decoder,
        batch_size=1,
        num_cpus=1,
        fn_constructor_args=(pieces, computer, step.encoder().size),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=share.decoders),
    )
    return decoded.map_batches(
        _Watcher,
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=share.cpus,
        num_gpus=step.config.gpus,
        fn_constructor_args=(pieces, computer),
        compute=ray.data.ActorPoolStrategy(size=share.watchers),
    )


class Meter:
    """What is told while videos are watched: clips, windows a second, how busy the devices are.

    Args:
        progress: who is told.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = self._total = self._windows = 0
        self._busy = dict[str, float]()
        self._began: float | None = None

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Tells of progress; never less than before."""
        self._done = max(done, self._done)
        if self._progress is not None:
            self._progress(self._done, total, note or self.note)

    def begin(self, total: int, done: int) -> None:
        """So many clips in all, some of them there already."""
        self._total, self._done = total, done

    def watched(self, windows: int, device: str, busy_s: float) -> None:
        """A batch came back; time counts from the first one, which waited for the actors."""
        if self._began is None:
            self._began = time.perf_counter() - busy_s
        self._windows += windows
        self._busy[device] = self._busy.get(device, 0.0) + busy_s

    def ended(self, clips: int) -> None:
        """A piece is complete."""
        self(self._done + clips, self._total)

    @property
    def note(self) -> str:
        """Windows a second, and the share of time in which each device computed."""
        if self._began is None:
            return ""
        elapsed = max(time.perf_counter() - self._began, 1e-9)
        shares = {name: busy / elapsed for name, busy in sorted(self._busy.items())}
        devices = ", ".join(
            f"{share:.1f} cpus" if name == _CPU else f"gpu {name} {min(share, 1):.0%}"
            for name, share in shares.items()
        )
        return f"{self._windows / elapsed:.2f} windows/s, busy: {devices}"


def _seen(
    dataset: ray.data.Dataset, pieces: Sequence[Piece], meter: Meter
) -> Iterator[tuple[Piece, Seen]]:
    """Pieces as they are complete, in order."""
    seen = Seen()
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            piece = pieces[row["piece"]]
            if row["owners"]:
                meter.watched(len(row["owners"]), row["device"], row["busy_s"])
            _take(seen, row)
            if row["ended"]:
                meter.ended(len(piece.entries))
                yield piece, seen
                seen = Seen()


def _take(seen: Seen, row: dict[str, Any]) -> None:
    """A batch's features to the clips that they are of."""
    found = np.frombuffer(row["seen"], np.float32).reshape(row["shape"])
    for place, window_KD, kept in zip(row["owners"], found, row["kept"], strict=True):
        seen.windows.setdefault(place, []).append(window_KD)
        seen.kept[place] = kept
    for place, how in json.loads(row["ended"] or "{}").items():
        seen.ended[int(place)] = tuple(how) if isinstance(how, list) else how


def _written(
    plan: Plan, computer: Computer, answers: Iterator[tuple[Piece, Seen]]
) -> Iterator[tuple[int, ChunkResult]]:
    """Writes each chunk when the last of its pieces is there; what is only copied needs none."""
    step = computer.step
    assert isinstance(step, VideoFeatures)
    seam = step.seam(step.encoder())
    by_chunk = groupby(answers, key=lambda answer: answer[0].chunk)
    waiting: tuple[int, Any] | None = next(by_chunk, None)
    for number, chunk in enumerate(plan.chunks):
        known: dict[str, Callable[[], Features]] = {}
        if waiting is not None and waiting[0] == number:
            for piece, seen in waiting[1]:
                known |= {
                    entry.clip.id: _lazily(seen, place, seam)
                    for place, entry in enumerate(piece.entries)
                }
            waiting = next(by_chunk, None)
        yield number, computer(chunk, _compute(known, computer))


def _lazily(seen: Seen, place: int, seam: Seam) -> Callable[[], Features]:
    return lambda: seen.features(place, seam)


def _compute(
    known: dict[str, Callable[[], Features]], computer: Computer
) -> Callable[[Entry], Features]:
    """What was watched; a clip whose copy turned out to be damaged is computed here."""

    def compute(entry: Entry) -> Features:
        found = known.get(entry.clip.id)
        return computer.features(entry) if found is None else found()

    return compute
