"""The Ray Data actors of video extraction: decoders of videos and encoders of windows.

A decoder takes a few clips at a time and emits batches of `features.batch` windows, in which
windows of consecutive clips may be mixed. It holds one window and the output that Ray has not yet
taken. An encoder holds the video model and returns the features of one batch at a time.

Shapes: B windows, F frames, H pixels high, W = H per crop, K time steps of a window, D width.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.features.video import VideoFeatures, encode_windows, iter_batches
from kinesweep.features.video_windows import Window
from kinesweep.store.extraction.chunk_processor import ChunkProcessor
from kinesweep.store.extraction.extraction_progress import CPU_DEVICE, record_device
from kinesweep.store.extraction.retry_limit import record_attempt
from kinesweep.store.extraction.video_chunks import VideoPiece

# `large_binary`: the 32-bit offsets of `binary` would limit a column to 2 GiB of pixels.
_BATCH_SCHEMA = pa.schema(
    [
        *(("piece", pa.int64()), ("number", pa.int64())),
        *(("pixels", pa.large_binary()), ("kept", pa.list_(pa.int64()))),
        *(("owners", pa.list_(pa.int64())), ("ended", pa.string())),
    ]
)


class VideoDecoder:
    """A Ray Data actor that takes the index of a piece and emits its windows batch by batch.

    Args:
        pieces: All pieces of the extraction.
        processor: Chunk processor with the source, the video feature step and the staging folder.
        frame_size: Height and width in pixels of the frames that the video model takes.
    """

    def __init__(
        self, pieces: Sequence[VideoPiece], processor: ChunkProcessor, frame_size: int
    ) -> None:
        self._pieces, self._processor, self._frame_size = pieces, processor, frame_size
        step = processor.step
        assert isinstance(step, VideoFeatures)
        self._step = step

    def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
        """Decode the pieces of a batch and yield their windows as rows for the encoders.

        Args:
            batch: Indices of pieces, in the column `piece`.

        Raises:
            StoreError: If workers died repeatedly on the same piece.
        """
        piece_index: int
        for piece_index in batch["piece"].tolist():
            piece = self._pieces[piece_index]
            record_attempt(self._processor.folder, f"piece-{piece_index}", piece.description)
            clip_outcomes: dict[int, Any] = {}
            window_batches = iter_batches(
                self._decode_windows(piece, clip_outcomes), self._step.config.batch
            )
            num_batches = 0
            for num_batches, window_batch in enumerate(window_batches, 1):
                yield _make_batch_row(piece_index, num_batches, window_batch, "")
            # A last row without windows ends the piece. `clip_outcomes` is complete only now: a
            # video can fail at any window.
            yield _make_batch_row(piece_index, num_batches + 1, [], json.dumps(clip_outcomes))

    def _decode_windows(
        self, piece: VideoPiece, clip_outcomes: dict[int, Any]
    ) -> Iterator[tuple[int, Window]]:
        """Decode the clips of a piece, one after another, and store the outcome of each clip.

        A clip that fails does not stop the others; its remaining windows are left out.

        Args:
            piece: Clips to decode.
            clip_outcomes: Output: position of a clip in the piece → frame rate of its video in Hz,
                or reason and message if the clip failed. It is complete after the last window.

        Yields:
            Position of the clip in the piece, and one of its windows.
        """
        for position, task in enumerate(piece.tasks):
            try:
                media = self._processor.clip_processor.read_media(task.clip)
                fps, windows = self._step.iter_segment_windows(media, self._frame_size)
                for window in windows:
                    yield position, window
                clip_outcomes[position] = fps
            # Windows of this clip that were already emitted are ignored later:
            # `VideoPieceResult.join_features` raises.
            except ClipError as error:
                clip_outcomes[position] = (error.reason, f"{task.clip.row}: {error}")


class WindowEncoder:
    """A Ray Data actor that takes a batch of windows and returns their features.

    Creating it loads the video model, limits PyTorch to one CPU thread, turns off TF32 convolutions
    in the process, and records the actor's device for the progress meter.

    Args:
        pieces: All pieces of the extraction.
        processor: Chunk processor with the video feature step and the staging folder.
    """

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
        """Encode the windows of one row and return the row with features instead of pixels.

        Args:
            table: One row of a decoder.

        Raises:
            StoreError: If workers died repeatedly on the same windows.
        """
        # One row per call (`batch_size=1`). Pixels stay in Arrow memory instead of becoming Python
        # bytes.
        (row,) = table.drop_columns(["pixels"]).to_pylist()
        start_s, features = time.perf_counter(), np.empty((0, 0, 0), np.float32)
        if row["owners"]:
            piece: VideoPiece = self._pieces[row["piece"]]
            attempt_name = f"batch-{row['piece']}-{row['number']}"
            # A batch that does not fit into memory would kill every encoder that tries it.
            record_attempt(self._processor.folder, attempt_name, f"windows of {piece.description}")
            features = self._encode_batch(table["pixels"][0].as_buffer(), row["kept"])
        # Monotonic time measures the duration; wall-clock time can be compared between machines.
        row |= {"seen": features.tobytes(), "shape": list(features.shape), "device": self._device}
        row |= {"busy_s": time.perf_counter() - start_s, "ended_s": time.time()}
        return pa.Table.from_pylist([row])

    def _encode_batch(self, pixels: pa.Buffer, num_real_frames: list[int]) -> NDArray[np.float32]:
        """Encode a batch of windows and return its features, (B, K, D) in float32.

        Args:
            pixels: uint8 pixels of shape (B, F, H, W, 3) as one buffer; W is H times the number of
                crops.
            num_real_frames: Number of real frames of each window, B values; the other frames are
                padding.
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
    piece_index: int,
    batch_number: int,
    windows: Sequence[tuple[int, Window]],
    clip_outcomes_json: str,
) -> pa.Table:
    """Convert a batch of windows to a table of one row, which an encoder receives.

    Args:
        piece_index: Index of the piece that the windows come from.
        batch_number: Number of the batch within the piece, from 1.
        windows: Position of a clip in the piece and one of its windows; empty in the last row of a
            piece.
        clip_outcomes_json: Outcome of every clip of the piece as JSON, in its last row; empty in
            other rows.
    """
    pixels = b"".join(window.pixels_FHWC.tobytes() for _, window in windows)
    row = {
        "piece": [piece_index],
        "number": [batch_number],
        "pixels": [pixels],
        "kept": [[window.num_real_frames for _, window in windows]],
        "owners": [[position for position, _ in windows]],
        "ended": [clip_outcomes_json],
    }
    return pa.table(row, schema=_BATCH_SCHEMA)
