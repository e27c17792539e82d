"""Failed trials and runs of a sweep in words: how many failed, and why."""

from collections import Counter
from collections.abc import Sequence

from kinesweep.sweeps.journal.journal import Journal, Trial

_MAX_REASONS = 3
"""Number of different reasons that a sentence lists; trials usually fail for the same one."""


def explain_failed_trials(trials: Sequence[Trial]) -> str:
    """Explain how many trials of a search failed and why, as a sentence without a full stop.

    Args:
        trials: All trials of the search; duplicates are not counted.

    Returns:
        The explanation; empty if no trial failed.
    """
    originals = [trial for trial in trials if trial.duplicate_of is None]
    reasons = Counter(t.reason or "no reason is known" for t in originals if t.state == "failed")
    num_failed = reasons.total()
    if not num_failed:
        return ""
    subject = (
        f"all {num_failed} trials of the search"
        if num_failed == len(originals)
        else f"{num_failed} of {len(originals)} trials of the search"
    )
    if all(reason.startswith("diverged") for reason in reasons):
        return (
            f"{subject} diverged: their losses were not finite numbers. Lower the upper ends of the"
            " ranges, above all that of `training.learning_rate`"
        )
    return f"{subject} failed: {_join_reasons(reasons)}"


def explain_failed_finals(journal: Journal) -> str:
    """Explain why the finals have no ranking: no configuration finished on two seeds.

    Args:
        journal: Journal of the sweep.
    """
    reasons = Counter(
        f"{event['finalist']}, {event['run']}: {event['reason']}"
        for event in find_failed_runs(journal)
    )
    details = _join_reasons(reasons) if reasons else "see the log"
    text = (
        f"no configuration finished on two seeds of the finals, so there is no ranking: {details}"
    )
    failed_trials = explain_failed_trials(journal.trials)
    return f"{text}. In addition, {failed_trials}" if failed_trials else text


def find_failed_runs(journal: Journal) -> list[dict[str, object]]:
    """Find the last failure of each final run that has not finished since.

    A resumed sweep trains the failed runs again, so a run may have failed before it finished.

    Args:
        journal: Journal of the sweep.
    """
    failures: dict[str, dict[str, object]] = {}
    for event in journal.events:
        if event["event"] == "run_failed":
            failures[event["run"]] = dict(event)
        elif event["event"] == "run_finished":
            failures.pop(event["run"], None)
    return list(failures.values())


def _join_reasons(reasons: Counter[str]) -> str:
    """Join the most frequent reasons with their counts, and say how many others there are."""
    listed = [
        f"{reason} ({count} times)" if count > 1 else reason
        for reason, count in reasons.most_common(_MAX_REASONS)
    ]
    num_others = len(reasons) - len(listed)
    return "; ".join([*listed, *([f"and {num_others} other reasons"] if num_others else [])])
