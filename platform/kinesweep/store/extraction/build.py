"""The steps that build a store: corpus scan, plan, chunks and manifest. This module has no Ray.

The caller passes in the function that computes the chunks: in this process (`extract_locally`) or
on a pool of actors (`extract.extract_on_ray`). The result does not depend on the executor, nor on
which clips could be copied, so both write the same bytes. For an unchanged corpus only the scan
runs.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.feature_epochs import list_epoch_recipes
from kinesweep.core.clip import InvalidRow
from kinesweep.store.combined.combine import combine_part_stores
from kinesweep.store.combined.epoch_store import combine_epoch_stores
from kinesweep.store.extraction.chunk_processor import ChunkProcessor, ChunkResult
from kinesweep.store.extraction.corpus_scan import CorpusScan, ExtractionSpec, scan_corpus
from kinesweep.store.extraction.drop_policy import (
    check_dropped_share,
    check_required_splits,
    check_splits_not_empty,
)
from kinesweep.store.extraction.finalize import finalize_store
from kinesweep.store.extraction.plan import (
    ExtractionPlan,
    ExtractionPlanSummary,
    check_disk_space,
    make_extraction_plan,
)
from kinesweep.store.format.reader import ExtractionCounts, Store, open_store
from kinesweep.store.format.staging import commit_store_dir, create_staging_dir
from kinesweep.store.format.video_frames import record_video_source


class ClipProgressCallback(Protocol):
    """A callback that receives the progress of an extraction of clips, or a pose estimation."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report the progress.

        Args:
            done: Number of finished clips, or videos of a pose estimation.
            total: Number of all clips or videos.
            note: Text to show beside the numbers; empty if there is none.
        """


PlanCallback = Callable[[ExtractionPlanSummary], None]
"""Callback that receives the summary of the plan, once before the first clip. It is not called if
the store exists."""
ChunkExecutor = Callable[[ExtractionPlan, ChunkProcessor], Iterator[tuple[int, ChunkResult]]]
"""Function that computes the chunks of a plan in any order and yields each chunk's index and
result."""


def extract_locally(
    recipe: Recipe,
    root: Path | None = None,
    progress: ClipProgressCallback | None = None,
    on_plan: PlanCallback | None = None,
) -> Store:
    """Extract the corpus of a recipe in this process, one clip after another.

    An entry point, so it takes the whole recipe: source, features and store determine the store
    together (see `ExtractionSpec.from_recipe`). Several parts of features, and variants of training
    clips, are extracted one after the other and combined.

    Args:
        recipe: Recipe that defines the corpus, the features and the store.
        root: Folder that contains all stores. Default: `store.root` of the recipe, then the state
            folder.
        progress: Callback that receives the numbers of finished and of all clips after every chunk.
        on_plan: Callback that receives the summary of the plan before the first clip; it is not
            called if the store exists.

    Returns:
        The new store, or the existing one if the corpus has not changed.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
        StoreError: If too many clips are dropped, a split is incomplete or empty, disk space is too
            low, or the existing store is damaged.
    """
    extract_part = partial(extract_locally, root=root, progress=progress, on_plan=on_plan)
    if recipe.part_recipes:
        return combine_part_stores(recipe, extract_part)
    if list_epoch_recipes(recipe):
        return combine_epoch_stores(recipe, extract_part)
    extraction = ExtractionSpec.from_recipe(recipe, root)
    return build_store(extraction, compute_chunks_locally, progress, on_plan)


def compute_chunks_locally(
    plan: ExtractionPlan, processor: ChunkProcessor
) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks of a plan in this process, one after another.

    Args:
        plan: Plan to execute.
        processor: Chunk processor that writes the shards.

    Yields:
        Index of a chunk in the plan and its result, in the order of the plan.
    """
    for chunk_index, chunk in enumerate(plan.chunks):
        yield chunk_index, processor(chunk)


