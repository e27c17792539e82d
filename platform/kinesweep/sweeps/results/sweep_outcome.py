"""The outcome of a sweep: ranking, sanity baselines and a conclusion in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.results.notes import collect_notes
from kinesweep.sweeps.results.ranking import RankedConfiguration, rank_configurations
from kinesweep.sweeps.results.scorer import Scorer
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
    finalists: Sequence[Finalist],
    results: Mapping[str, Sequence[RunResult]],
    journal: Journal,
    scorer: Scorer,
) -> SweepOutcome:
    """Rank the finalists, score the sanity baselines, and return the outcome of the sweep.

    All scores are validation scores; the test split is not used.

    Args:
        space: The search space.
        finalists: Configurations of the finals.
        results: Name of a finalist → results of its finished runs.
        journal: Journal of the sweep.
        scorer: Scores of the deciding objective.

    Raises:
        InputError: If no finalist has two finished seeds, or the metric cannot be computed.
    """
    metric_name, sign = space.objectives[0].name, space.objectives[0].direction_sign
    entries, groups = scorer.collect_statistics(finalists, results)
    ranking = rank_configurations(
        entries, groups, scorer.compute_score_from_sum, scorer.num_resamples, sign=sign
    )
    winner = next(f for f in finalists if f.name == ranking[0].name)
    winner_results = sorted(
        results[winner.name], key=lambda r: (-sign * r.scores[metric_name], str(r.folder))
    )
    sanity = scorer.score_baselines(space.sanity_baselines, finalists, results)
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
        notes=[*collect_notes(ranking, metric_name, finalists, results, journal), *scorer.notes],
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
