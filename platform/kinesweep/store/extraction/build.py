"""The steps that build a store: corpus scan, plan, chunks and manifest. This module has no Ray.

The caller passes in the function that computes the chunks: in this process (`extract_locally`) or
on a pool of actors (`extract.extract_on_ray`). The result does not depend on the executor, nor on
which clips could be copied, so both write the same bytes. For an unchanged corpus only the scan
runs.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import InvalidRow
from kinesweep.store.extraction.chunk_processor import ChunkProcessor, ChunkResult
from kinesweep.store.extraction.corpus_scan import ExtractionSpec, scan_corpus
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


class ClipProgressCallback(Protocol):
    """A callback that receives the numbers of finished and of all clips, and an optional note."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report progress."""


PlanCallback = Callable[[ExtractionPlanSummary], None]
"""Callback for the plan; called once before the first clip, and not if the store exists."""
ChunkExecutor = Callable[[ExtractionPlan, ChunkProcessor], Iterator[tuple[int, ChunkResult]]]
"""Function that computes the chunks of a plan in any order and yields (number, result) pairs."""


def extract_locally(
    recipe: Recipe,
    root: Path | None = None,
    progress: ClipProgressCallback | None = None,
    on_plan: PlanCallback | None = None,
) -> Store:
    """Extract the corpus of a recipe in this process, one clip after another.

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
        StoreError: If too many clips are dropped, a split is incomplete or empty, or disk space is
            too low.
    """
    extraction = ExtractionSpec.from_recipe(recipe, root)
    return build_store(extraction, compute_chunks_locally, progress, on_plan)


def compute_chunks_locally(
    plan: ExtractionPlan, processor: ChunkProcessor
) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks of a plan in this process and yield (number, result) pairs in order."""
    for number, chunk in enumerate(plan.chunks):
        yield number, processor(chunk)


def build_store(
    extraction: ExtractionSpec,
    executor: ChunkExecutor = compute_chunks_locally,
    progress: ClipProgressCallback | None = None,
    on_plan: PlanCallback | None = None,
) -> Store:
    """Build the store of an extraction, or return the existing one.

    Args:
        extraction: Source, feature step and limits.
        executor: Function that computes the chunks of the plan.
        progress: Callback that is called after every chunk.
        on_plan: Callback that receives the plan before it is executed.

    Returns:
        The store; its `extraction` attribute counts the clips that were computed, copied and
        dropped.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
        StoreError: If too many clips are dropped, a split is incomplete or empty, or disk space is
            too low.
    """
    scan = scan_corpus(extraction)
    store_dir = extraction.root / scan.folder_name
    if store_dir.is_dir():
        return _open_existing_store(extraction, store_dir)
    # Rows that are already known to be unusable fail here, before anything is computed;
    # `finalize_store` checks again with the clips that failed during extraction.
    num_rows = scan.num_clips + len(scan.problems)
    check_required_splits(scan.problems, extraction.required_splits)
    check_dropped_share(scan.problems, num_rows, extraction.max_dropped_share)
    check_splits_not_empty(
        {split: len(clips) for split, clips in scan.clips.items()}, scan.problems
    )
    plan = make_extraction_plan(extraction, scan)
    check_disk_space(plan.summary)
    if on_plan is not None:
        on_plan(plan.summary)
    # Nothing appears under the final name until `commit_store_dir` renames the complete folder.
    with create_staging_dir(extraction.root) as folder:
        processor = ChunkProcessor(extraction.source, extraction.step, extraction.dtype, folder)
        results = _collect_results(plan, executor(plan, processor), progress)
        dropped = len(finalize_store(extraction, plan, results, folder))
        # Another process may have committed an equal store first; then this one is discarded and
        # `store_dir` is opened all the same.
        commit_store_dir(folder, store_dir)
    store = open_store(store_dir)
    reused = sum(status.reused for result in results for status in result.statuses)
    store.extraction = ExtractionCounts(num_rows - dropped - reused, reused, dropped)
    return store


def _open_existing_store(extraction: ExtractionSpec, folder: Path) -> Store:
    """Open the existing store and check it against the same limits as a new one."""
    store = open_store(folder)
    dropped = [InvalidRow(**row) for row in store.manifest["dropped"]["rows"]]
    num_kept = sum(counts["clips"] for counts in store.manifest["splits"].values())
    # The fingerprint does not cover the limits, so a store built with looser limits is found here.
    check_required_splits(dropped, extraction.required_splits)
    check_dropped_share(dropped, num_kept + len(dropped), extraction.max_dropped_share)
    store.extraction = ExtractionCounts(0, num_kept, len(dropped))
    return store


def _collect_results(
    plan: ExtractionPlan,
    results: Iterable[tuple[int, ChunkResult]],
    progress: ClipProgressCallback | None,
) -> list[ChunkResult]:
    """Collect all results, report progress and return them in the order of the chunks."""
    results_by_chunk: dict[int, ChunkResult] = {}
    num_done = 0
    for number, result in results:
        results_by_chunk[number] = result
        num_done += len(result.statuses)
        if progress is not None:
            progress(num_done, plan.scan.num_clips)
    return [results_by_chunk[number] for number in range(len(plan.chunks))]
