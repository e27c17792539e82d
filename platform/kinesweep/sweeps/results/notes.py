"""Notes on the limitations of a sweep's outcome, which are shown with its conclusion."""

from collections.abc import Mapping, Sequence
from statistics import median

from kinesweep.evaluation.tokenization.coverage import format_share_warnings
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.failures import explain_failed_trials, find_failed_runs
from kinesweep.sweeps.results.ranking import RankedConfiguration, compute_pooled_variance
from kinesweep.sweeps.results.tukey_test import compute_min_detectable_difference
from kinesweep.sweeps.search.finals import Finalist
from kinesweep.training.run_records.result import RunResult


def collect_notes(
    ranking: Sequence[RankedConfiguration],
    metric: str,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    journal: Journal,
) -> list[str]:
    """Return notes on all known limitations of a sweep's outcome.

    These are the smallest detectable difference, reference context, texts that the best model
    cannot write, budget stops, failed trials and runs, and a search that continued after the test
    split had been scored.

    Args:
        ranking: Configurations from best to worst.
        metric: Name of the deciding objective.
        finalists: Configurations of the finals.
        results: Name of a finalist → results of its finished runs.
        journal: Journal of the sweep.

    Returns:
        Notes of one sentence each.
    """
    return [
        *_format_detectable_difference_note(ranking, metric),
        *_format_reference_context_note(finalists, results),
        *_format_text_notes(ranking, results),
        *_collect_journal_notes(journal),
    ]


def _format_detectable_difference_note(
    ranking: Sequence[RankedConfiguration], metric: str
) -> list[str]:
    """Return a list with a note on the smallest detectable difference; empty for one finalist."""
    if len(ranking) < 2:
        return []
    scores = [list(ranked.scores.values()) for ranked in ranking]
    # The best entry has no difference from itself, and its error of 0 would lower the median.
    sentence_sd = median(ranked.sentence_error for ranked in ranking[1:])
    min_seeds = min(len(seed_scores) for seed_scores in scores)
    detectable_difference = compute_min_detectable_difference(
        compute_pooled_variance(scores)[0] ** 0.5, sentence_sd, min_seeds, len(ranking)
    )
    return [
        f"Finals like these detect a difference of {detectable_difference:.1f} {metric} in 80 % of"
        " cases."
    ]


def _format_reference_context_note(
    finalists: Sequence[Finalist], results: Mapping[str, Sequence[RunResult]]
) -> list[str]:
    """Return a list with a note on finalists that read references as context; empty without any."""
    names = [f.name for f in finalists if any(r.has_reference_context for r in results[f.name])]
    if not names:
        return []
    return [
        f"Scores of {', '.join(names)} are optimistic: the sentences before a clip were references"
        " (`context.decoding_context: references`), not the model's own output."
    ]


def _format_text_notes(
    ranking: Sequence[RankedConfiguration], results: Mapping[str, Sequence[RunResult]]
) -> list[str]:
    """Return a note for each split with texts that the best configuration's model cannot write."""
    # All runs of a configuration read the same texts with the same tokenizer.
    warnings = format_share_warnings(results[ranking[0].name][0].text_coverage) if ranking else []
    return [f"{warning[0].upper()}{warning[1:]}." for warning in warnings]


def _collect_journal_notes(journal: Journal) -> list[str]:
    """Return notes on budget stops, failures and a search that continued after test scoring."""
    notes = []
    stopped = journal.find_last_event("search_stopped")
    if stopped is not None:
        notes.append(f"The search was stopped by its budget: {stopped['reason']}.")
    finals_cut = journal.find_last_event("finals_cut")
    if finals_cut is not None:
        notes.append(f"The budget was used up: {finals_cut['runs']} final runs were skipped.")
    failed_trials = explain_failed_trials(journal.trials)
    if failed_trials:
        notes.append(f"{failed_trials[0].upper()}{failed_trials[1:]}.")
    notes += [
        f"{e['finalist']} ({e['run']}) failed: {e['reason']}." for e in find_failed_runs(journal)
    ]
    # Whoever extended the search after this event may have known the test scores.
    test_index = next((i for i, e in enumerate(journal.events) if e["event"] == "tested"), None)
    events_after_test = journal.events[test_index:] if test_index is not None else []
    if any(e["event"] == "trial_created" for e in events_after_test):
        notes.append(
            "The search continued after the test split had been scored; it is no longer unseen."
        )
    return notes
