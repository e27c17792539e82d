"""Builds a store from survey, plan, chunks and manifest, without Ray.

The caller passes in the function that computes the chunks: in this process (`extract_locally`) or
on a pool of actors (`extract.extract`). The result does not depend on the executor, nor on which
clips could be copied, so both write the same bytes. For an unchanged corpus only the survey runs.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import InvalidRow
from kinesweep.store.extraction.chunk_processor import ChunkProcessor, ChunkResult
from kinesweep.store.extraction.corpus_scan import Extraction, survey_corpus
from kinesweep.store.extraction.drop_policy import check_complete, check_dropped, check_splits
from kinesweep.store.extraction.finalize import finish
from kinesweep.store.extraction.plan import Plan, PlanSummary, check_room, make_plan
from kinesweep.store.format.reader import ExtractionCounts, Store, open_store
from kinesweep.store.format.staging import commit, staging_dir


class Progress(Protocol):
    """A callback that receives the finished and total number of clips and an optional note."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Report progress."""


Announce = Callable[[PlanSummary], None]
"""Callback for the plan; called once before the first clip, and not if the store exists."""
Execute = Callable[[Plan, ChunkProcessor], Iterator[tuple[int, ChunkResult]]]
"""Function that computes the chunks of a plan in any order and yields (number, result) pairs."""


def extract_locally(
    recipe: Recipe,
    root: Path | None = None,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Store:
    """Extract the corpus of a recipe in this process, one clip after another.

    Args:
        recipe: Recipe that defines the corpus, the features and the store.
        root: Folder that contains all stores. Default: `store.root` of the recipe, then the state
            folder.
        progress: Callback that is called after every chunk.
        announce: Callback that receives the plan before it is executed.

    Returns:
        The new store, or the existing one if the corpus has not changed.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
        StoreError: If too many clips are dropped, a split is incomplete or empty, or disk space is
            too low.
    """
    extraction = Extraction.from_recipe(recipe, root)
    return build_store(extraction, compute_here, progress, announce)


def compute_here(plan: Plan, computer: ChunkProcessor) -> Iterator[tuple[int, ChunkResult]]:
    """Compute the chunks in this process, in order."""
    for number, chunk in enumerate(plan.chunks):
        yield number, computer(chunk)


def build_store(
    extraction: Extraction,
    execute: Execute = compute_here,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Store:
    """Build the store of an extraction, or return the existing one.

    Args:
        extraction: Source, feature step and limits.
        execute: Function that computes the chunks of the plan.
        progress: Callback that is called after every chunk.
        announce: Callback that receives the plan before it is executed.

    Returns:
        The store; its `extraction` attribute counts the clips that were computed, copied and
        dropped.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
        StoreError: If too many clips are dropped, a split is incomplete or empty, or disk space is
            too low.
    """
    survey = survey_corpus(extraction)
    final = extraction.root / survey.folder_name
    if final.is_dir():
        return _existing(extraction, final)
    # Rows that are already known to be unusable fail here, before anything is computed; `finish`
    # checks again with the clips that failed during extraction.
    num_rows = survey.num_clips + len(survey.problems)
    check_complete(survey.problems, extraction.required_splits)
    check_dropped(survey.problems, num_rows, extraction.max_dropped_share)
    check_splits({split: len(clips) for split, clips in survey.clips.items()}, survey.problems)
    plan = make_plan(extraction, survey)
    check_room(plan.summary)
    if announce is not None:
        announce(plan.summary)
    # Nothing appears under the final name until `publish` renames the complete folder.
    with staging_dir(extraction.root) as folder:
        computer = ChunkProcessor(extraction.source, extraction.step, extraction.dtype, folder)
        results = _collect(plan, execute(plan, computer), progress)
        dropped = len(finish(extraction, plan, results, folder))
        # Another process may have published an equal store first; then this one is discarded and
        # `final` is opened all the same.
        commit(folder, final)
    store = open_store(final)
    reused = sum(status.reused for result in results for status in result.statuses)
    store.extraction = ExtractionCounts(num_rows - dropped - reused, reused, dropped)
    return store


def _existing(extraction: Extraction, folder: Path) -> Store:
    """Return the existing store, subject to the same limits as a new one."""
    store = open_store(folder)
    dropped = [InvalidRow(**row) for row in store.manifest["dropped"]["rows"]]
    kept = sum(counts["clips"] for counts in store.manifest["splits"].values())
    # The fingerprint does not cover the limits, so a store built with looser limits is found here.
    check_complete(dropped, extraction.required_splits)
    check_dropped(dropped, kept + len(dropped), extraction.max_dropped_share)
    store.extraction = ExtractionCounts(0, kept, len(dropped))
    return store


def _collect(
    plan: Plan, results: Iterable[tuple[int, ChunkResult]], progress: Progress | None
) -> list[ChunkResult]:
    """Return all results in chunk order, regardless of the order in which they arrive."""
    found: dict[int, ChunkResult] = {}
    done = 0
    for number, result in results:
        found[number] = result
        done += len(result.statuses)
        if progress is not None:
            progress(done, plan.survey.num_clips)
    return [found[number] for number in range(len(plan.chunks))]
