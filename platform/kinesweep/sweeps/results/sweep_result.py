"""The result of a sweep: ranking, sanity baselines and a conclusion in one sentence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.evaluation.baselines import (
    find_best_constant_sentence,
    find_most_frequent_sentence,
    predict_nearest_neighbors,
)
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.evaluation.scoring import RAW_PROTOCOL, CorpusMetric
from kinesweep.store import Store
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.ranking import (
    RankedConfiguration,
    RankingEntry,
    compute_min_detectable_difference,
    compute_pooled_variance,
    rank_configurations,
)
from kinesweep.sweeps.search.finals import UNTUNED, Finalist
from kinesweep.sweeps.search.pareto import find_pareto_front
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.run_records.result import RunResult


@dataclass(frozen=True)
class SweepOutcome:
    """The result of a sweep.

    Attributes:
        question: Question of the search space.
        answer: Conclusion in one sentence.
        metric: Deciding objective.
        winner: Name of the best configuration.
        winner_values: Its swept parameters.
        winner_runs: Its run folders, sorted by validation score; the first one is exported.
        ranking: Configurations from best to worst.
        levels: Configuration → its scientific levels in readable form; empty without any.
        objectives: Configuration → objective → mean over seeds; empty with a single objective.
        front: Configurations on the Pareto front; empty with a single objective.
        sanity: Baseline → validation score.
        trials: State → number of trials.
        notes: Caveats for the reader, such as the detectable difference, budget stops, failed
            runs, and a search that continued after the test split was scored.
        test: Seed → test scores of the winner; empty until they are computed.
    """

    question: str
    answer: str
    metric: str
    winner: str
    winner_values: dict[str, object]
    winner_runs: list[str]
    ranking: list[RankedConfiguration]
    levels: dict[str, str]
    objectives: dict[str, dict[str, float]]
    front: list[str]
    sanity: dict[str, float]
    trials: dict[str, int]
    notes: list[str]
    test: dict[str, dict[str, float]] = field(default_factory=dict)


def summarize_sweep(
    space: SearchSpace,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    journal: Journal,
    protocol: ScoringProtocol = RAW_PROTOCOL,
) -> SweepOutcome:
    """Return the result of a sweep, ranked on the validation split; the test split is not used.

    Args:
        space: The search space.
        store: Feature store with the references of the validation split.
        finalists: Configurations of the finals.
        results: Finalist → results of its finished runs.
        journal: Journal of the sweep.
        protocol: Text normalization and tokenization for scoring.

    Raises:
        InputError: If no finalist has two finished seeds.
    """
    metric = space.objectives[0].name
    measure = CorpusMetric(metric, protocol)
    entries, groups = compute_sentence_statistics(finalists, results, measure, store)
    ranking = rank_configurations(entries, groups, measure.compute_score_from_sum)
    winner = next(f for f in finalists if f.name == ranking[0].name)
    # The deciding objective is always a score (see `SearchSpace`), so higher is better.
    runs = sorted(results[winner.name], key=lambda r: (-r.scores[metric], str(r.folder)))
    sanity = _score_sanity_baselines(space.sanity_baselines, measure, store, finalists, results)
    counts: dict[str, int] = dict(Counter(trial.state for trial in journal.trials))
    objectives, pareto_front = _compute_pareto_front(
        space, [line.name for line in ranking], results
    )
    return SweepOutcome(
        question=space.question,
        answer=_format_conclusion(ranking, sanity, metric),
        metric=metric,
        winner=winner.name,
        winner_values=dict(winner.values),
        winner_runs=[str(run.folder) for run in runs],
        ranking=ranking,
        levels={f.name: f.level for f in finalists if f.level},
        objectives=objectives,
        front=pareto_front,
        sanity=sanity,
        trials=counts,
        notes=[
            *_format_detectable_difference_note(ranking, metric),
            *_format_reference_context_note(finalists, results),
            *_collect_journal_notes(journal),
        ],
    )


def _compute_pareto_front(
    space: SearchSpace, names: Sequence[str], results: Mapping[str, Sequence[RunResult]]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return each finalist's mean objectives and the Pareto front; both empty for one objective."""
    if len(space.objectives) == 1:
        return {}, []
    means: dict[str, dict[str, float]] = {
        name: {m.name: fmean(r.objectives[m.name] for r in results[name]) for m in space.objectives}
        for name in names
    }
    modes = ["max" if m.direction_sign > 0 else "min" for m in space.objectives]
    front_indices = find_pareto_front([list(means[name].values()) for name in names], modes)
    return means, [names[index] for index in front_indices]


def _format_detectable_difference_note(
    ranking: Sequence[RankedConfiguration], metric: str
) -> list[str]:
    """Return a note with the smallest difference that these finals could have detected."""
    if len(ranking) < 2:
        return []
    seeds = [list(line.scores.values()) for line in ranking]
    # The best entry has no difference from itself, and its error of 0 would lower the median.
    sentence_sd = median(line.sentence_error for line in ranking[1:])
    min_seeds = min(len(own) for own in seeds)
    detectable_difference = compute_min_detectable_difference(
        compute_pooled_variance(seeds)[0] ** 0.5, sentence_sd, min_seeds, len(ranking)
    )
    return [
        f"Finals like these detect a difference of {detectable_difference:.1f} {metric} in 80 % of"
        " cases."
    ]


