"""Video extraction on Ray Data: CPUs decode, GPUs encode, and the driver joins the windows.

Decoders are actors with one CPU each; encoders hold the video model and have `features.gpus` GPUs
each, or a share of the CPUs (`video_actors`). The order of the clips alone determines which windows
share a batch, and every batch is padded to full size, so the bytes of the store depend neither on
the number of actors nor on which of them died. Batches are streamed from decoders to encoders.
"""

from collections.abc import Iterator, Sequence

import ray
import ray.data

from kinesweep.core.errors import StoreError
from kinesweep.features.video import VideoFeatures
from kinesweep.store.extraction.build import compute_chunks_locally
from kinesweep.store.extraction.chunk_processor import ChunkProcessor, ChunkResult
from kinesweep.store.extraction.extraction_progress import ExtractionProgress
from kinesweep.store.extraction.plan import ExtractionPlan
from kinesweep.store.extraction.ray_logging import disable_dataset_progress, silence_ray_data
from kinesweep.store.extraction.resource_allocation import ResourceAllocation, allocate_resources
from kinesweep.store.extraction.video_actors import VideoDecoder, WindowEncoder
from kinesweep.store.extraction.video_chunks import (
    VideoPiece,
    VideoPieceResult,
    add_batch_result,
    split_into_pieces,
    write_video_chunks,
)


def compute_video_chunks_on_ray(
    plan: ExtractionPlan, processor: ChunkProcessor, meter: ExtractionProgress
) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks of a video plan on the running Ray cluster.

    A plan that only copies clips, or a cluster with too few CPUs for a decoder beside an encoder,
    is computed in this process, without actors and without updates of the meter.

    Args:
        plan: Plan to execute.
        processor: Chunk processor with source, feature step, dtype and staging folder.
        meter: Progress meter that is updated after every batch and piece.

    Yields:
        Index of a chunk in the plan and its result, in the order of the plan.

    Raises:
        StoreError: If Ray is not running, or workers died repeatedly on the same clips or windows.
        ResourceError: If the cluster has fewer GPUs than one encoder needs.
    """
    if not ray.is_initialized():
        raise StoreError(
            "Ray is not running in this process; call `ray.init()` first, or use `extract_locally`"
        )
    step = processor.step
    assert isinstance(step, VideoFeatures)
    allocation = allocate_resources(
        plan.summary.num_to_compute, step.config, ray.cluster_resources()
    )
    if allocation is None:
        yield from compute_chunks_locally(plan, processor)
        return
    pieces = split_into_pieces(plan)
    meter.set_initial_state(
        plan.scan.num_clips, plan.summary.num_to_reuse, processor.folder / "shards"
    )
    with silence_ray_data():
        dataset = _build_video_dataset(pieces, processor, allocation)
        piece_results = _iter_piece_results(dataset, pieces, meter)
        yield from write_video_chunks(plan, processor, piece_results)


def _build_video_dataset(
    pieces: Sequence[VideoPiece], processor: ChunkProcessor, allocation: ResourceAllocation
) -> ray.data.Dataset:
    """Build the lazy dataset that decodes and encodes the pieces, one block per piece.

    The video model is loaded in this process too, because decoders need the size of its frames.

    Args:
        pieces: Pieces to compute.
        processor: Chunk processor that is sent to the actors.
        allocation: Numbers of actors, and CPUs per encoder.

    Returns:
        The dataset; its rows are the encoded batches, in the order of the pieces and, within a
        piece, in the order of its windows.
    """
    items = [{"piece": piece_index} for piece_index in range(len(pieces))]
    pieces_dataset = disable_dataset_progress(
        ray.data.from_items(items, override_num_blocks=len(pieces))
    )
    # `_iter_piece_results` collects one piece at a time, so it needs the batches of a piece
    # together and in order.
    pieces_dataset.context.execution_options.preserve_order = True
    step = processor.step
    assert isinstance(step, VideoFeatures)
    decoded_batches = pieces_dataset.map_batches(
        VideoDecoder,
        batch_size=1,
        num_cpus=1,
        fn_constructor_args=(pieces, processor, step.load_encoder("cpu").size),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=allocation.num_decoders),
    )
    return decoded_batches.map_batches(
        WindowEncoder,
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
    """Run the dataset, update the meter, and yield each piece with its result once it is complete.

    Args:
        dataset: Dataset from `_build_video_dataset`.
        pieces: Pieces from which it was built.
        meter: Progress meter that is updated after every batch and piece.

    Yields:
        Piece and result, in the order of the pieces.
    """
    result = VideoPieceResult()
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in batch.to_pylist():
            piece: VideoPiece = pieces[row["piece"]]
            if row["owners"]:
                meter.add_batch(len(row["owners"]), row["device"], row["busy_s"], row["ended_s"])
            add_batch_result(result, row)
            if row["ended"]:
                meter.add_clips(len(piece.tasks))
                yield piece, result
                result = VideoPieceResult()
