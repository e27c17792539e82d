"""Builds a store: survey, plan, chunks, manifest; with no Ray in it.

Who computes the chunks is handed in: this process (`extract_locally`) or an actor pool
(`extract.extract`). Nothing here depends on who it was, nor on what could be copied, so both give
the same bytes. A corpus that has not changed costs its survey and nothing else.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from kinesweep.core.clip import RowProblem
from kinesweep.core.recipe import Recipe
from kinesweep.store.compute import ChunkResult, Computer
from kinesweep.store.drops import check_complete, check_dropped, check_splits
from kinesweep.store.finish import finish
from kinesweep.store.place import publish, workshop
from kinesweep.store.plan import Plan, PlanSummary, check_room, make_plan
from kinesweep.store.reader import ExtractionCounts, Store, open_store
from kinesweep.store.survey import Extraction, survey_corpus


class Progress(Protocol):
    """Called with the clips done, the clips in all, and what is worth saying beside them."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Told of progress."""


Announce = Callable[[PlanSummary], None]
"""Called once before the first clip is computed; not when the store exists."""
Execute = Callable[[Plan, Computer], Iterator[tuple[int, ChunkResult]]]
"""Computes a plan's chunks in any order; yields each one's number and result."""


def extract_locally(
    recipe: Recipe,
    root: Path | None = None,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Store:
    """Extracts a recipe's corpus in this process, one clip after another.

    Args:
        recipe: names corpus, features and store.
        root: folder of all stores; default: the recipe's, then the state folder's.
        progress: told of every chunk.
        announce: told the plan before it is carried out.

    Raises:
        SourceError: the corpus is faulty as a whole.
        StoreError: too many clips dropped, a split incomplete or empty, or too little disk.
    """
    extraction = Extraction.from_recipe(recipe, root)
    return build_store(extraction, compute_here, progress, announce)


def compute_here(plan: Plan, computer: Computer) -> Iterator[tuple[int, ChunkResult]]:
    """Computes the chunks in this process, in order."""
    for number, chunk in enumerate(plan.chunks):
        yield number, computer(chunk)


def build_store(
    extraction: Extraction,
    execute: Execute = compute_here,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> Store:
    """Builds the store of an extraction, or returns the one that is there.

    The store's `extraction` says what was computed, copied and dropped.

    Raises:
        SourceError: the corpus is faulty as a whole.
        StoreError: too many clips dropped, a split incomplete or empty, or too little disk.
    """
    survey = survey_corpus(extraction)
    final = extraction.root / survey.folder_name
    if final.is_dir():
        return _existing(extraction, final)
    num_rows = survey.num_clips + len(survey.problems)
    check_complete(survey.problems, extraction.complete)
    check_dropped(survey.problems, num_rows, extraction.max_dropped_share)
    check_splits({split: len(clips) for split, clips in survey.clips.items()}, survey.problems)
    plan = make_plan(extraction, survey)
    check_room(plan.summary)
    if announce is not None:
        announce(plan.summary)
    with workshop(extraction.root) as folder:
        computer = Computer(extraction.source, extraction.step, extraction.dtype, folder)
        results = _collect(plan, execute(plan, computer), progress)
        dropped = len(finish(extraction, plan, results, folder))
        publish(folder, final)
    store = open_store(final)
    reused = sum(status.reused for result in results for status in result.statuses)
    store.extraction = ExtractionCounts(num_rows - dropped - reused, reused, dropped)
    return store


def _existing(extraction: Extraction, folder: Path) -> Store:
    """The store that is there already, held to the same limits as a new one."""
    store = open_store(folder)
    dropped = [RowProblem(**row) for row in store.manifest["dropped"]["rows"]]
    kept = sum(counts["clips"] for counts in store.manifest["splits"].values())
    check_complete(dropped, extraction.complete)
    check_dropped(dropped, kept + len(dropped), extraction.max_dropped_share)
    store.extraction = ExtractionCounts(0, kept, len(dropped))
    return store


def _collect(
    plan: Plan, results: Iterable[tuple[int, ChunkResult]], progress: Progress | None
) -> list[ChunkResult]:
    """All results in the chunks' order, whatever order they came in."""
    found: dict[int, ChunkResult] = {}
    done = 0
    for number, result in results:
        found[number] = result
        done += len(result.statuses)
        if progress is not None:
            progress(done, plan.survey.num_clips)
    return [found[number] for number in range(len(plan.chunks))]
