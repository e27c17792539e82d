"""Computation of provisional rankings, from search scores and from complete rounds of the finals.

During the search a ranking is made each time the number of ended trials doubles, so even a long
search prints about a dozen at most.

A round is one seed of every ranked finalist. Only complete rounds are compared, so no configuration
leads because it was trained on more seeds. From the second round on, the tests are those of the
final ranking; they cost 0.3 s of the driver's time per round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Literal

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.evaluation.scoring import Measure
from kinesweep.store import Store
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.results.provisional import (
    Provisional,
    Standing,
    count_ended,
    publish,
)
from kinesweep.sweeps.results.ranking import rank
from kinesweep.sweeps.results.sweep_result import sentence_statistics
from kinesweep.sweeps.search.finals import Finalist, best_trials
from kinesweep.sweeps.space.parameter import Values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.run_records.result import RunResult, read_finished

Results = Mapping[str, Sequence[RunResult]]


@dataclass
class Rounds:
    """The publisher of a sweep's provisional rankings during the finals.

    The journal and the run folders alone determine the ranking. A sweep that was killed therefore
    resumes with its last ranking and does not print it again.

    Attributes:
        space: The search space.
        store: Feature store with the documents of the validation clips.
        protocol: Text normalization and tokenization for scoring.
        folder: Folder of the sweep.
        journal: Journal with trials and failed runs.
        finalists: Configurations of the finals.
        run_folder: Function from values and seed to the run folder.
        on_message: Function that receives the ranking, one line each.
    """

    space: SearchSpace
    store: Store
    protocol: ScoringProtocol
    folder: Path
    journal: Journal
    finalists: Sequence[Finalist]
    run_folder: Callable[[Values, int], Path]
    on_message: Callable[[str], None]
    _told: int = field(default=-1, init=False)

    def publish(self) -> None:
        """Publish the ranking if a round has been completed since the last call."""
        complete = self._count_complete()
        # Called after every ended run, and most of them do not complete a round.
        if complete <= self._told:
            return
        self._told = complete
        made = self._of_finals(complete) if complete else self._of_search()
        publish(self.folder, made, self.on_message)

    def _count_complete(self) -> int:
        """Count the rounds without missing runs; a permanently failed run is not missing."""
        # A failed run may be retried in a later session, so only its last event counts.
        last = {e["run"]: e["event"] for e in self.journal.events if "run" in e}
        failed = {run for run, event in last.items() if event == "run_failed"}
        complete = 0
        # Rounds are counted in the order in which `final_runs` trains the seeds.
        for seed in self.space.final_seeds:
            for finalist in (f for f in self.finalists if f.ranked):
                run = self.run_folder(finalist.values, seed)
                if run.name not in failed and read_finished(run) is None:
                    return complete
            complete += 1
        return complete

    def _of_search(self) -> Provisional | None:
        """Rank the finished trials of the search; None if there are none."""
        return _rank_trials(self.space, self.journal.trials, "searched", "the search")

    def _of_finals(self, rounds: int) -> Provisional | None:
        """Rank the finalists on the seeds of complete rounds; None if all of their runs failed."""
        metric, seeds = self.space.objectives[0].name, self.space.final_seeds[:rounds]
        results: dict[str, list[RunResult]] = {}
        scores: dict[str, dict[int, float]] = {}
        for finalist in (f for f in self.finalists if f.ranked):
            found = {s: read_finished(self.run_folder(finalist.values, s)) for s in seeds}
            whole = {s: result for s, result in found.items() if result is not None}
            if whole:
                results[finalist.name] = list(whole.values())
                scores[finalist.name] = {s: r.scores[metric] for s, r in whole.items()}
        values = {f.name: f.values for f in self.finalists}
        tested = self._tested(results, scores, values)
        names = {standing.name for standing in tested}
        # Finalists with a single finished seed cannot be tested and are listed after the others.
        rest = [
            Standing(name, values[name], fmean(own.values()), own)
            for name, own in scores.items()
            if name not in names
        ]
        sign = self.space.objectives[0].sign
        standings = (*tested, *sorted(rest, key=lambda line: (-sign * line.score, line.name)))
        note = _note_of_finals(rounds, len(self.space.final_seeds))
        if not standings:
            return None
        return Provisional(
            stage="finals",
            after=f"{rounds} of {len(self.space.final_seeds)} seeds",
            metric=metric,
            rounds=rounds,
            of=len(self.space.final_seeds),
            trials=count_ended(self.journal.trials),
            standings=standings,
            note=note,
        )

    def _tested(
        self,
        results: Results,
        scores: Mapping[str, dict[int, float]],
        values: Mapping[str, Values],
    ) -> list[Standing]:
        """Rank finalists with at least two seeds by the tests of the final ranking."""
        measure = Measure(self.space.objectives[0].name, self.protocol)
        able = [f for f in self.finalists if len(results.get(f.name, ())) >= 2]
        if not able:
            return []
        entries, groups = sentence_statistics(able, results, measure, self.store)
        lines = rank(entries, groups, measure.of_sums)
        return [
            Standing(
                name=line.name,
                values=values[line.name],
                score=line.mean,
                scores=scores[line.name],
                low=line.low,
                high=line.high,
                # The first line is the best configuration, which is not compared with itself.
                gap_to_best=line.gap_to_best if place else None,
                p_value=line.p_value if place else None,
                tied=line.tied if place else None,
            )
            for place, line in enumerate(lines)
        ]


def publish_during_search(
    space: SearchSpace, journal: Journal, folder: Path, on_message: Callable[[str], None]
) -> None:
    """Publish the ranking of the trials so far if their number is a power of two.

    Must be called after each trial that ended.

    Args:
        space: Search space with the number of planned trials.
        journal: Journal of the sweep.
        folder: Folder of the sweep.
        on_message: Function that receives the ranking, one line each.
    """
    ended, planned = count_ended(journal.trials), space.search.trials
    if ended < 2 or ended & (ended - 1) or ended == planned:
        return  # not a power of two, or the ranking after the search follows immediately
    after = f"{ended} trials" if planned is None else f"{ended} of {planned} trials"
    publish(folder, _rank_trials(space, journal.trials, "searching", after), on_message)


def _rank_trials(
    space: SearchSpace,
    trials: Sequence[Trial],
    stage: Literal["searching", "searched"],
    after: str,
) -> Provisional | None:
    """Rank the finished trials by their search scores; None if there are none."""
    metric, seed, ended = space.objectives[0].name, space.search.seed, count_ended(trials)
    standings = tuple(
        Standing(f"trial {t.number}", t.values, t.scores[metric], {seed: t.scores[metric]})
        for t in _finished(space, trials)
    )
    note = (
        "Search scores of one seed each, decoded as set in `evaluation.during_training`:"
        f" differences are not tested, and the best of {ended} trials is overestimated because it"
        " was selected."
    )
    if not standings:
        return None
    return Provisional(
        stage=stage,
        after=after,
        metric=metric,
        rounds=0,
        of=len(space.final_seeds),
        trials=ended,
        standings=standings,
        note=note,
    )


def _finished(space: SearchSpace, trials: Sequence[Trial]) -> list[Trial]:
    """Return the finished trials from best to worst, and not the fallback of `best_trials`."""
    return [t for t in best_trials(space, trials) if t.state == "finished"]


def _note_of_finals(rounds: int, wanted: int) -> str:
    """Describe the limitations of a ranking during the finals."""
    if rounds == 1:
        return "One seed each: differences are not tested yet."
    if rounds < wanted:
        return "Tests before the last seed are not corrected for repeated testing."
    return "All seeds are complete; sanity baselines and the test score follow."
