"""Video extraction on Ray Data: CPUs decode, GPUs encode, and the driver joins the windows.

Decoders are actors with one CPU each. A decoder takes a few clips at a time and emits batches of
`features.batch` windows, in which windows of consecutive clips may be mixed. Encoder actors
(`_WindowEncoder`) hold the video model and have `features.gpus` GPUs each, or a share of the CPUs.
The order of the clips alone determines which windows share a batch, and every batch is padded to
full size, so the bytes of the store depend neither on the number of actors nor on which of them
died. Batches are streamed: a decoder holds one window and the output that Ray has not yet taken.

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
from kinesweep.features.video import VideoFeatures, encode_windows, iter_batches
from kinesweep.features.video_windows import Window
from kinesweep.store.extraction.build import compute_chunks_locally
from kinesweep.store.extraction.chunk_processor import ChunkProcessor, ChunkResult
from kinesweep.store.extraction.plan import ExtractionPlan
from kinesweep.store.extraction.ray_logging import disable_dataset_progress, silence_ray_data
from kinesweep.store.extraction.retry_limit import record_attempt
from kinesweep.store.extraction.video_chunks import (
    CLIPS_PER_PIECE,
    CPU_DEVICE,
    ExtractionProgress,
    VideoPiece,
    VideoPieceResult,
    add_batch_result,
    record_device,
    split_into_pieces,
    write_video_chunks,
)

# `large_binary`: the 32-bit offsets of `binary` would limit a column to 2 GiB of pixels.
_BATCH_SCHEMA = pa.schema(
    [
        *(("piece", pa.int64()), ("number", pa.int64())),
        *(("pixels", pa.large_binary()), ("kept", pa.list_(pa.int64()))),
        *(("owners", pa.list_(pa.int64())), ("ended", pa.string())),
    ]
)


def compute_video_chunks_on_ray(
    plan: ExtractionPlan, processor: ChunkProcessor, meter: ExtractionProgress
) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks of a video plan on the running Ray cluster; yield (number, result).

    Args:
        plan: Plan to execute.
        processor: Chunk processor with source, feature step, dtype and staging folder.
        meter: Progress meter that is updated after every batch and piece.

    Raises:
        StoreError: If Ray is not running.
        ResourceError: If the cluster has fewer GPUs than one encoder needs.
    """
    if not ray.is_initialized():
        raise StoreError(
            "Ray is not running in this process; call `ray.init()` first, or use `extract_locally`"
        )
    step = processor.step
    assert isinstance(step, VideoFeatures)
    allocation = _allocate_resources(step, plan.summary.num_to_compute)
    if allocation is None:
        # Nothing to decode, or too few CPUs for a decoder beside an encoder: decode and encode
        # here.
        yield from compute_chunks_locally(plan, processor)
        return
    pieces = split_into_pieces(plan)
    meter.start(plan.scan.num_clips, plan.summary.num_to_reuse, processor.folder / "shards")
    with silence_ray_data():
        piece_results = _iter_piece_results(
            _build_video_dataset(pieces, processor, allocation), pieces, meter
        )
        yield from write_video_chunks(plan, processor, piece_results)


@dataclass(frozen=True)
class _ResourceAllocation:
    """The allocation of a cluster's resources to decoders and encoders.

    Attributes:
        num_decoders: Largest number of decoder actors.
        num_encoders: Number of encoder actors.
        cpus_per_encoder: CPUs per encoder actor; 0 if it runs on GPUs.
    """

    num_decoders: int
    num_encoders: int
    cpus_per_encoder: float


