"""Video extraction on Ray Data: CPUs decode, GPUs run the video model, the driver joins windows.

Decoders are actors with one CPU each. A decoder takes a few clips at a time and emits batches of
`features.batch` windows, in which windows of consecutive clips may be mixed. Encoder actors
(`_Watcher`) hold the video model and have `features.gpus` GPUs each, or a share of the CPUs. The
order of the clips alone determines which windows share a batch, and every batch is padded to full
size, so the bytes of the store depend neither on the number of actors nor on which of them died.
Batches stream: a decoder holds one window and whatever Ray has not yet taken over.

Shapes: B windows, F frames, H pixels high, W = H per crop, K time steps of a window, D width.
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
from kinesweep.features.video import VideoFeatures, encode_windows, groups
from kinesweep.features.video_windows import Window
from kinesweep.store.extraction.build import compute_here
from kinesweep.store.extraction.chunk_processor import ChunkProcessor, ChunkResult
from kinesweep.store.extraction.plan import Plan
from kinesweep.store.extraction.ray_logging import quiet, silence_dataset_progress
from kinesweep.store.extraction.retry_limit import count_attempt
from kinesweep.store.extraction.video_chunks import (
    CLIPS_A_PIECE,
    CPU,
    ExtractionProgress,
    Piece,
    PieceResult,
    collect,
    note_device,
    pieces_of,
    written,
)

# `large_binary`: the 32-bit offsets of `binary` would limit a column to 2 GiB of pixels.
_PACK = pa.schema(
    [
        *(("piece", pa.int64()), ("number", pa.int64())),
        *(("pixels", pa.large_binary()), ("kept", pa.list_(pa.int64()))),
        *(("owners", pa.list_(pa.int64())), ("ended", pa.string())),
    ]
)


def watch_on_ray(
    plan: Plan, computer: ChunkProcessor, meter: ExtractionProgress
) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks of a plan on the running Ray cluster, in order.

    Args:
        plan: Plan to execute.
        computer: Chunk processor with source, feature step, dtype and staging folder.
        meter: Progress meter that is updated after every batch and piece.

    Raises:
        StoreError: If Ray is not running.
        ResourceError: If the cluster has fewer GPUs than one encoder needs.
    """
    if not ray.is_initialized():
        raise StoreError(
            "Ray is not running in this process; call `ray.init()` first, or use `extract_locally`"
        )
    step = computer.step
    assert isinstance(step, VideoFeatures)
    share = _share(step, plan.summary.compute)
    if share is None:
        # Nothing to decode, or too few CPUs for a decoder beside an encoder: decode and encode
        # here.
        yield from compute_here(plan, computer)
        return
    pieces = pieces_of(plan)
    meter.begin(plan.survey.num_clips, plan.summary.reuse, computer.folder / "shards")
    with quiet():
        answers = _seen(_dataset(pieces, computer, share), pieces, meter)
        yield from written(plan, computer, answers)


@dataclass(frozen=True)
class _Share:
    """The allocation of a cluster's resources.

    Attributes:
        decoders: Largest number of decoder actors.
        watchers: Number of encoder actors.
        cpus: CPUs per encoder actor; 0 if it runs on GPUs.
    """

    decoders: int
    watchers: int
    cpus: float


