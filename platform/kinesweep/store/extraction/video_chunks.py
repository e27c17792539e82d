"""Assembly of video features: results of encoder actors are collected and written as chunks.

A piece is a group of clips for one decoder; its batches return in order. Once the last batch of a
chunk's last piece has arrived, the shard of the chunk is written. This module does not use Ray;
`extract_videos` drives it.

Shapes: B windows, K time steps of a window, D width.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError
from kinesweep.features.contract import Features
from kinesweep.features.video import VideoFeatures, iter_batches
from kinesweep.features.window_stitcher import WindowStitcher
from kinesweep.store.extraction.chunk_processor import (
    ChunkProcessor,
    ChunkResult,
    ClipTask,
    ComputeFeatures,
)
from kinesweep.store.extraction.clip_processor import ComputedFeatures
from kinesweep.store.extraction.plan import ExtractionPlan

CLIPS_PER_PIECE = 8
"""Clips that a decoder takes at a time; they are decoded again if it dies."""


@dataclass(frozen=True)
class VideoPiece:
    """A group of clips of one chunk, which one actor decodes together.

    Attributes:
        chunk_index: Index of the chunk to which the clips belong.
        tasks: Clips in the order of the chunk.
    """

    chunk_index: int
    tasks: tuple[ClipTask, ...]

    @property
    def description(self) -> str:
        """Return the first and last clip of the piece as text for messages."""
        return f"the clips `{self.tasks[0].clip.id}` to `{self.tasks[-1].clip.id}`"


@dataclass
class VideoPieceResult:
    """The encoder results for a piece.

    Attributes:
        window_features: Position of a clip in the piece → features (K, D) of each of its windows.
        num_real_frames: Position of a clip → number of real frames in its last window.
        clip_outcomes: Position of a clip → frame rate of its video in Hz, or reason and message if
            the clip failed.
    """

    window_features: dict[int, list[NDArray[np.float32]]] = field(default_factory=dict)
    num_real_frames: dict[int, int] = field(default_factory=dict)
    clip_outcomes: dict[int, float | tuple[str, str]] = field(default_factory=dict)

    def join_features(self, position: int, stitcher: WindowStitcher) -> Features:
        """Join the encoded windows of one clip and return the features of the whole clip.

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
            stitcher.stitch_windows(self.window_features[position], self.num_real_frames[position]),
            stitcher.compute_rate_hz(fps),
        )


def split_into_pieces(plan: ExtractionPlan) -> list[VideoPiece]:
    """Split the clips of a plan that must be computed into pieces of at most `CLIPS_PER_PIECE`.

    Returns:
        The pieces, in the order of the clips in the plan.
    """
    pieces = []
    for chunk_index, chunk in enumerate(plan.chunks):
        # Pieces never cross chunks: `write_video_chunks` completes a chunk after its last piece.
        uncached_tasks = [task for task in chunk.tasks if task.cached is None]
        pieces += [
            VideoPiece(chunk_index, tuple(tasks))
            for tasks in iter_batches(uncached_tasks, CLIPS_PER_PIECE)
        ]
    return pieces


def add_batch_result(result: VideoPieceResult, row: Mapping[str, Any]) -> None:
    """Add an encoded batch to the result of its piece, which is changed in place.

    Args:
        result: Result of the piece after its earlier batches.
        row: Row returned by an encoder; the last row of a piece has no windows, but the outcome of
            every clip.
    """
    features_BKD = np.frombuffer(row["seen"], np.float32).reshape(row["shape"])
    for position, window_KD, num_real in zip(row["owners"], features_BKD, row["kept"], strict=True):
        result.window_features.setdefault(position, []).append(window_KD)
        # Windows arrive in order, so the value of the last window remains.
        result.num_real_frames[position] = num_real
    # Only the last row of a piece carries the outcomes; in all others `ended` is empty.
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
    """Write the shard of each chunk as soon as the last piece of the chunk has arrived.

    Chunks whose clips are all copied need no piece. The video model is loaded, because joining
    windows depends on it.

    Args:
        plan: Plan to execute.
        processor: Chunk processor that writes the shards.
        piece_results: Finished pieces with their results, in the order of `split_into_pieces`.

    Yields:
        Index of a chunk in the plan and its result, in the order of the plan.
    """
    step = processor.step
    assert isinstance(step, VideoFeatures)
    stitcher = step.build_stitcher(step.load_encoder("cpu"))
    groups = groupby(piece_results, key=_get_chunk_index)
    # `groupby` is lazy and shares its iterator: a group must be consumed before the next one is
    # requested, or it is lost.
    next_group = next(groups, None)
    for chunk_index, chunk in enumerate(plan.chunks):
        feature_functions: dict[str, Callable[[], ComputedFeatures]] = {}
        if next_group is not None and next_group[0] == chunk_index:
            for piece, result in next_group[1]:
                # Joining is deferred until the chunk is written: a failed clip then raises inside
                # `processor`, which turns the error into a status.
                feature_functions |= {
                    task.clip.id: _make_lazy_features(result, position, stitcher, step)
                    for position, task in enumerate(piece.tasks)
                }
            next_group = next(groups, None)
        yield chunk_index, processor(chunk, _make_compute_features(feature_functions, processor))


def _get_chunk_index(piece_result: tuple[VideoPiece, VideoPieceResult]) -> int:
    """Return the index of the chunk to which a piece belongs, for grouping."""
    piece, _ = piece_result
    return piece.chunk_index


def _make_lazy_features(
    result: VideoPieceResult, position: int, stitcher: WindowStitcher, step: VideoFeatures
) -> Callable[[], ComputedFeatures]:
    """Return a function that joins the windows of one clip when it is called.

    Args:
        result: Result of the piece that contains the clip.
        position: Position of the clip in the piece.
        stitcher: Window stitcher that joins the windows.
        step: Feature step, whose streams all get the joined features.
    """
    return lambda: ComputedFeatures(
        dict.fromkeys(step.streams, result.join_features(position, stitcher))
    )


def _make_compute_features(
    feature_functions: dict[str, Callable[[], ComputedFeatures]], processor: ChunkProcessor
) -> ComputeFeatures:
    """Return the function from which the chunk processor gets the features of a clip.

    Args:
        feature_functions: ID of an encoded clip → function that joins its windows.
        processor: Chunk processor that computes clips which were not encoded.
    """

    def compute_features(task: ClipTask) -> ComputedFeatures:
        """Return the features of a clip from its windows, or compute them from its media."""
        # A clip to be copied has no piece; if its copy is damaged, it is computed in this process.
        join_features = feature_functions.get(task.clip.id)
        return processor.compute_features(task) if join_features is None else join_features()

    return compute_features