def _allocate_resources(step: VideoFeatures, num_clips: int) -> _ResourceAllocation | None:
    """Allocate the CPUs and GPUs of the cluster to decoders and encoders.

    Args:
        step: Feature step with the requested resources.
        num_clips: Number of clips to compute.

    Returns:
        The allocation, or None if there is nothing to compute or the cluster is too small to
        divide.

    Raises:
        ResourceError: If the cluster has fewer GPUs than one encoder needs.
    """
    resources = ray.cluster_resources()
    cpus, gpus, requested_gpus = (
        int(resources.get("CPU", 0)),
        resources.get("GPU", 0.0),
        step.config.gpus,
    )
    if requested_gpus > gpus:
        raise ResourceError(
            f"`features.gpus` asks for {requested_gpus:g} GPUs, but the cluster has {gpus:g}; set"
            " it to 0 to"
            " run the video model on CPUs"
        )
    if not num_clips or cpus < (1 if requested_gpus else 2):
        return None
    num_pieces = -(-num_clips // CLIPS_PER_PIECE)
    if requested_gpus:
        max_encoders = int(gpus / requested_gpus)
        return _ResourceAllocation(
            min(cpus, num_pieces), min(step.config.actors or max_encoders, max_encoders), 0
        )
    # Without GPUs, encoders get half of the CPUs by default and decoders the rest.
    num_encoders = step.config.actors or cpus // 2
    # One CPU is reserved for a decoder; if the encoders outnumber the remaining CPUs, they share
    # them fractionally.
    cpus_per_encoder = min(1.0, (cpus - 1) / num_encoders)
    return _ResourceAllocation(
        max(1, min(num_pieces, cpus - round(cpus_per_encoder * num_encoders))),
        num_encoders,
        cpus_per_encoder,
    )


class _VideoDecoder:
    """A Ray Data actor that takes the number of a piece and emits its windows batch by batch."""

    def __init__(self, pieces: Sequence[VideoPiece], processor: ChunkProcessor, size: int) -> None:
        self._pieces, self._processor, self._size = pieces, processor, size
        step = processor.step
        assert isinstance(step, VideoFeatures)
        self._step = step

    def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
        for number in batch["piece"].tolist():
            piece = self._pieces[number]
            record_attempt(self._processor.folder, f"piece-{number}", piece.text)
            clip_outcomes: dict[int, Any] = {}
            window_batches = iter_batches(
                self._decode_windows(piece, clip_outcomes), self._step.config.batch
            )
            num_batches = 0
            for num_batches, window_batch in enumerate(window_batches, 1):
                yield _make_batch_row(number, num_batches, window_batch, "")
            # A last row without windows ends the piece. `clip_outcomes` is complete only now: a
            # video can fail at any window.
            yield _make_batch_row(number, num_batches + 1, [], json.dumps(clip_outcomes))

    def _decode_windows(
        self, piece: VideoPiece, clip_outcomes: dict[int, Any]
    ) -> Iterator[tuple[int, Window]]:
        """Decode the clips of a piece; yield each window with its clip's position in the piece.

        Args:
            piece: Clips to decode.
            clip_outcomes: Output; filled with position → frame rate, or reason and message of a
                clip that failed.
        """
        for position, task in enumerate(piece.tasks):
            try:
                media = self._processor.source.read(task.clip)
                fps, windows = self._step.open_windows(media, self._size)  # type: ignore[arg-type]
                for window in windows:
                    yield position, window
                clip_outcomes[position] = fps
            # Windows of this clip that were already emitted are ignored later:
            # `VideoPieceResult.join_features` raises.
            except ClipError as error:
                clip_outcomes[position] = (error.reason, f"{task.clip.row}: {error}")


class _WindowEncoder:
    """An encoder actor that takes a batch of windows and returns their features."""

    def __init__(self, pieces: Sequence[VideoPiece], processor: ChunkProcessor) -> None:
        # The number of threads changes the bits of a CPU result; the store must not depend on it.
        torch.set_num_threads(1)
        # cuDNN otherwise computes fp32 convolutions in TF32, with a mantissa of 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        self._pieces, self._processor = pieces, processor
        step = processor.step
        assert isinstance(step, VideoFeatures)
        self._step, self._encoder = step, step.load_encoder()
        self._device = ",".join(map(str, ray.get_gpu_ids())) or CPU_DEVICE
        # An encoder that never receives a batch must still be shown as idle.
        record_device(processor.folder / "shards", self._device)

    def __call__(self, table: pa.Table) -> pa.Table:
        # One row per call (`batch_size=1`). Pixels stay in Arrow memory instead of becoming Python
        # bytes.
        (row,) = table.drop_columns(["pixels"]).to_pylist()
        start_s, features = time.perf_counter(), np.empty((0, 0, 0), np.float32)
        if row["owners"]:
            piece = self._pieces[row["piece"]]
            name = f"batch-{row['piece']}-{row['number']}"
            # A batch that does not fit into memory would kill every encoder that tries it.
            record_attempt(self._processor.folder, name, f"windows of {piece.text}")
            features = self._encode_batch(table["pixels"][0].as_buffer(), row["kept"])
        # Monotonic time measures the duration; wall-clock time can be compared between machines.
        row |= {"seen": features.tobytes(), "shape": list(features.shape), "device": self._device}
        row |= {"busy_s": time.perf_counter() - start_s, "ended_s": time.time()}
        return pa.Table.from_pylist([row])

    def _encode_batch(self, pixels: pa.Buffer, num_real_frames: list[int]) -> NDArray[np.float32]:
        """Encode a batch of windows and return its features, (B, K, D).

        Args:
            pixels: uint8 pixels of shape (B, F, H, W, 3) as one buffer; W is H times the number of
                crops.
            num_real_frames: Number of real frames of each window; the others are padding.
        """
        config, size = self._step.config, self._encoder.size
        # The width is inferred: crops of one frame stand side by side.
        shape = (len(num_real_frames), config.windows.num_frames, size, -1, 3)
        pixels_BFHWC = np.frombuffer(pixels, np.uint8).reshape(shape)
        windows = [
            Window(pixels_FHWC, num_real)
            for pixels_FHWC, num_real in zip(pixels_BFHWC, num_real_frames, strict=True)
        ]
        return encode_windows(self._encoder, windows, config.batch)


def _make_batch_row(
    piece: int, number: int, window_batch: Sequence[tuple[int, Window]], clip_outcomes: str
) -> pa.Table:
    """Convert a batch of windows to a table of one row.

    Args:
        piece: Number of the piece.
        number: Number of the batch within the piece.
        window_batch: Windows with the positions of their clips; empty for the last row of a piece.
        clip_outcomes: JSON result of every clip in the last row of a piece; empty in other rows.
    """
    pixels = b"".join(window.pixels_FHWC.tobytes() for _, window in window_batch)
    row = {
        "piece": [piece],
        "number": [number],
        "pixels": [pixels],
        "kept": [[window.num_real_frames for _, window in window_batch]],
        "owners": [[position for position, _ in window_batch]],
        "ended": [clip_outcomes],
    }
    return pa.table(row, schema=_BATCH_SCHEMA)


def _build_video_dataset(
    pieces: Sequence[VideoPiece], processor: ChunkProcessor, allocation: _ResourceAllocation
) -> ray.data.Dataset:
    """Build the lazy dataset: one block per piece, decoded and then encoded, in order."""
    items = [{"piece": number} for number in range(len(pieces))]
    pieces_dataset = disable_dataset_progress(
        ray.data.from_items(items, override_num_blocks=len(pieces))
    )
    # `_iter_piece_results` collects one piece at a time, so it needs the batches of a piece
    # together and in order.
    pieces_dataset.context.execution_options.preserve_order = True
    step = processor.step
    assert isinstance(step, VideoFeatures)
    decoded = pieces_dataset.map_batches(
        _VideoDecoder,
        batch_size=1,
        num_cpus=1,
        fn_constructor_args=(pieces, processor, step.load_encoder().size),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=allocation.num_decoders),
    )
    return decoded.map_batches(
        _WindowEncoder,
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=allocation.cpus_per_encoder,
        num_gpus=step.config.gpus,
        fn_constructor_args=(pieces, processor),
        compute=ray.data.ActorPoolStrategy(size=allocation.num_encoders),
    )


def _iter_piece_results(
    dataset: ray.data.Dataset, pieces: Sequence[VideoPiece], meter: ExtractionProgress
) -> Iterator[tuple[VideoPiece, VideoPieceResult]]:
    """Run the dataset; yield each piece and its result as soon as it is complete, in order."""
    result = VideoPieceResult()
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            piece = pieces[row["piece"]]
            if row["owners"]:
                meter.add_batch(len(row["owners"]), row["device"], row["busy_s"], row["ended_s"])
            add_batch_result(result, row)
            if row["ended"]:
                meter.add_clips(len(piece.entries))
                yield piece, result
                result = VideoPieceResult()
