"""The result of a sweep: ranking, sanity baselines and a conclusion in one sentence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.evaluation.baselines import constant_sentence, most_frequent, nearest_neighbours
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.evaluation.scoring import RAW, Measure
from kinesweep.store import Store
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.ranking import (
    Rank,
    RankingEntry,
    min_detectable_difference,
    pooled_variance,
    rank,
)
from kinesweep.sweeps.search.finals import UNTUNED, Finalist
from kinesweep.sweeps.search.pareto import front
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
    ranking: list[Rank]
    levels: dict[str, str]
    objectives: dict[str, dict[str, float]]
    front: list[str]
    sanity: dict[str, float]
    trials: dict[str, int]
    notes: list[str]
    test: dict[str, dict[str, float]] = field(default_factory=dict)


def summarize(
    space: SearchSpace,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    journal: Journal,
    protocol: ScoringProtocol = RAW,
) -> SweepOutcome:
    """Rank the finals on the validation split; the test split is not used.

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
    measure = Measure(metric, protocol)
    entries, groups = sentence_statistics(finalists, results, measure, store)
    ranking = rank(entries, groups, measure.of_sums)
    winner = next(f for f in finalists if f.name == ranking[0].name)
    # The deciding objective is always a score (see `SearchSpace`), so higher is better.
    runs = sorted(results[winner.name], key=lambda r: (-r.scores[metric], str(r.folder)))
    sanity = _sanity(space.sanity_baselines, measure, store, finalists, results)
    counts: dict[str, int] = dict(Counter(trial.state for trial in journal.trials))
    objectives, ahead = _pareto(space, [line.name for line in ranking], results)
    return SweepOutcome(
        question=space.question,
        answer=_conclusion(ranking, sanity, metric),
        metric=metric,
        winner=winner.name,
        winner_values=dict(winner.values),
        winner_runs=[str(run.folder) for run in runs],
        ranking=ranking,
        levels={f.name: f.level for f in finalists if f.level},
        objectives=objectives,
        front=ahead,
        sanity=sanity,
        trials=counts,
        notes=[
            *_min_detectable_difference(ranking, metric),
            *_borrowed(finalists, results),
            *_notes(journal),
        ],
    )


def _pareto(
    space: SearchSpace, names: Sequence[str], results: Mapping[str, Sequence[RunResult]]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the means of all objectives and the Pareto front; both empty for one objective."""
    if len(space.objectives) == 1:
        return {}, []
    means: dict[str, dict[str, float]] = {
        name: {m.name: fmean(r.objectives[m.name] for r in results[name]) for m in space.objectives}
        for name in names
    }
    modes = ["max" if m.sign > 0 else "min" for m in space.objectives]
    ahead = front([list(means[name].values()) for name in names], modes)
    return means, [names[index] for index in ahead]


def _min_detectable_difference(ranking: Sequence[Rank], metric: str) -> list[str]:
    """Return a note with the smallest difference that these finals could have detected."""
    if len(ranking) < 2:
        return []
    seeds = [list(line.scores.values()) for line in ranking]
    # The best entry has no difference from itself, and its error of 0 would lower the median.
    sentence_sd = median(line.sentence_error for line in ranking[1:])
    least = min(len(own) for own in seeds)
    gap = min_detectable_difference(
        pooled_variance(seeds)[0] ** 0.5, sentence_sd, least, len(ranking)
    )
    return [f"Finals like these detect a difference of {gap:.1f} {metric} in 80 % of cases."]


def _borrowed(
    finalists: Sequence[Finalist], results: Mapping[str, Sequence[RunResult]]
) -> list[str]:
    """Return a note that names finalists whose context sentences were references."""
    names = [f.name for f in finalists if any(r.reads_references for r in results[f.name])]
    if not names:
        return []
    return [
        f"Scores of {', '.join(names)} are optimistic: the sentences before a clip were references"
        " (`context.decoding_context: references`), not the model's own output."
    ]


def _notes(journal: Journal) -> list[str]:
    """Return notes on what the journal records besides the scores."""
    notes = []
    stopped = journal.last("search_stopped")
    if stopped is not None:
        notes.append(f"The search was stopped by its budget: {stopped['reason']}.")
    cut = journal.last("finals_cut")
    if cut is not None:
        notes.append(f"The budget was used up: {cut['runs']} final runs were skipped.")
    failed = [e for e in journal.events if e["event"] == "run_failed"]
    notes += [f"{e['finalist']} ({e['run']}) failed: {e['reason']}." for e in failed]
    # Whoever extended the search after this event may have known the test scores.
    tested = next((i for i, e in enumerate(journal.events) if e["event"] == "tested"), None)
    later = journal.events[tested:] if tested is not None else []
    if any(e["event"] == "trial_created" for e in later):
        notes.append(
            "The search continued after the test split had been scored; it is no longer unseen."
        )
    return notes


def sentence_statistics(
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    measure: Measure,
    store: Store,
) -> tuple[list[RankingEntry], list[str]]:
    """Read the sentence statistics of every ranked run and the document of each sentence.

    Finalists with fewer than two finished seeds are left out.

    Args:
        finalists: Configurations of the finals.
        results: Finalist → results of its finished runs.
        measure: Metric and protocol.
        store: Feature store with the documents of the validation clips.

    Returns:
        Entries of the ranking, and the document of each sentence in the order of their rows.
    """
    documents = {r.clip.id: r.clip.document or r.clip.id for r in store.records("validation")}
    entries, ids = [], []
    for finalist in finalists:
        seeds = {}
        for result in results[finalist.name]:
            lines = read_predictions(result.folder / "predictions" / "validation.tsv")
            said = {line.clip_id: line.hypothesis for line in lines}
            wanted = {line.clip_id: line.references for line in lines}
            # The run folder is called `CONFIG-sSEED`.
            seed = int(result.folder.name.rpartition("-s")[2])
            seeds[seed] = measure.rows(said, wanted)
            # `rows` are sorted by clip id, and every run decodes the same validation clips.
            ids = sorted(said)
        if finalist.ranked and len(seeds) >= 2:
            entries.append(RankingEntry(finalist.name, seeds))
    return entries, [documents[clip_id] for clip_id in ids]


def _sanity(
    asked: Sequence[str],
    measure: Measure,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
) -> dict[str, float]:
    """Compute the validation scores of the requested baselines."""
    train, wanted = store.records("train"), store.records("validation")
    references = {r.clip.id: r.clip.texts for r in wanted}
    texts = [text for r in train for text in r.clip.texts]
    found = {}
    if "frequent" in asked:
        sentence = most_frequent(texts)
        value = measure(dict.fromkeys(references, sentence), references)
        found[f"always the most frequent, “{sentence}”"] = value
    if "constant" in asked:
        sentence, _ = constant_sentence(texts, references, measure.protocol)
        found[f"always “{sentence}”"] = measure(dict.fromkeys(references, sentence), references)
    if "nearest" in asked:
        found["nearest neighbour"] = measure(nearest_neighbours(store, train, wanted), references)
    for finalist in finalists:
        if not finalist.ranked and results[finalist.name]:
            found[finalist.name] = results[finalist.name][0].scores[measure.metric]
    return found


def _conclusion(ranking: Sequence[Rank], sanity: Mapping[str, float], metric: str) -> str:
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
    lucky = [name for name, value in sanity.items() if value >= best.low]
    if lucky:
        text += f". This is within the noise of {', '.join(lucky)}: no evidence of learning"
    return text + "."