def _format_reference_context_note(
    finalists: Sequence[Finalist], results: Mapping[str, Sequence[RunResult]]
) -> list[str]:
    """Return a note that names finalists that read reference sentences as context, if any."""
    names = [f.name for f in finalists if any(r.has_reference_context for r in results[f.name])]
    if not names:
        return []
    return [
        f"Scores of {', '.join(names)} are optimistic: the sentences before a clip were references"
        " (`context.decoding_context: references`), not the model's own output."
    ]


def _collect_journal_notes(journal: Journal) -> list[str]:
    """Return notes on budget stops, failed runs and a search that continued after the test."""
    notes = []
    stopped = journal.find_last_event("search_stopped")
    if stopped is not None:
        notes.append(f"The search was stopped by its budget: {stopped['reason']}.")
    finals_cut = journal.find_last_event("finals_cut")
    if finals_cut is not None:
        notes.append(f"The budget was used up: {finals_cut['runs']} final runs were skipped.")
    failure_events = [e for e in journal.events if e["event"] == "run_failed"]
    notes += [f"{e['finalist']} ({e['run']}) failed: {e['reason']}." for e in failure_events]
    # Whoever extended the search after this event may have known the test scores.
    test_index = next((i for i, e in enumerate(journal.events) if e["event"] == "tested"), None)
    events_after_test = journal.events[test_index:] if test_index is not None else []
    if any(e["event"] == "trial_created" for e in events_after_test):
        notes.append(
            "The search continued after the test split had been scored; it is no longer unseen."
        )
    return notes


def compute_sentence_statistics(
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    measure: CorpusMetric,
    store: Store,
) -> tuple[list[RankingEntry], list[str]]:
    """Compute the sentence statistics of every ranked run, and find the document of each sentence.

    Finalists with fewer than two finished seeds are left out.

    Args:
        finalists: Configurations of the finals.
        results: Finalist → results of its finished runs.
        measure: Metric and protocol.
        store: Feature store with the documents of the validation clips.

    Returns:
        Entries of the ranking, and the document of each sentence in the order of their rows.
    """
    documents = {r.clip.id: r.clip.document or r.clip.id for r in store.get_records("validation")}
    entries, ids = [], []
    for finalist in finalists:
        seeds = {}
        for result in results[finalist.name]:
            predictions = read_predictions(result.folder / "predictions" / "validation.tsv")
            hypotheses = {line.clip_id: line.hypothesis for line in predictions}
            references = {line.clip_id: line.references for line in predictions}
            # The run folder is called `CONFIG-sSEED`.
            seed = int(result.folder.name.rpartition("-s")[2])
            seeds[seed] = measure.compute_clip_statistics(hypotheses, references)
            # `rows` are sorted by clip id, and every run decodes the same validation clips.
            ids = sorted(hypotheses)
        if finalist.ranked and len(seeds) >= 2:
            entries.append(RankingEntry(finalist.name, seeds))
    return entries, [documents[clip_id] for clip_id in ids]


def _score_sanity_baselines(
    baselines: Sequence[str],
    measure: CorpusMetric,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
) -> dict[str, float]:
    """Compute the validation scores of the requested baselines."""
    train, validation = store.get_records("train"), store.get_records("validation")
    references = {r.clip.id: r.clip.texts for r in validation}
    texts = [text for r in train for text in r.clip.texts]
    scores = {}
    if "frequent" in baselines:
        sentence = find_most_frequent_sentence(texts)
        value = measure(dict.fromkeys(references, sentence), references)
        scores[f"always the most frequent, “{sentence}”"] = value
    if "constant" in baselines:
        sentence, _ = find_best_constant_sentence(texts, references, measure.protocol)
        scores[f"always “{sentence}”"] = measure(dict.fromkeys(references, sentence), references)
    if "nearest" in baselines:
        scores["nearest neighbour"] = measure(
            predict_nearest_neighbors(store, train, validation), references
        )
    for finalist in finalists:
        if not finalist.ranked and results[finalist.name]:
            scores[finalist.name] = results[finalist.name][0].scores[measure.metric]
    return scores


def _format_conclusion(
    ranking: Sequence[RankedConfiguration], sanity: Mapping[str, float], metric: str
) -> str:
    """Summarize the ranking in one sentence, with ties and suspicious baselines."""
    best = ranking[0]
    ties = [line.name for line in ranking[1:] if line.tied]
    text = f"{best.name} is best with {metric} {best.mean:.1f} [{best.low:.1f}, {best.high:.1f}]"
    text += (
        f", not significantly better than {', '.join(ties)}" if ties else ", ahead of all others"
    )
    untuned = next((line for line in ranking if line.name == UNTUNED), None)
    if untuned is not None and untuned is not best:
        text += f"; the untuned recipe scores {untuned.mean:.1f}"
    # A winner whose interval includes a sanity baseline may have learned nothing from its input.
    matching_baselines = [name for name, value in sanity.items() if value >= best.low]
    if matching_baselines:
        text += (
            f". This is within the noise of {', '.join(matching_baselines)}: no evidence of"
            " learning"
        )
    return text + "."