def _share(step: VideoFeatures, num_clips: int) -> _Share | None:
    """Divide the cluster between decoders and encoders.

    Args:
        step: Feature step with the requested resources.
        num_clips: Number of clips to compute.

    Returns:
        The allocation, or None if there is nothing to compute or the cluster is too small to
        divide.

    Raises:
        ResourceError: If the cluster has fewer GPUs than one encoder needs.
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
    # Without GPUs, encoders get half of the CPUs by default and decoders the rest.
    watchers = step.config.actors or cpus // 2
    # One CPU is reserved for a decoder; if the encoders outnumber the remaining CPUs, they share
    # them fractionally.
    each = min(1.0, (cpus - 1) / watchers)
    return _Share(max(1, min(pieces, cpus - round(each * watchers))), watchers, each)


class _Decoder:
    """A Ray Data actor that takes the number of a piece and emits its windows batch by batch."""

    def __init__(self, pieces: Sequence[Piece], computer: ChunkProcessor, size: int) -> None:
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
            # A last row without windows ends the piece. `ended` is complete only now: a film can
            # fail at any window.
            yield _pack_row(number, parts + 1, [], json.dumps(ended))

    def _windows(self, piece: Piece, ended: dict[int, Any]) -> Iterator[tuple[int, Window]]:
        """Yield the windows of all clips, each with the clip's position in the piece; fill `ended`.

        Args:
            piece: Clips to decode.
            ended: Filled with position → frame rate, or reason and message of a clip that failed.
        """
        for place, entry in enumerate(piece.entries):
            try:
                footage = self._computer.source.read(entry.clip)
                fps, windows = self._step.windows(footage, self._size)  # type: ignore[arg-type]
                for window in windows:
                    yield place, window
                ended[place] = fps
            # Windows of this clip that were already emitted are ignored later:
            # `PieceResult.features` raises.
            except ClipError as error:
                ended[place] = (error.reason, f"{entry.clip.row}: {error}")


class _Watcher:
    """An encoder actor that takes a batch of windows and returns their features."""

    def __init__(self, pieces: Sequence[Piece], computer: ChunkProcessor) -> None:
        # The number of threads changes the bits of a CPU result; the store must not depend on it.
        torch.set_num_threads(1)
        # cuDNN otherwise computes fp32 convolutions in TF32, with a mantissa of 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        self._pieces, self._computer = pieces, computer
        step = computer.step
        assert isinstance(step, VideoFeatures)
        self._step, self._encoder = step, step.encoder()
        self._device = ",".join(map(str, ray.get_gpu_ids())) or CPU
        # An encoder that never receives a batch must still be shown as idle.
        note_device(computer.folder / "shards", self._device)

    def __call__(self, table: pa.Table) -> pa.Table:
        # One row per call (`batch_size=1`). Pixels stay in Arrow memory instead of becoming Python
        # bytes.
        (row,) = table.drop_columns(["pixels"]).to_pylist()
        began, seen = time.perf_counter(), np.empty((0, 0, 0), np.float32)
        if row["owners"]:
            piece = self._pieces[row["piece"]]
            name = f"batch-{row['piece']}-{row['number']}"
            # A batch that does not fit into memory would kill every encoder that tries it.
            count_attempt(self._computer.folder, name, f"windows of {piece.text}")
            seen = self._see(table["pixels"][0].as_buffer(), row["kept"])
        # Monotonic time measures the duration; wall-clock time can be compared between machines.
        row |= {"seen": seen.tobytes(), "shape": list(seen.shape), "device": self._device}
        row |= {"busy_s": time.perf_counter() - began, "ended_s": time.time()}
        return pa.Table.from_pylist([row])

    def _see(self, pixels: pa.Buffer, kept: list[int]) -> NDArray[np.float32]:
        """Return the features of a batch, (B, K, D).

        Args:
            pixels: uint8 pixels of shape (B, F, H, W, 3) as one buffer; W is H times the number of
                crops.
            kept: Real frames of each window.
        """
        config, size = self._step.config, self._encoder.size
        # The width is inferred: crops of one frame stand side by side.
        shape = (len(kept), config.windows.num_frames, size, -1, 3)
        pixels_BFHWC = np.frombuffer(pixels, np.uint8).reshape(shape)
        windows = [Window(one, real) for one, real in zip(pixels_BFHWC, kept, strict=True)]
        return encode_windows(self._encoder, windows, config.batch)


def _pack_row(piece: int, number: int, pack: Sequence[tuple[int, Window]], ended: str) -> pa.Table:
    """Return a batch of windows as a table of one row.

    Args:
        piece: Number of the piece.
        number: Number of the batch within the piece.
        pack: Windows with the positions of their clips; empty for the last row of a piece.
        ended: JSON result of every clip in the last row of a piece; empty in other rows.
    """
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


def _dataset(pieces: Sequence[Piece], computer: ChunkProcessor, share: _Share) -> ray.data.Dataset:
    """Return the lazy dataset: one block per piece, decoded and then encoded, in order."""
    items = [{"piece": number} for number in range(len(pieces))]
    work = silence_dataset_progress(ray.data.from_items(items, override_num_blocks=len(pieces)))
    # `_seen` collects one piece at a time and needs the batches of a piece together and in order.
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
    dataset: ray.data.Dataset, pieces: Sequence[Piece], meter: ExtractionProgress
) -> Iterator[tuple[Piece, PieceResult]]:
    """Yield each piece with its features as soon as it is complete, in order."""
    seen = PieceResult()
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            piece = pieces[row["piece"]]
            if row["owners"]:
                meter.watched(len(row["owners"]), row["device"], row["busy_s"], row["ended_s"])
            collect(seen, row)
            if row["ended"]:
                meter.ended(len(piece.entries))
                yield piece, seen
                seen = PieceResult()
