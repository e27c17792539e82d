"""The outcome of a sweep: ranking, sanity baselines and a conclusion in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.scores import TASK_ACCURACIES, name_task_accuracy
from kinesweep.evaluation.baselines import (
    find_best_constant_sentence,
    find_most_frequent_sentence,
    predict_nearest_neighbors,
)
from kinesweep.evaluation.metrics import TextMetric
from kinesweep.store import Store
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.notes import collect_notes
from kinesweep.sweeps.results.ranking import RankedConfiguration, rank_configurations
from kinesweep.sweeps.results.sentence_statistics import (
    build_ranking_metric,
    compute_sentence_statistics,
)
from kinesweep.sweeps.search.finals import UNTUNED, Finalist
from kinesweep.sweeps.search.pareto import find_pareto_front
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.run_records.result import RunResult


@dataclass(frozen=True)
class SweepOutcome:
    """The outcome of a sweep; the fields are the keys of `result.json`.

    Attributes:
        question: Question of the search space.
        answer: Conclusion in one or two sentences.
        metric: Deciding objective.
        winner: Name of the best configuration.
        winner_values: Fixed and swept values of the winner.
        winner_runs: Run folders of the winner, the best validation score first; the first one is
            exported.
        ranking: Configurations from best to worst.
        levels: Configuration → its scientific levels in readable form; empty without any.
        objectives: Configuration → objective → mean over seeds; empty with a single objective.
        front: Configurations on the Pareto front; empty with a single objective.
        sanity: Baseline → validation score.
        trials: State → number of trials, including duplicates.
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

    @property
    def has_failed_search(self) -> bool:
        """Return whether all trials of the search failed, so that the sweep answers nothing."""
        return set(self.trials) == {"failed"}


def summarize_sweep(
    space: SearchSpace,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    journal: Journal,
    evaluation: EvaluationConfig = EvaluationConfig(),
) -> SweepOutcome:
    """Rank the finalists, score the sanity baselines, and return the outcome of the sweep.

    All scores are validation scores; the test split is not used.

    Args:
        space: The search space.
        store: Feature store with the clips of the train and validation splits.
        finalists: Configurations of the finals.
        results: Name of a finalist → results of its finished runs.
        journal: Journal of the sweep.
        evaluation: Metrics, and the scoring protocol with the tokenizer of the corpus.

    Raises:
        InputError: If no finalist has two finished seeds, or the metric cannot be computed.
    """
    metric_name, sign = space.objectives[0].name, space.objectives[0].direction_sign
    metric = build_ranking_metric(metric_name, evaluation, store)
    entries, groups = compute_sentence_statistics(finalists, results, metric, store)
    ranking = rank_configurations(
        entries, groups, metric.compute_score_from_sum, metric.num_resamples, sign=sign
    )
    winner = next(f for f in finalists if f.name == ranking[0].name)
    winner_results = sorted(
        results[winner.name], key=lambda r: (-sign * r.scores[metric_name], str(r.folder))
    )
    sanity = _score_sanity_baselines(space.sanity_baselines, metric, store, finalists, results)
    objectives, pareto_front = _compute_objectives_and_front(
        space, [ranked.name for ranked in ranking], results
    )
    return SweepOutcome(
        question=space.question,
        answer=_format_conclusion(ranking, sanity, metric_name, sign),
        metric=metric_name,
        winner=winner.name,
        winner_values=dict(winner.values),
        winner_runs=[str(result.folder) for result in winner_results],
        ranking=ranking,
        levels={f.name: f.level for f in finalists if f.level},
        objectives=objectives,
        front=pareto_front,
        sanity=sanity,
        trials=dict(Counter(trial.state for trial in journal.trials)),
        notes=collect_notes(ranking, metric_name, finalists, results, journal),
    )


