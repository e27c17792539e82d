"""Computation of provisional rankings, from search scores and from complete rounds of the finals.

During the search a ranking is published each time the number of ended trials doubles, so even a
long search prints about a dozen at most.

A round is one seed of every ranked finalist. Only complete rounds are compared, so no configuration
leads because it was trained on more seeds. From the second round on, the tests are those of the
final ranking; they cost 0.3 s of the driver's time per round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Literal

from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.results.provisional import (
    ProvisionalRank,
    ProvisionalRanking,
    count_ended_trials,
    publish_ranking,
)
from kinesweep.sweeps.results.ranking import rank_configurations
from kinesweep.sweeps.results.scorer import ResultsByFinalist, Scorer
from kinesweep.sweeps.search.finals import Finalist, sort_trials
from kinesweep.sweeps.space.parameter import Values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.run_records.result import RunResult, read_finished_result


@dataclass
class ProvisionalRankingPublisher:
    """Publisher of a sweep's provisional rankings during the finals.

    The journal and the run folders alone determine the ranking. A sweep that was killed therefore
    resumes with its last ranking and does not print it again.

    Attributes:
        space: The search space.
        build_scorer: Function that builds the scorer of the deciding objective.
        folder: Folder of the sweep.
        journal: Journal with trials and failed runs.
        finalists: Configurations of the finals.
        get_run_folder: Function from values and seed to the run folder.
        on_message: Function that receives the ranking, one line each.
    """

    space: SearchSpace
    build_scorer: Callable[[], Scorer]
    folder: Path
    journal: Journal
    finalists: Sequence[Finalist]
    get_run_folder: Callable[[Values, int], Path]
    on_message: Callable[[str], None]
    _num_published_rounds: int = field(default=-1, init=False)

    @cached_property
    def _scorer(self) -> Scorer:
        """Scorer of the deciding objective; built once, because it may load a script."""
        return self.build_scorer()

    def publish_if_round_complete(self) -> None:
        """Publish a provisional ranking if a round was completed since the last call.

        The first call publishes in any case; without a complete round it ranks the search trials.
        """
        num_complete = self._count_complete_rounds()
        # Called after every ended run, and most of them do not complete a round.
        if num_complete <= self._num_published_rounds:
            return
        self._num_published_rounds = num_complete
        ranking = self._rank_finalists(num_complete) if num_complete else self._rank_search_trials()
        publish_ranking(self.folder, ranking, self.on_message)

    def _count_complete_rounds(self) -> int:
        """Count the rounds before the first missing run; a failed run does not count as missing."""
        # A failed run may be retried in a later session, so only its last event counts.
        last_events = {e["run"]: e["event"] for e in self.journal.events if "run" in e}
        failed_runs = {run for run, event in last_events.items() if event == "run_failed"}
        num_complete = 0
        # Rounds are counted in the order in which `list_final_runs` lists the seeds.
        for seed in self.space.final_seeds:
            for finalist in (f for f in self.finalists if f.ranked):
                run_dir = self.get_run_folder(finalist.values, seed)
                if run_dir.name not in failed_runs and read_finished_result(run_dir) is None:
                    return num_complete
            num_complete += 1
        return num_complete

    def _rank_search_trials(self) -> ProvisionalRanking | None:
        """Rank the finished trials of the search; return None if there are none."""
        return _rank_trials(self.space, self.journal.trials, "searched", "the search")

    def _rank_finalists(self, num_rounds: int) -> ProvisionalRanking | None:
        """Rank the finalists on the seeds of the first `num_rounds` rounds.

        Returns:
            The ranking, or None if all runs of these rounds failed.
        """
        metric, seeds = self.space.objectives[0].name, self.space.final_seeds[:num_rounds]
        results: dict[str, list[RunResult]] = {}
        scores: dict[str, dict[int, float]] = {}
        for finalist in (f for f in self.finalists if f.ranked):
            seed_results = {
                seed: read_finished_result(self.get_run_folder(finalist.values, seed))
                for seed in seeds
            }
            finished_results = {
                seed: result for seed, result in seed_results.items() if result is not None
            }
            if finished_results:
                results[finalist.name] = list(finished_results.values())
                scores[finalist.name] = {
                    seed: result.scores[metric] for seed, result in finished_results.items()
                }
        values = {f.name: f.values for f in self.finalists}
        tested_ranks = self._rank_with_significance_tests(results, scores, values)
        tested_names = {rank.name for rank in tested_ranks}
        # Finalists with a single finished seed cannot be tested and are listed after the others.
        untested_ranks = [
            ProvisionalRank(name, values[name], fmean(seed_scores.values()), seed_scores)
            for name, seed_scores in scores.items()
            if name not in tested_names
        ]
        sign = self.space.objectives[0].direction_sign
        ranks = (
            *tested_ranks,
            *sorted(untested_ranks, key=lambda rank: (-sign * rank.score, rank.name)),
        )
        if not ranks:
            return None
        return ProvisionalRanking(
            stage="finals",
            after=f"{num_rounds} of {len(self.space.final_seeds)} seeds",
            metric=metric,
            rounds=num_rounds,
            of=len(self.space.final_seeds),
            trials=count_ended_trials(self.journal.trials),
            standings=ranks,
            note=_format_finals_note(num_rounds, len(self.space.final_seeds)),
        )

    def _rank_with_significance_tests(
        self,
        results: ResultsByFinalist,
        scores: Mapping[str, dict[int, float]],
        values: Mapping[str, Values],
    ) -> list[ProvisionalRank]:
        """Rank finalists with at least two finished seeds, with the tests of the final ranking.

        Args:
            results: Name of a finalist → results of its finished runs.
            scores: Name of a finalist → seed → score.
            values: Name of a finalist → values that override the recipe.

        Returns:
            Ranks from best to worst; empty if no finalist has two finished seeds.
        """
        testable_finalists = [f for f in self.finalists if len(results.get(f.name, ())) >= 2]
        if not testable_finalists:
            return []
        entries, groups = self._scorer.collect_statistics(testable_finalists, results)
        ranking = rank_configurations(
            entries,
            groups,
            self._scorer.compute_score_from_sum,
            self._scorer.num_resamples,
            sign=self.space.objectives[0].direction_sign,
        )
        return [
            ProvisionalRank(
                name=ranked.name,
                values=values[ranked.name],
                score=ranked.mean,
                scores=scores[ranked.name],
                low=ranked.low,
                high=ranked.high,
                # The first one is the best configuration, which is not compared with itself.
                gap_to_best=ranked.gap_to_best if index else None,
                p_value=ranked.p_value if index else None,
                tied=ranked.tied if index else None,
            )
            for index, ranked in enumerate(ranking)
        ]


def publish_search_ranking(
    space: SearchSpace, journal: Journal, folder: Path, on_message: Callable[[str], None]
) -> None:
    """Publish the ranking of the trials so far if the number of ended ones is 2, 4, 8, and so on.

    The ranking of all planned trials is left to `ProvisionalRankingPublisher`. Must be called after
    each trial that ended.

    Args:
        space: Search space with the number of planned trials.
        journal: Journal of the sweep.
        folder: Folder of the sweep.
        on_message: Function that receives the ranking, one line each.
    """
    num_ended, num_planned = count_ended_trials(journal.trials), space.search.trials
    if num_ended < 2 or num_ended & (num_ended - 1) or num_ended == num_planned:
        return  # not a power of two, or the ranking after the search follows immediately
    after = f"{num_ended} trials" if num_planned is None else f"{num_ended} of {num_planned} trials"
    publish_ranking(folder, _rank_trials(space, journal.trials, "searching", after), on_message)


def _rank_trials(
    space: SearchSpace,
    trials: Sequence[Trial],
    stage: Literal["searching", "searched"],
    after: str,
) -> ProvisionalRanking | None:
    """Rank the finished trials by their search scores; return None if there are none.

    Args:
        space: The search space.
        trials: All trials of the journal.
        stage: Stage of the ranking.
        after: Part of the sweep that is complete, in readable form.
    """
    metric, seed, num_ended = (
        space.objectives[0].name,
        space.search.seed,
        count_ended_trials(trials),
    )
    ranks = tuple(
        ProvisionalRank(
            f"trial {trial.number}",
            trial.values,
            trial.scores[metric],
            {seed: trial.scores[metric]},
        )
        for trial in _select_finished_trials(space, trials)
    )
    note = (
        "Search scores of one seed each, as evaluated during training:"
        f" differences are not tested, and the best of {num_ended} trials is overestimated because"
        " it was selected."
    )
    if not ranks:
        return None
    return ProvisionalRanking(
        stage=stage,
        after=after,
        metric=metric,
        rounds=0,
        of=len(space.final_seeds),
        trials=num_ended,
        standings=ranks,
        note=note,
    )


def _select_finished_trials(space: SearchSpace, trials: Sequence[Trial]) -> list[Trial]:
    """Return the finished trials from best to worst, without duplicates."""
    return [t for t in sort_trials(space, trials) if t.state == "finished"]


def _format_finals_note(num_rounds: int, num_seeds: int) -> str:
    """Return a note on the limitations of a ranking that is made during the finals."""
    if num_rounds == 1:
        return "One seed each: differences are not tested yet."
    if num_rounds < num_seeds:
        return "Tests before the last seed are not corrected for repeated testing."
    return "All seeds are complete; sanity baselines and the test score follow."
