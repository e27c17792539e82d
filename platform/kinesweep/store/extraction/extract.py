"""Extraction on Ray Data: a pool of actors computes the chunks of a plan.

Each actor writes its shards directly to the staging folder, so features never pass through the
object store; an actor returns one small status row per clip. A failed clip is such a row, never an
exception, because `max_errored_blocks` would drop its neighbors too. All nodes must see the
store's root folder, and workers must be able to import `kinesweep` (installed, or PYTHONPATH in the
job's runtime environment). Actors take one CPU; Ray then sets OMP_NUM_THREADS=1 for them.

Nothing is printed: the progress bars and start-up report of Ray Data are turned off for this
dataset (RAY_DATA_DISABLE_PROGRESS_BARS=1 turns them off for other datasets of the process); use
`progress` instead. Starting the pool costs 1.5 to 4 s; below a few hundred clips
`build.extract_locally` is faster.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import ResourceError, StoreError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.store.extraction.build import (
    ChunkExecutor,
    ClipProgressCallback,
    PlanCallback,
    build_store,
    compute_chunks_locally,
)
from kinesweep.store.extraction.chunk_processor import (
    ChunkProcessor,
    ChunkResult,
    ClipChunk,
    ClipStatus,
    StreamStatus,
)
from kinesweep.store.extraction.corpus_scan import ExtractionSpec
from kinesweep.store.extraction.plan import ExtractionPlan
from kinesweep.store.extraction.ray_logging import disable_dataset_progress, silence_ray_data
from kinesweep.store.extraction.retry_limit import record_attempt
from kinesweep.store.format.reader import Store
from kinesweep.store.format.writer import FileChecksum


def extract_on_ray(
    recipe: Recipe,
    root: Path | None = None,
    progress: ClipProgressCallback | None = None,
    on_plan: PlanCallback | None = None,
) -> Store:
    """Extract the corpus of a recipe on the running Ray cluster.

    Args:
        recipe: Recipe that defines the corpus, the features and the store.
        root: Folder that contains all stores. Default: `store.root` of the recipe, then the state
            folder.
        progress: Callback that is called after every chunk.
        on_plan: Callback that receives the plan before it is executed.

    Returns:
        The new store, or the existing one if the corpus has not changed.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
        StoreError: If Ray is not running, too many clips are dropped, a split is incomplete, or
            disk space is too low.
        ResourceError: If the cluster lacks the resources that the recipe needs.
    """
    extraction = ExtractionSpec.from_recipe(recipe, root)
    executor: ChunkExecutor = compute_chunks_on_ray
    if recipe.features.kind == "video":
        # Imported here because only video extraction needs the video model.
        from kinesweep.store.extraction.extract_videos import compute_video_chunks_on_ray
        from kinesweep.store.extraction.video_chunks import ExtractionProgress

        progress = ExtractionProgress(progress)
        executor = partial(compute_video_chunks_on_ray, meter=progress)
    return build_store(extraction, executor, progress, on_plan)


def compute_chunks_on_ray(
    plan: ExtractionPlan, processor: ChunkProcessor
) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks of a plan on the running Ray cluster; yield (number, result) in order.

    A plan that only copies clips runs in this process, without an actor pool.

    Raises:
        StoreError: If Ray is not running.
        ResourceError: If the cluster has no CPU.
    """
    if not ray.is_initialized():
        raise StoreError(
            "Ray is not running in this process; call `ray.init()` first, or use `extract_locally`"
        )
    if plan.summary.num_to_compute == 0:
        yield from compute_chunks_locally(plan, processor)
        return
    with silence_ray_data():
        for batch in _build_chunk_dataset(plan, processor).iter_batches(
            batch_size=None, batch_format="pyarrow"
        ):
            yield from _parse_chunk_results(batch.to_pylist())


