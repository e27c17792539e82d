"""The finals: retraining of selected configurations on new seeds.

The finals hold the best trials of the search, the untuned recipe as a baseline, and sanity runs.
Every ranked configuration is trained on all seeds of the finals, none of which the search has used.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kinesweep.config.recipe import Recipe
from kinesweep.core.hashing import flatten
from kinesweep.core.scores import format_scores
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.search.ask_tell import MAX_DEATHS, RunEnd, RunRequest
from kinesweep.sweeps.search.pareto import front
from kinesweep.sweeps.space.arms import find_arms, fixed_values
from kinesweep.sweeps.space.parameter import Values, format_values
from kinesweep.sweeps.space.space import SearchSpace

UNTUNED = "untuned"
_LEAST_SEEDS = 2
"""Seeds that each ranked finalist gets even when the budget is used up; a ranking needs two."""


@dataclass(frozen=True)
class Finalist:
    """One configuration of the finals.

    Attributes:
        name: Display name, such as `trial 7`, `untuned` or `trained on zeros`.
        values: Values that override the recipe, fixed and swept ones.
        seeds: Seeds on which the configuration is trained.
        ranked: Whether it takes part in the ranking; sanity runs are only shown beside it.
        level: Scientific levels in readable form; empty without scientific parameters.
    """

    name: str
    values: Values
    seeds: tuple[int, ...]
    ranked: bool = True
    level: str = ""


def select_finalists(space: SearchSpace, recipe: Recipe, trials: Sequence[Trial]) -> list[Finalist]:
    """Select the finalists: the best trials, the best trial of each level, baseline, sanity runs.

    Args:
        space: The search space.
        recipe: Recipe that the sweep tunes.
        trials: All trials of the search.

    Returns:
        Finalists, with the trials first and the best trial at the front.
    """
    seeds, fixed = space.final_seeds, fixed_values(space)
    base = {**flatten(recipe.model_dump(mode="json")), **fixed}
    finalists = []
    for trial in _chosen(space, base, trials):
        level = format_values({n: v for n, v in trial.values.items() if _scientific(space, n)})
        values = {**fixed, **trial.values}
        finalists.append(Finalist(f"trial {trial.number}", values, seeds, level=level))
    # Without searched parameters there are no trials, and the untuned recipe is all there is.
    if space.baseline or not space.searched:
        finalists.append(Finalist(UNTUNED, fixed, seeds))
    for kind, name in (("zeros", "trained on zeros"), ("shuffled", "trained on shuffled pairs")):
        if kind in space.sanity_baselines and finalists:
            # Sanity runs train the best configuration on corrupted data. They are not ranked, so
            # one seed is enough.
            values = {**finalists[0].values, "batch.ablation": kind}
            finalists.append(Finalist(name, values, seeds[:1], ranked=False))
    return finalists


def best_trials(space: SearchSpace, trials: Sequence[Trial]) -> list[Trial]:
    """Sort trials from best to worst, without duplicates; the earlier of two equal trials is first.

    With several objectives the Pareto front comes first, each part sorted by the first objective.
    If no trial finished, which happens when the budget stops all of them, trials are sorted by the
    samples they have seen and then by their loss.
    """
    own = [t for t in trials if t.duplicate_of is None]
    finished = [t for t in own if t.state == "finished"]
    if not finished:
        reported = [t for t in own if t.losses]
        return sorted(reported, key=lambda t: (-max(t.losses), t.losses[max(t.losses)], t.number))
    objectives = space.objectives
    # `sign` turns costs into scores, so that the front maximizes every coordinate.
    points = {t.number: [m.sign * t.scores[m.name] for m in objectives] for t in finished}
    modes = ["max"] * len(objectives)
    ahead = {finished[i].number for i in front([points[t.number] for t in finished], modes)}
    alone = len(objectives) == 1
    return sorted(
        finished,
        key=lambda t: (not alone and t.number not in ahead, -points[t.number][0], t.number),
    )


def _chosen(space: SearchSpace, base: Values, trials: Sequence[Trial]) -> list[Trial]:
    """Select the best `finalists.count` trials and the best trial of every arm."""
    ranked = best_trials(space, trials)
    chosen = ranked[: space.finalists.count]
    # A level whose best trial is not among the best overall must not disappear from the answer.
    for arm in find_arms(space, base):
        own = [t for t in ranked if all(t.values.get(n) == v for n, v in arm.items())]
        chosen += [t for t in own[:1] if t not in chosen]
    return sorted(chosen, key=ranked.index)


def _scientific(space: SearchSpace, name: str) -> bool:
    """Return whether a key is a scientific parameter of the space."""
    return name in space.parameters and space.parameters[name].role == "scientific"


@dataclass(frozen=True)
class FinalRun:
    """One run of the finals.

    Attributes:
        finalist: Configuration that the run trains.
        seed: Random seed of the run.
        run: Name of the run folder, `CONFIG-sSEED`.
    """

    finalist: Finalist
    seed: int
    run: str

    @property
    def key(self) -> str:
        """Unique name of the run within the policy."""
        return f"{self.finalist.name}, seed {self.seed}"


def final_runs(
    finalists: Sequence[Finalist], run_of: Callable[[Values, int], str]
) -> list[FinalRun]:
    """List the runs of the finals: seed by seed over all ranked finalists, then the sanity runs.

    After each seed all ranked finalists can be compared. Sanity runs matter only at the end.

    Args:
        finalists: Configurations of the finals.
        run_of: Function that maps values and seed to the name of a run folder.
    """
    runs: dict[str, FinalRun] = {}
    for ranked in (True, False):
        group = [f for f in finalists if f.ranked is ranked]
        for turn in range(max((len(f.seeds) for f in group), default=0)):
            for finalist in group:
                for seed in finalist.seeds[turn : turn + 1]:
                    run = run_of(finalist.values, seed)
                    # Two finalists may resolve to the same configuration, for example the untuned
                    # recipe and a trial. They share one run folder, so the run is listed once.
                    runs.setdefault(run, FinalRun(finalist, seed, run))
    return list(runs.values())


@dataclass
class Finals:
    """The policy that runs the finals; implements `ask_tell.SweepPolicy`.

    Attributes:
        runs: Runs that are not finished yet.
        journal: Journal to which starts and ends are written.
        used_up: Function that returns whether the budget is used up.
        on_message: Function that receives progress messages, one line each.
        ended: Callback after each run that finished or failed permanently.
        objectives: Names of the scores to show first.
    """

    runs: Sequence[FinalRun]
    journal: Journal
    used_up: Callable[[], bool] = lambda: False
    on_message: Callable[[str], None] = lambda _: None
    ended: Callable[[], None] = lambda: None
    objectives: Sequence[str] = ()
    _waiting: deque[FinalRun] = field(init=False)
    _running: dict[str, FinalRun] = field(default_factory=dict)
    _deaths: dict[str, int] = field(default_factory=dict)
    _furthest: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting = deque(self.runs)

    @property
    def is_finished(self) -> bool:
        """See `SweepPolicy`."""
        return not self._waiting and not self._running

    def propose(self) -> RunRequest | None:
        """See `SweepPolicy`."""
        # Checked before every start: a run in progress is never stopped by the budget.
        if self._waiting and self.used_up():
            kept = [run for run in self._waiting if self._needed(run)]
            if len(kept) < len(self._waiting):
                left = len(self._waiting) - len(kept)
                self.journal.add("finals_cut", runs=left)
                self.on_message(f"the budget is used up: {left} final runs are skipped")
                self._waiting = deque(kept)
        if not self._waiting:
            return None
        run = self._waiting.popleft()
        self._running[run.key] = run
        self.journal.add("run_started", run=run.run, finalist=run.finalist.name)
        phase = "finals" if run.finalist.ranked else "sanity"
        return RunRequest(run.key, run.finalist.values, run.seed, phase)

    def report(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """See `SweepPolicy`. Runs of the finals are never pruned."""
        # A retried run reports evaluations again that it had reached before; only evaluations
        # beyond these count as progress.
        if evaluation["samples"] > self._furthest.get(key, -1):
            self._furthest[key] = evaluation["samples"]
            self._deaths[key] = 0
        return True

    def tell(self, key: str, end: RunEnd) -> None:
        """See `SweepPolicy`."""
        run = self._running.pop(key)
        facts = {"run": run.run, "finalist": run.finalist.name, "seconds": end.seconds}
        if end.state == "finished":
            scores = dict(end.scores)
            self.journal.add("run_finished", **facts, scores=scores)
            self.on_message(f"{key}: {format_scores(scores, self.objectives)}")
            self.ended()
            return
        self._deaths[key] = self._deaths.get(key, 0) + 1
        # The finals prune nothing: `pruned` means that the trial ended without an outcome.
        again = end.state in ("died", "pruned") and self._deaths[key] < MAX_DEATHS
        self.journal.add("run_died" if again else "run_failed", **facts, reason=end.reason)
        self.on_message(
            f"{key}: {'died and will be retried' if again else 'failed'} ({end.reason})"
        )
        if again:
            self._waiting.append(run)
        else:
            self.ended()

    def _needed(self, run: FinalRun) -> bool:
        """Return whether the ranking requires this run."""
        return run.finalist.ranked and run.seed in run.finalist.seeds[:_LEAST_SEEDS]
