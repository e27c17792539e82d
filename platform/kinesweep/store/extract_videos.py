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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import torch
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError, ResourceError, StoreError
from kinesweep.features.video import VideoFeatures, groups, see
from kinesweep.features.windows import Window
from kinesweep.store.attempts import count_attempt
from kinesweep.store.build import compute_here
from kinesweep.store.compute import ChunkResult, Computer
from kinesweep.store.plan import Plan
from kinesweep.store.quiet import calm, quiet
from kinesweep.store.watched import (
    CLIPS_A_PIECE,
    CPU,
    Meter,
    Piece,
    Seen,
    note_device,
    pieces_of,
    take,
    written,
)

_PACK = pa.schema(
    [
        *(("piece", pa.int64()), ("number", pa.int64())),
        *(("pixels", pa.large_binary()), ("kept", pa.list_(pa.int64()))),
        *(("owners", pa.list_(pa.int64())), ("ended", pa.string())),
    ]
)


def watch_on_ray(plan: Plan, computer: Computer, meter: Meter) -> Iterator[tuple[int, ChunkResult]]:
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
    pieces = pieces_of(plan)
    meter.begin(plan.survey.num_clips, plan.summary.reuse, computer.folder / "shards")
    with quiet():
        answers = _seen(_dataset(pieces, computer, share), pieces, meter)
        yield from written(plan, computer, answers)


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
    if not num_clips or cpus < (1 if asked else 2):
        return None
    pieces = -(-num_clips // CLIPS_A_PIECE)
    if asked:
        room = int(gpus / asked)
        return _Share(min(cpus, pieces), min(step.config.actors or room, room), 0)
    watchers = step.config.actors or cpus // 2
    # More of them than there are CPUs beside one decoder share these.
    each = min(1.0, (cpus - 1) / watchers)
    return _Share(max(1, min(pieces, cpus - round(each * watchers))), watchers, each)


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
        # fp32 means it; cuDNN would round convolutions to 10 bits unasked.
        torch.backends.cudnn.allow_tf32 = False
        self._pieces, self._computer = pieces, computer
        step = computer.step
        assert isinstance(step, VideoFeatures)
        self._step, self._encoder = step, step.encoder()
        self._device = ",".join(map(str, ray.get_gpu_ids())) or CPU
        note_device(computer.folder / "shards", self._device)

    def __call__(self, table: pa.Table) -> pa.Table:
        (row,) = table.drop_columns(["pixels"]).to_pylist()
        began, seen = time.perf_counter(), np.empty((0, 0, 0), np.float32)
        if row["owners"]:
            piece = self._pieces[row["piece"]]
            name = f"batch-{row['piece']}-{row['number']}"
            count_attempt(self._computer.folder, name, f"windows of {piece.text}")
            seen = self._see(table["pixels"][0].as_buffer(), row["kept"])
        row |= {"seen": seen.tobytes(), "shape": list(seen.shape), "device": self._device}
        row |= {"busy_s": time.perf_counter() - began, "ended_s": time.time()}
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


def _seen(
    dataset: ray.data.Dataset, pieces: Sequence[Piece], meter: Meter
) -> Iterator[tuple[Piece, Seen]]:
    """Pieces as they are complete, in order."""
    seen = Seen()
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            piece = pieces[row["piece"]]
            if row["owners"]:
                meter.watched(len(row["owners"]), row["device"], row["busy_s"], row["ended_s"])
            take(seen, row)
            if row["ended"]:
                meter.ended(len(piece.entries))
                yield piece, seen
                seen = Seen()