class _ChunkWorker:
    """A Ray Data actor that takes the number of a chunk and returns one row per clip."""

    def __init__(self, chunks: Sequence[ClipChunk], processor: ChunkProcessor) -> None:
        self._chunks = chunks
        self._processor = processor

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        rows = []
        for number in batch["number"].tolist():
            chunk = self._chunks[number]
            clips = f"the clips `{chunk.entries[0].clip.id}` to `{chunk.entries[-1].clip.id}`"
            # Ray restarts an actor whose process died and submits the chunk again, without limit.
            record_attempt(self._processor.folder, str(number), clips)
            result = self._processor(chunk)
            # An empty hash stands for a chunk without a shard; `_parse_chunk_results` reverses it.
            checksum = asdict(result.shard or FileChecksum(0, ""))
            rows += [
                {"number": number, **checksum, **_encode_clip_status(status)}
                for status in result.statuses
            ]
        table = pa.Table.from_pylist(rows)
        # A layout has some hundred point names, the same for every clip of a chunk; dictionary
        # encoding sends them once.
        layouts = table["layouts"].combine_chunks().dictionary_encode()
        return table.set_column(table.schema.get_field_index("layouts"), "layouts", layouts)


def _build_chunk_dataset(plan: ExtractionPlan, processor: ChunkProcessor) -> ray.data.Dataset:
    """Build the lazy dataset: one block per chunk, mapped by an actor pool, in order."""
    num_chunks = len(plan.chunks)
    workers = min(num_chunks, int(ray.cluster_resources().get("CPU", 0)))
    if workers < 1:
        raise ResourceError("the Ray cluster has no CPU; extraction needs at least one")
    # Blocks carry only chunk numbers; the chunks themselves reach each actor once, as an argument
    # of its constructor.
    items = [{"number": number} for number in range(num_chunks)]
    chunks = disable_dataset_progress(ray.data.from_items(items, override_num_blocks=num_chunks))
    # The order of Ray Data's output is unspecified otherwise.
    chunks.context.execution_options.preserve_order = True
    return chunks.map_batches(
        _ChunkWorker,
        batch_size=1,
        num_cpus=1,
        fn_constructor_args=(plan.chunks, processor),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
    )


def _parse_chunk_results(rows: list[dict[str, Any]]) -> Iterator[tuple[int, ChunkResult]]:
    """Parse status rows and yield (number, result) of each chunk; a block holds whole chunks."""
    by_chunk: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_chunk.setdefault(row.pop("number"), []).append(row)
    for number, chunk_rows in by_chunk.items():
        # Every row of a chunk repeats the checksum of its shard, so the first one is enough.
        checksums = [FileChecksum(row.pop("num_bytes"), row.pop("sha256")) for row in chunk_rows]
        statuses = tuple(_decode_clip_status(row) for row in chunk_rows)
        yield number, ChunkResult(statuses, checksums[0] if checksums[0].sha256 else None)


def _encode_clip_status(status: ClipStatus) -> dict[str, Any]:
    """Convert a status to plain values, with streams and layouts as separate JSON strings."""
    streams = {name: (s.num_frames, s.width, s.rate_hz) for name, s in status.streams.items()}
    # A column of its own can be dictionary-encoded; lengths and rates differ from clip to clip.
    layouts = [s.layout.to_json() if s.layout else None for s in status.streams.values()]
    return {**vars(status), "streams": json.dumps(streams), "layouts": json.dumps(layouts)}


def _decode_clip_status(row: dict[str, Any]) -> ClipStatus:
    """Convert a row from `_encode_clip_status` back to a status."""
    layouts = _parse_layouts(row.pop("layouts"))
    stream_items = zip(json.loads(row.pop("streams")).items(), layouts, strict=True)
    streams = {
        name: StreamStatus(frames, width, rate_hz, layout)
        for (name, (frames, width, rate_hz)), layout in stream_items
    }
    return ClipStatus(**row, streams=streams)


# Cached so that equal layouts are parsed once and share one object in the driver.
@lru_cache(maxsize=64)
def _parse_layouts(layouts_json: str) -> tuple[PointLayout | None, ...]:
    """Parse the JSON list of the layouts of a row's streams."""
    return tuple(PointLayout.from_json(one) if one else None for one in json.loads(layouts_json))