def _compute_objectives_and_front(
    space: SearchSpace, names: Sequence[str], results: Mapping[str, Sequence[RunResult]]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the mean objectives of finalists and the names of those on the Pareto front.

    Args:
        space: The search space.
        names: Names of the ranked finalists.
        results: Name of a finalist → results of its finished runs.

    Returns:
        Name → objective → mean over seeds, and names on the front in the order of `names`; both are
        empty with a single objective.
    """
    if len(space.objectives) == 1:
        return {}, []
    means: dict[str, dict[str, float]] = {
        name: {
            m.name: fmean(r.objective_values[m.name] for r in results[name])
            for m in space.objectives
        }
        for name in names
    }
    modes = ["max" if m.direction_sign > 0 else "min" for m in space.objectives]
    front_indices = find_pareto_front([list(means[name].values()) for name in names], modes)
    return means, [names[index] for index in front_indices]


def _score_sanity_baselines(
    baselines: Sequence[str],
    metric: TextMetric,
    store: Store,
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
) -> dict[str, float]:
    """Compute the validation scores of the requested baselines and of all sanity runs.

    Args:
        baselines: Names of the baselines, as in `SearchSpace.sanity_baselines`.
        metric: Metric with its scoring protocol.
        store: Feature store with the clips of the train and validation splits.
        finalists: Configurations of the finals; those that are not ranked are sanity runs.
        results: Name of a finalist → results of its finished runs.

    Returns:
        Display name of the baseline or sanity run → score.
    """
    if metric.metric in TASK_ACCURACIES:
        scores = _get_constant_accuracy(metric.metric, results)
    else:
        scores = _score_text_baselines(baselines, metric, store)
    for finalist in finalists:
        if not finalist.ranked and results[finalist.name]:
            scores[finalist.name] = results[finalist.name][0].scores[metric.metric]
    return scores


def _get_constant_accuracy(
    score_name: str, results: Mapping[str, Sequence[RunResult]]
) -> dict[str, float]:
    """Return the accuracy of the best constant answer in a side task, from the results of a run.

    Args:
        score_name: Name of the accuracy.
        results: Name of a finalist → results of its finished runs, which have the same questions.
    """
    result = next(run for runs in results.values() for run in runs)
    task = score_name.removesuffix(name_task_accuracy(""))
    scores = result.tasks["validation"][task]
    return {f"always “{scores['constant_answer']}”": scores["constant_accuracy"]}


def _score_text_baselines(
    baselines: Sequence[str], metric: TextMetric, store: Store
) -> dict[str, float]:
    """Compute the validation scores of baselines that copy texts of train.

    Args:
        baselines: Names of the baselines, as in `SearchSpace.sanity_baselines`.
        metric: Metric with its scoring protocol.
        store: Feature store with the clips of the train and validation splits.

    Returns:
        Display name of the baseline → score.
    """
    train, validation = store.get_records("train"), store.get_records("validation")
    references = {r.clip.id: r.clip.texts for r in validation}
    train_sentences = [text for r in train for text in r.clip.texts]
    scores = {}
    if "frequent" in baselines:
        sentence = find_most_frequent_sentence(train_sentences)
        score = metric(dict.fromkeys(references, sentence), references)
        scores[f"always the most frequent, “{sentence}”"] = score
    if "constant" in baselines:
        sentence, _ = find_best_constant_sentence(train_sentences, references, metric.protocol)
        scores[f"always “{sentence}”"] = metric(dict.fromkeys(references, sentence), references)
    if "nearest" in baselines:
        scores["nearest neighbor"] = metric(
            predict_nearest_neighbors(store, train, validation), references
        )
    return scores


def _format_conclusion(
    ranking: Sequence[RankedConfiguration],
    sanity: Mapping[str, float],
    metric: str,
    sign: int = 1,
) -> str:
    """Summarize the ranking in words, with ties and baselines that reach the winner's interval.

    Args:
        ranking: Configurations from best to worst.
        sanity: Display name of a baseline → validation score.
        metric: Name of the deciding objective.
        sign: 1 if higher values of the objective are better, else -1.
    """
    best = ranking[0]
    ties = [ranked.name for ranked in ranking[1:] if ranked.tied]
    conclusion = (
        f"{best.name} is best with {metric} {best.mean:.1f} [{best.low:.1f}, {best.high:.1f}]"
    )
    if ties:
        conclusion += f", not significantly better than {', '.join(ties)}"
    elif len(ranking) > 1:
        conclusion += ", ahead of all others"
    else:
        # With a single entry nothing was compared, which must not read like a win.
        conclusion += ", the only configuration in the ranking"
    untuned = next((ranked for ranked in ranking if ranked.name == UNTUNED), None)
    if untuned is not None and untuned is not best:
        conclusion += f"; the untuned recipe scores {untuned.mean:.1f}"
    # A winner whose interval includes a sanity baseline may have learned nothing from its input.
    worst_end = sign * (best.low if sign > 0 else best.high)
    matching_baselines = [name for name, score in sanity.items() if sign * score >= worst_end]
    if matching_baselines:
        conclusion += (
            f". This is within the noise of {', '.join(matching_baselines)}: no evidence of"
            " learning"
        )
    return conclusion + "."
