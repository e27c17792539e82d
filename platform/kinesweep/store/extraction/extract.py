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
from kinesweep.config.recipe.features.feature_epochs import list_epoch_recipes
from kinesweep.core.errors import ResourceError, StoreError
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.vocabulary import TokenVocabulary
from kinesweep.features.quality.media_statistics import MediaStatistics
from kinesweep.store.combined.combine import combine_part_stores
from kinesweep.store.combined.epoch_store import combine_epoch_stores
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
)
from kinesweep.store.extraction.clip_processor import StreamStatus
from kinesweep.store.extraction.corpus_scan import ExtractionSpec
from kinesweep.store.extraction.extraction_progress import ExtractionProgress
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

    An entry point, so it takes the whole recipe: source, features and store determine the store
    together (see `ExtractionSpec.from_recipe`). Several parts of features, and variants of training
    clips, are extracted one after the other, each by the executor of its kind, and combined.

    Args:
        recipe: Recipe that defines the corpus, the features and the store.
        root: Folder that contains all stores. Default: `store.root` of the recipe, then the state
            folder.
        progress: Callback that receives the numbers of finished and of all clips after every chunk,
            for videos also after every piece.
        on_plan: Callback that receives the summary of the plan before the first clip; it is not
            called if the store exists.

    Returns:
        The new store, or the existing one if the corpus has not changed.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
        StoreError: If Ray is not running, workers died repeatedly on the same clips, too many clips
            are dropped, a split is incomplete or empty, disk space is too low, or the existing
            store is damaged.
        ResourceError: If the cluster lacks the resources that the recipe needs.
    """
    extract_part = partial(extract_on_ray, root=root, progress=progress, on_plan=on_plan)
    if recipe.part_recipes:
        return combine_part_stores(recipe, extract_part)
    if list_epoch_recipes(recipe):
        return combine_epoch_stores(recipe, extract_part)
    extraction = ExtractionSpec.from_recipe(recipe, root)
    executor: ChunkExecutor = compute_chunks_on_ray
    if recipe.features.kind == "video":
        # Imported here because only video extraction needs the video model.
        from kinesweep.store.extraction.extract_videos import compute_video_chunks_on_ray

        meter = ExtractionProgress(progress)
        executor = partial(compute_video_chunks_on_ray, meter=meter)
        # The meter adds its throughput to the chunks that `build_store` reports.
        progress = meter
    return build_store(extraction, executor, progress, on_plan)


def compute_chunks_on_ray(
    plan: ExtractionPlan, processor: ChunkProcessor
) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks of a plan on the running Ray cluster.

    A plan that only copies clips runs in this process, without an actor pool.

    Args:
        plan: Plan to execute.
        processor: Chunk processor that is sent to the actors.

    Yields:
        Index of a chunk in the plan and its result, in the order of the plan.

    Raises:
        StoreError: If Ray is not running, or workers died repeatedly on the same chunk.
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
        # `batch_size=None` keeps the blocks: rebatching by rows could split a chunk.
        for batch in _build_chunk_dataset(plan, processor).iter_batches(
            batch_size=None, batch_format="pyarrow"
        ):
            yield from _parse_chunk_results(batch.to_pylist())


class _ChunkWorker:
    """A Ray Data actor that takes the index of a chunk and returns one row per clip.

    Args:
        chunks: All chunks of the plan.
        processor: Chunk processor that writes the shards.
    """

    def __init__(self, chunks: Sequence[ClipChunk], processor: ChunkProcessor) -> None:
        self._chunks = chunks
        self._processor = processor

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        rows = []
        chunk_index: int
        for chunk_index in batch["number"].tolist():
            chunk = self._chunks[chunk_index]
            clips_text = f"the clips `{chunk.tasks[0].clip.id}` to `{chunk.tasks[-1].clip.id}`"
            # Ray restarts an actor whose process died and submits the chunk again, without limit.
            record_attempt(self._processor.folder, str(chunk_index), clips_text)
            result = self._processor(chunk)
            # An empty hash stands for a chunk without a shard; `_parse_chunk_results` reverses it.
            checksum = asdict(result.shard or FileChecksum(0, ""))
            rows += [
                {"number": chunk_index, **checksum, **_encode_clip_status(status)}
                for status in result.statuses
            ]
        table = pa.Table.from_pylist(rows)
        # A layout has some hundred point names, the same for every clip of a chunk; dictionary
        # encoding sends them once.
        layouts = table["layouts"].combine_chunks().dictionary_encode()
        return table.set_column(table.schema.get_field_index("layouts"), "layouts", layouts)


def _build_chunk_dataset(plan: ExtractionPlan, processor: ChunkProcessor) -> ray.data.Dataset:
    """Build the lazy dataset that computes the chunks of a plan, one block per chunk.

    Args:
        plan: Plan with at least one chunk.
        processor: Chunk processor that is sent to the actors.

    Returns:
        The dataset; its rows are the statuses of the clips, in the order of the plan.

    Raises:
        ResourceError: If the cluster has no CPU.
    """
    num_chunks = len(plan.chunks)
    max_workers = min(num_chunks, int(ray.cluster_resources().get("CPU", 0)))
    if max_workers < 1:
        raise ResourceError("the Ray cluster has no CPU; extraction needs at least one")
    # Blocks carry only chunk indices; the chunks themselves reach each actor once, as an argument
    # of its constructor.
    items = [{"number": chunk_index} for chunk_index in range(num_chunks)]
    chunks = disable_dataset_progress(ray.data.from_items(items, override_num_blocks=num_chunks))
    # The order of Ray Data's output is unspecified otherwise.
    chunks.context.execution_options.preserve_order = True
    return chunks.map_batches(
        _ChunkWorker,
        batch_size=1,
        num_cpus=1,
        fn_constructor_args=(plan.chunks, processor),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max_workers),
    )


def _parse_chunk_results(rows: list[dict[str, Any]]) -> Iterator[tuple[int, ChunkResult]]:
    """Parse the rows of a block of `_ChunkWorker`, which contains only complete chunks.

    Args:
        rows: One row per clip; the parsed keys are removed from the rows.

    Yields:
        Index of a chunk in the plan and its result, in the order of the rows.
    """
    rows_by_chunk: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        rows_by_chunk.setdefault(row.pop("number"), []).append(row)
    for chunk_index, chunk_rows in rows_by_chunk.items():
        # Every row of a chunk repeats the checksum of its shard, so the first one is enough.
        checksums = [FileChecksum(row.pop("num_bytes"), row.pop("sha256")) for row in chunk_rows]
        statuses = tuple(_decode_clip_status(row) for row in chunk_rows)
        yield chunk_index, ChunkResult(statuses, checksums[0] if checksums[0].sha256 else None)


def _encode_clip_status(status: ClipStatus) -> dict[str, Any]:
    """Convert a status to a row of plain values, with all that is nested as JSON strings."""
    streams = {
        name: {key: value for key, value in vars(stream).items() if key != "layout"}
        | {"vocabulary": stream.vocabulary.to_json() if stream.vocabulary else None}
        for name, stream in status.streams.items()
    }
    # A column of its own can be dictionary-encoded; lengths and rates differ from clip to clip.
    layouts = [
        stream.layout.to_json() if stream.layout else None for stream in status.streams.values()
    ]
    statistics = None if status.statistics is None else vars(status.statistics)
    return {
        **vars(status),
        "streams": json.dumps(streams),
        "layouts": json.dumps(layouts),
        "statistics": json.dumps(statistics),
    }


def _decode_clip_status(row: dict[str, Any]) -> ClipStatus:
    """Convert a row from `_encode_clip_status` back to a status; the row loses its JSON strings."""
    layouts = _parse_layouts(row.pop("layouts"))
    streams = {}
    for (name, values), layout in zip(json.loads(row.pop("streams")).items(), layouts, strict=True):
        vocabulary = values.pop("vocabulary")
        vocabulary = TokenVocabulary.from_json(vocabulary) if vocabulary else None
        streams[name] = StreamStatus(**values, layout=layout, vocabulary=vocabulary)
    statistics = json.loads(row.pop("statistics"))
    return ClipStatus(
        **row, streams=streams, statistics=statistics and MediaStatistics(**statistics)
    )


# Cached so that equal layouts are parsed once and share one object in the driver.
@lru_cache(maxsize=64)
def _parse_layouts(layouts_json: str) -> tuple[PointLayout | None, ...]:
    """Parse the JSON list with the point layout of each stream; None: the stream has no points."""
    return tuple(
        PointLayout.from_json(layout) if layout else None for layout in json.loads(layouts_json)
    )