def build_store(
    extraction: ExtractionSpec,
    executor: ChunkExecutor = compute_chunks_locally,
    progress: ClipProgressCallback | None = None,
    on_plan: PlanCallback | None = None,
) -> Store:
    """Build the store of an extraction, or open the existing one if the corpus has not changed.

    Args:
        extraction: Source, feature step, limits on dropped clips, and root of all stores.
        executor: Function that computes the chunks of the plan.
        progress: Callback that receives the numbers of finished and of all clips after every chunk.
        on_plan: Callback that receives the summary of the plan before the first clip; it is not
            called if the store exists.

    Returns:
        The store; its `extraction` attribute counts the clips that were computed, copied and
        dropped.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
        StoreError: If too many clips are dropped, a split is incomplete or empty, disk space is too
            low, or the existing store is damaged.
        ResourceError: If the executor needs resources that the cluster lacks.
    """
    scan = scan_corpus(extraction)
    store_dir = extraction.root / scan.folder_name
    if store_dir.is_dir():
        return _open_existing_store(extraction, store_dir)
    _check_scan(extraction, scan)
    plan = make_extraction_plan(extraction, scan)
    check_disk_space(plan.summary)
    if on_plan is not None:
        on_plan(plan.summary)
    # Nothing appears under the final name until `commit_store_dir` renames the complete folder.
    with create_staging_dir(extraction.root) as folder:
        processor = ChunkProcessor(extraction.source, extraction.step, extraction.dtype, folder)
        results = _collect_results(plan, executor(plan, processor), progress)
        dropped_rows = finalize_store(extraction, plan, results, folder)
        # Another process may have committed an equal store first; then this one is discarded and
        # `store_dir` is opened all the same.
        commit_store_dir(folder, store_dir)
    _record_videos(extraction, store_dir)
    store = open_store(store_dir)
    dropped_ids = {row.clip_id for row in dropped_rows}
    # A copied clip that disagrees with the others is dropped, not reused.
    num_reused = sum(
        status.reused and task.clip.id not in dropped_ids
        for chunk, result in zip(plan.chunks, results, strict=True)
        for task, status in zip(chunk.tasks, result.statuses, strict=True)
    )
    num_rows = scan.num_clips + len(scan.invalid_rows)
    num_computed = num_rows - len(dropped_rows) - num_reused
    store.extraction = ExtractionCounts(num_computed, num_reused, len(dropped_rows))
    return store


def _check_scan(extraction: ExtractionSpec, scan: CorpusScan) -> None:
    """Check the limits on dropped clips with the rows that are known to be invalid after the scan.

    `finalize_store` checks again with the clips that failed during extraction.

    Args:
        extraction: Extraction with the limits.
        scan: Scan of the corpus.

    Raises:
        StoreError: If too many rows are invalid, or a split is incomplete or empty.
    """
    num_rows = scan.num_clips + len(scan.invalid_rows)
    check_required_splits(scan.invalid_rows, extraction.required_splits)
    check_dropped_share(scan.invalid_rows, num_rows, extraction.max_dropped_share)
    check_splits_not_empty(
        {split: len(clips) for split, clips in scan.clips.items()}, scan.invalid_rows
    )


def _open_existing_store(extraction: ExtractionSpec, folder: Path) -> Store:
    """Open an existing store after checking its dropped clips against the limits of an extraction.

    Args:
        extraction: Extraction that would build the store.
        folder: Folder of the store.

    Returns:
        The store; its `extraction` attribute counts all clips as reused.

    Raises:
        StoreError: If the store is damaged, or it lost more clips than the limits allow.
    """
    _record_videos(extraction, folder)
    store = open_store(folder)
    dropped_rows = [InvalidRow(**row) for row in store.manifest["dropped"]["rows"]]
    num_stored = sum(counts["clips"] for counts in store.manifest["splits"].values())
    # The fingerprint does not cover the limits, so a store built with looser limits is found here.
    check_required_splits(dropped_rows, extraction.required_splits)
    check_dropped_share(dropped_rows, num_stored + len(dropped_rows), extraction.max_dropped_share)
    store.extraction = ExtractionCounts(0, num_stored, len(dropped_rows))
    return store


def _record_videos(extraction: ExtractionSpec, folder: Path) -> None:
    """Record where the videos of a store lie, if it decodes its frames from them.

    Args:
        extraction: Extraction that built or found the store.
        folder: Folder of the store.
    """
    if extraction.videos is not None:
        record_video_source(folder, extraction.videos)


def _collect_results(
    plan: ExtractionPlan,
    results: Iterable[tuple[int, ChunkResult]],
    progress: ClipProgressCallback | None,
) -> list[ChunkResult]:
    """Collect the results of all chunks and report the progress after each.

    Args:
        plan: Plan whose chunks are computed.
        results: Index of each chunk and its result, in any order.
        progress: Callback that receives the numbers of finished and of all clips.

    Returns:
        One result per chunk, in the order of the plan.
    """
    results_by_chunk: dict[int, ChunkResult] = {}
    num_done = 0
    for chunk_index, result in results:
        results_by_chunk[chunk_index] = result
        num_done += len(result.statuses)
        if progress is not None:
            progress(num_done, plan.scan.num_clips)
    return [results_by_chunk[chunk_index] for chunk_index in range(len(plan.chunks))]
