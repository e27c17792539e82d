"""Computes provisional rankings: from the search's scores, then from whole rounds of the finals.

In the search there is one each time the number of ended trials doubles, so that long searches do
not tell more than a dozen.

A round is one seed of every finalist. Only whole rounds are compared, so no configuration is ahead
because it was trained on more seeds. From the second round on the same tests decide as at the end;
they cost 0.3 s of the driver's time a round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Literal

from kinesweep.core.recipe.evaluation import Protocol
from kinesweep.store import Store
from kinesweep.sweeps.finals import Finalist, best_trials
from kinesweep.sweeps.journal import Journal, Trial
from kinesweep.sweeps.outcome import sentence_statistics
from kinesweep.sweeps.parameter import Values
from kinesweep.sweeps.provisional import (
    Provisional,
    Standing,
    count_ended,
    publish,
)
from kinesweep.sweeps.ranking import rank
from kinesweep.sweeps.space import SearchSpace
from kinesweep.training.result import RunResult, read_finished
from kinesweep.training.scoring import Measure

Results = Mapping[str, Sequence[RunResult]]


@dataclass
class Rounds:
    """Publishes a sweep's provisional ranking whenever there is a new one.

    What stands in the journal and the run folders decides, so a sweep that was killed goes on with
    the ranking it had and does not tell it twice.

    Attributes:
        space: the question.
        store: features that the sentences belong to.
        protocol: treatment of texts before they are scored.
        folder: of the sweep.
        journal: holds trials and failed runs.
        finalists: of the finals.
        run_folder: values, seed → folder of the run.
        say: told the ranking, a line each.
    """

    space: SearchSpace
    store: Store
    protocol: Protocol
    folder: Path
    journal: Journal
    finalists: Sequence[Finalist]
    run_folder: Callable[[Values, int], Path]
    say: Callable[[str], None]
    _told: int = field(default=-1, init=False)

    def publish(self) -> None:
        """Write and tell the ranking, if a round was completed since the last call."""
        complete = self._count_complete()
        if complete <= self._told:
            return
        self._told = complete
        made = self._of_finals(complete) if complete else self._of_search()
        publish(self.folder, made, self.say)

    def _count_complete(self) -> int:
        """Rounds in which no run is missing; a run that failed for good is not waited for."""
        last = {e["run"]: e["event"] for e in self.journal.events if "run" in e}
        failed = {run for run, event in last.items() if event == "run_failed"}
        complete = 0
        for seed in self.space.final_seeds:
            for finalist in (f for f in self.finalists if f.ranked):
                run = self.run_folder(finalist.values, seed)
                if run.name not in failed and read_finished(run) is None:
                    return complete
            complete += 1
        return complete

    def _of_search(self) -> Provisional | None:
        """The finished trials; None where there are none."""
        return _rank_trials(self.space, self.journal.trials, "searched", "the search")

    def _of_finals(self, rounds: int) -> Provisional | None:
        """The finalists on the seeds of whole rounds; None where all of their runs failed."""
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
        """Those with two seeds or more, by the tests of the final ranking."""
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
                behind=line.behind if place else None,
                p_value=line.p_value if place else None,
                tied=line.tied if place else None,
            )
            for place, line in enumerate(lines)
        ]


def publish_during_search(
    space: SearchSpace, journal: Journal, folder: Path, say: Callable[[str], None]
) -> None:
    """Write and tell the ranking of the trials so far, if their number has just doubled.

    To be called after each trial that ended.
    """
    ended, planned = count_ended(journal.trials), space.search.trials
    if ended < 2 or ended & (ended - 1) or ended == planned:
        return  # neither 2 nor 4 nor 8 …, or the ranking after the search comes next
    after = f"{ended} trials" if planned is None else f"{ended} of {planned} trials"
    publish(folder, _rank_trials(space, journal.trials, "searching", after), say)


def _rank_trials(
    space: SearchSpace,
    trials: Sequence[Trial],
    stage: Literal["searching", "searched"],
    after: str,
) -> Provisional | None:
    """Rank the finished trials by their search scores; None where there are none."""
    metric, seed, ended = space.objectives[0].name, space.search.seed, count_ended(trials)
    standings = tuple(
        Standing(f"trial {t.number}", t.values, t.scores[metric], {seed: t.scores[metric]})
        for t in _finished(space, trials)
    )
    note = (
        "Single-seed search scores, decoded as `evaluation.search` says: no difference is"
        f" tested, and the best of {ended} trials is overestimated because it was selected."
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
    """Finished trials, the best first; `best_trials` falls back on others where there are none."""
    return [t for t in best_trials(space, trials) if t.state == "finished"]


def _note_of_finals(rounds: int, wanted: int) -> str:
    """What a ranking in the middle of the finals does not say."""
    if rounds == 1:
        return "One seed each: no difference is tested yet."
    if rounds < wanted:
        return "Tests before the last seed are not corrected for being repeated after each one."
    return "All seeds are in; sanity baselines and the test score follow."
