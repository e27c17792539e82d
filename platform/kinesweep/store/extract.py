"""Extraction on Ray Data: the chunks of a plan over a pool of actors.

Each actor writes its shards to the store's folder itself, so features never pass through the
object store; what comes back is one small row a clip with its status. A bad clip is such a row,
never an exception: `max_errored_blocks` would drop its neighbours. The store's root must be a
folder that all nodes see, and workers must be able to import `kinesweep` (installed, or
PYTHONPATH in the job's runtime environment). Actors take one CPU; Ray then sets
OMP_NUM_THREADS=1 for them.

Nothing is printed: Ray Data's bars and its start-up report are off for this data set (for others
of the same process RAY_DATA_DISABLE_PROGRESS_BARS=1 does that); use `progress`. Starting the pool
costs 1.5 to 4 s; below some hundred clips `build.extract_locally` is done sooner.
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

from kinesweep.core.errors import ResourceError, StoreError
from kinesweep.core.pose import PointLayout
from kinesweep.core.recipe import Recipe
from kinesweep.store.attempts import count_attempt
from kinesweep.store.build import Announce, Execute, Progress, build_store, compute_here
from kinesweep.store.compute import Chunk, ChunkResult, ClipStatus, Computer, StreamStatus
from kinesweep.store.plan import Plan
from kinesweep.store.quiet import calm, quiet
from kinesweep.store.reader import Store
from kinesweep.store.survey import Extraction
from kinesweep.store.writer import FileMark


def extract(
    recipe: Recipe,
    root: Path | None = None,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Store:
    """Extracts a recipe's corpus on the running Ray.

    Args:
        recipe: names corpus, features and store.
        root: folder of all stores; default: the recipe's, then the state folder's.
        progress: told of every chunk.
        announce: told the plan before it is carried out.

    Raises:
        SourceError: the corpus is faulty as a whole.
        StoreError: Ray is not running, too many clips dropped, a split incomplete, or too little
            disk.
    """
    extraction = Extraction.from_recipe(recipe, root)
    execute: Execute = compute_on_ray
    if recipe.features.kind == "video":
        from kinesweep.store.extract_videos import watch_on_ray
        from kinesweep.store.watched import Meter

        progress = Meter(progress)
        execute = partial(watch_on_ray, meter=progress)
    return build_store(extraction, execute, progress, announce)


def compute_on_ray(plan: Plan, computer: Computer) -> Iterator[tuple[int, ChunkResult]]:
    """Computes a plan's chunks on the running Ray, in order; what is only copied stays here."""
    if not ray.is_initialized():
        raise StoreError(
            "Ray is not running in this process; call `ray.init()` first, or use `extract_locally`"
        )
    if plan.summary.compute == 0:
        yield from compute_here(plan, computer)
        return
    with quiet():
        for batch in _dataset(plan, computer).iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from _results(batch.to_pylist())


class _ChunkWorker:
    """An actor's body: one chunk's number in, one row a clip out."""

    def __init__(self, chunks: Sequence[Chunk], computer: Computer) -> None:
        self._chunks = chunks
        self._computer = computer

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        rows = []
        for number in batch["number"].tolist():
            chunk = self._chunks[number]
            clips = f"the clips `{chunk.entries[0].clip.id}` to `{chunk.entries[-1].clip.id}`"
            count_attempt(self._computer.folder, str(number), clips)
            result = self._computer(chunk)
            mark = asdict(result.shard or FileMark(0, ""))
            rows += [{"number": number, **mark, **_row(status)} for status in result.statuses]
        table = pa.Table.from_pylist(rows)
        # Some hundred names, the same for every clip of a chunk: they travel once.
        layouts = table["layouts"].combine_chunks().dictionary_encode()
        return table.set_column(table.schema.get_field_index("layouts"), "layouts", layouts)


def _dataset(plan: Plan, computer: Computer) -> ray.data.Dataset:
    """The lazy data set: one block a chunk, mapped by an actor pool, order kept."""
    count = len(plan.chunks)
    workers = min(count, int(ray.cluster_resources().get("CPU", 0)))
    if workers < 1:
        raise ResourceError("the Ray cluster has no CPU; extraction needs at least one")
    items = [{"number": number} for number in range(count)]
    chunks = calm(ray.data.from_items(items, override_num_blocks=count))
    chunks.context.execution_options.preserve_order = True
    return chunks.map_batches(
        _ChunkWorker,
        batch_size=1,
        num_cpus=1,
        fn_constructor_args=(plan.chunks, computer),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
    )


def _results(rows: list[dict[str, Any]]) -> Iterator[tuple[int, ChunkResult]]:
    """Chunk results out of status rows; a block holds whole chunks."""
    by_chunk: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_chunk.setdefault(row.pop("number"), []).append(row)
    for number, own in by_chunk.items():
        marks = [FileMark(row.pop("num_bytes"), row.pop("sha256")) for row in own]
        statuses = tuple(_status(row) for row in own)
        yield number, ChunkResult(statuses, marks[0] if marks[0].sha256 else None)


def _row(status: ClipStatus) -> dict[str, Any]:
    """A status as plain values: its streams as text, and their points as a text of its own."""
    streams = {name: (s.frames, s.width, s.rate_hz) for name, s in status.streams.items()}
    layouts = [s.layout.to_json() if s.layout else None for s in status.streams.values()]
    return {**vars(status), "streams": json.dumps(streams), "layouts": json.dumps(layouts)}


def _status(row: dict[str, Any]) -> ClipStatus:
    """The status of a row."""
    layouts = _layouts(row.pop("layouts"))
    known = zip(json.loads(row.pop("streams")).items(), layouts, strict=True)
    streams = {
        name: StreamStatus(frames, width, rate_hz, layout)
        for (name, (frames, width, rate_hz)), layout in known
    }
    return ClipStatus(**row, streams=streams)


@lru_cache(maxsize=64)
def _layouts(named: str) -> tuple[PointLayout | None, ...]:
    """The points of a row's streams."""
    return tuple(PointLayout.from_json(one) if one else None for one in json.loads(named))
