"""The end of a sweep: ranking, sanity baselines, and the answer in a sentence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from kinesweep.core.recipe.evaluation import Protocol
from kinesweep.store import Store
from kinesweep.sweeps.finals import UNTUNED, Finalist
from kinesweep.sweeps.journal import Journal
from kinesweep.sweeps.pareto import front
from kinesweep.sweeps.ranking import Entry, Rank, detectable, pooled, rank
from kinesweep.sweeps.space import SearchSpace
from kinesweep.training.baselines import constant_sentence, most_frequent, nearest_neighbours
from kinesweep.training.predictions import read_predictions
from kinesweep.training.result import RunResult
from kinesweep.training.scoring import RAW, Measure


@dataclass(frozen=True)
class Outcome:
    """What a sweep found.

    Attributes:
        question: that was asked.
        answer: in a sentence.
        metric: that decided.
        winner: name of the best configuration.
        winner_values: its swept parameters.
        winner_runs: its run folders, the best validation score first; the first is exported.
        ranking: the best first.
        levels: configuration → its scientific levels, in words; empty where there are none.
        objectives: configuration → objective → mean over seeds, where there are several.
        front: configurations that no other one beats in every objective, where there are several.
        sanity: baseline → validation score.
        trials: state → how many.
        notes: what a reader must know: what the finals could see, stops by budget, failures, a
            search that went on after test.
        test: seed → test scores of the winner, once they were asked for.
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


def judge(
    space: SearchSpace,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    journal: Journal,
    protocol: Protocol = RAW,
) -> Outcome:
    """Ranks the finals on validation, under the protocol; test is not looked at.

    Raises:
        InputError: fewer than two seeds of a finalist were finished.
    """
    metric = space.objectives[0].name
    measure = Measure(metric, protocol)
    entries, groups = sentence_statistics(finalists, results, measure, store)
    ranking = rank(entries, groups, measure.of_sums)
    winner = next(f for f in finalists if f.name == ranking[0].name)
    runs = sorted(results[winner.name], key=lambda r: (-r.scores[metric], str(r.folder)))
    sanity = _sanity(space.sanity, measure, store, finalists, results)
    counts: dict[str, int] = dict(Counter(trial.state for trial in journal.trials))
    objectives, ahead = _pareto(space, [line.name for line in ranking], results)
    return Outcome(
        question=space.question,
        answer=_answer(ranking, sanity, metric),
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
        notes=[*_sight(ranking, metric), *_borrowed(finalists, results), *_notes(journal)],
    )


def _pareto(
    space: SearchSpace, names: Sequence[str], results: Mapping[str, Sequence[RunResult]]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Means of all objectives, and who is on their front; nothing where there is but one."""
    if len(space.objectives) == 1:
        return {}, []
    means: dict[str, dict[str, float]] = {
        name: {m.name: fmean(r.objectives[m.name] for r in results[name]) for m in space.objectives}
        for name in names
    }
    modes = ["max" if m.sign > 0 else "min" for m in space.objectives]
    ahead = front([list(means[name].values()) for name in names], modes)
    return means, [names[index] for index in ahead]


def _sight(ranking: Sequence[Rank], metric: str) -> list[str]:
    """The smallest difference that these finals could have told apart."""
    if len(ranking) < 2:
        return []
    seeds = [list(line.scores.values()) for line in ranking]
    sentence_sd = median(line.sentence_error for line in ranking[1:])
    least = min(len(own) for own in seeds)
    gap = detectable(pooled(seeds)[0] ** 0.5, sentence_sd, least, len(ranking))
    return [f"Finals like these see a difference of {gap:.1f} {metric} in 80 % of cases."]


def _borrowed(
    finalists: Sequence[Finalist], results: Mapping[str, Sequence[RunResult]]
) -> list[str]:
    """Whose scores stand on context that no model has in use."""
    names = [f.name for f in finalists if any(r.reads_references for r in results[f.name])]
    if not names:
        return []
    return [
        f"Scores of {', '.join(names)} flatter: the sentences before a clip were the references"
        " (`context.generation: gold`), not the model's own."
    ]


def _notes(journal: Journal) -> list[str]:
    """What the journal says beside the scores."""
    notes = []
    stopped = journal.last("search_stopped")
    if stopped is not None:
        notes.append(f"The search was stopped by its budget: {stopped['reason']}.")
    cut = journal.last("finals_cut")
    if cut is not None:
        notes.append(f"The budget left out {cut['runs']} final runs.")
    failed = [e for e in journal.events if e["event"] == "run_failed"]
    notes += [f"{e['finalist']} ({e['run']}) failed: {e['reason']}." for e in failed]
    tested = next((i for i, e in enumerate(journal.events) if e["event"] == "tested"), None)
    later = journal.events[tested:] if tested is not None else []
    if any(e["event"] == "trial_created" for e in later):
        notes.append("The search went on after test had been scored: test is no longer unseen.")
    return notes


def sentence_statistics(
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    measure: Measure,
    store: Store,
) -> tuple[list[Entry], list[str]]:
    """Read the sentence statistics of every ranked run, and the document of each sentence.

    Finalists with fewer than two finished seeds are left out.
    """
    documents = {r.clip.id: r.clip.document or r.clip.id for r in store.records("validation")}
    entries, ids = [], []
    for finalist in finalists:
        seeds = {}
        for result in results[finalist.name]:
            lines = read_predictions(result.folder / "predictions" / "validation.tsv")
            said = {line.clip_id: line.hypothesis for line in lines}
            wanted = {line.clip_id: line.references for line in lines}
            seed = int(result.folder.name.rpartition("-s")[2])
            seeds[seed] = measure.rows(said, wanted)
            ids = sorted(said)
        if finalist.ranked and len(seeds) >= 2:
            entries.append(Entry(finalist.name, seeds))
    return entries, [documents[clip_id] for clip_id in ids]


def _sanity(
    asked: Sequence[str],
    measure: Measure,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
) -> dict[str, float]:
    """Scores of those who know nothing, on validation."""
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


def _answer(ranking: Sequence[Rank], sanity: Mapping[str, float], metric: str) -> str:
    """The result in words, with its doubts."""
    best = ranking[0]
    ties = [line.name for line in ranking[1:] if line.tied]
    text = f"{best.name} is best with {metric} {best.mean:.1f} [{best.low:.1f}, {best.high:.1f}]"
    text += f", not told apart from {', '.join(ties)}" if ties else ", ahead of all others"
    untuned = next((line for line in ranking if line.name == UNTUNED), None)
    if untuned is not None and untuned is not best:
        text += f"; the untuned recipe has {untuned.mean:.1f}"
    lucky = [name for name, value in sanity.items() if value >= best.low]
    if lucky:
        text += f". It is within the noise of {', '.join(lucky)}: nothing was learnt"
    return text + "."
