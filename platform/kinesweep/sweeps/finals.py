"""What is trained again on fresh seeds: the best of the search, the baseline, the sanity runs."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kinesweep.core.hashing import flatten
from kinesweep.core.recipe import Recipe
from kinesweep.core.scores import format_scores
from kinesweep.sweeps.agenda import MAX_DEATHS, End, Proposal
from kinesweep.sweeps.arms import find_arms, fixed_values
from kinesweep.sweeps.journal import Journal, Trial
from kinesweep.sweeps.parameter import Values, shown
from kinesweep.sweeps.pareto import front
from kinesweep.sweeps.space import SearchSpace

UNTUNED = "untuned"
_LEAST_SEEDS = 2
"""Seeds that every finalist is trained on even when the budget is used up: a ranking needs two."""


@dataclass(frozen=True)
class Finalist:
    """One configuration of the finals.

    Attributes:
        name: `trial 7`, `untuned`, `trained on zeros`.
        values: what is laid over the recipe, every swept parameter that applies.
        seeds: on which it is trained.
        ranked: whether it takes part in the ranking; sanity runs stand beside it.
        level: of the scientific parameters, in words; empty where there are none.
    """

    name: str
    values: Values
    seeds: tuple[int, ...]
    ranked: bool = True
    level: str = ""


def choose(space: SearchSpace, recipe: Recipe, trials: Sequence[Trial]) -> list[Finalist]:
    """The finals of a sweep: the best of the search first, each level's best among them."""
    seeds, fixed = space.final_seeds, fixed_values(space)
    base = {**flatten(recipe.model_dump(mode="json")), **fixed}
    finalists = []
    for trial in _chosen(space, base, trials):
        level = shown({n: v for n, v in trial.values.items() if _scientific(space, n)})
        values = {**fixed, **trial.values}
        finalists.append(Finalist(f"trial {trial.number}", values, seeds, level=level))
    if space.baseline or not space.searched:
        finalists.append(Finalist(UNTUNED, fixed, seeds))
    for kind, name in (("zeros", "trained on zeros"), ("shuffled", "trained on shuffled pairs")):
        if kind in space.sanity and finalists:
            values = {**finalists[0].values, "batch.ablation": kind}
            finalists.append(Finalist(name, values, seeds[:1], ranked=False))
    return finalists


def best_trials(space: SearchSpace, trials: Sequence[Trial]) -> list[Trial]:
    """Trials, the best first, no configuration twice; of equal ones the earlier.

    Several objectives: first the front, by the first objective, then the others. Where no trial was
    finished (a budget may have ended all), those that were furthest and lowest in loss.
    """
    own = [t for t in trials if t.twin is None]
    finished = [t for t in own if t.state == "finished"]
    if not finished:
        reported = [t for t in own if t.losses]
        return sorted(reported, key=lambda t: (-max(t.losses), t.losses[max(t.losses)], t.number))
    objectives = space.objectives
    points = {t.number: [m.sign * t.scores[m.name] for m in objectives] for t in finished}
    modes = ["max"] * len(objectives)
    ahead = {finished[i].number for i in front([points[t.number] for t in finished], modes)}
    alone = len(objectives) == 1
    return sorted(
        finished,
        key=lambda t: (not alone and t.number not in ahead, -points[t.number][0], t.number),
    )


def _chosen(space: SearchSpace, base: Values, trials: Sequence[Trial]) -> list[Trial]:
    """The best `count`, and the best of every level."""
    ranked = best_trials(space, trials)
    chosen = ranked[: space.finalists.count]
    for arm in find_arms(space, base):
        own = [t for t in ranked if all(t.values.get(n) == v for n, v in arm.items())]
        chosen += [t for t in own[:1] if t not in chosen]
    return sorted(chosen, key=ranked.index)


def _scientific(space: SearchSpace, name: str) -> bool:
    return name in space.parameters and space.parameters[name].role == "scientific"


@dataclass(frozen=True)
class FinalRun:
    """One run of the finals.

    Attributes:
        finalist: whose.
        seed: of the run.
        run: name of its folder, `CONFIG-sSEED`.
    """

    finalist: Finalist
    seed: int
    run: str

    @property
    def key(self) -> str:
        """Names it in the agenda."""
        return f"{self.finalist.name}, seed {self.seed}"


def final_runs(
    finalists: Sequence[Finalist], run_of: Callable[[Values, int], str]
) -> list[FinalRun]:
    """List all runs, no folder twice: seed by seed over the ranked finalists, sanity runs last.

    After each seed all finalists can be compared; a sanity run decides nothing before the end.
    """
    runs: dict[str, FinalRun] = {}
    for ranked in (True, False):
        group = [f for f in finalists if f.ranked is ranked]
        for turn in range(max((len(f.seeds) for f in group), default=0)):
            for finalist in group:
                for seed in finalist.seeds[turn : turn + 1]:
                    run = run_of(finalist.values, seed)
                    runs.setdefault(run, FinalRun(finalist, seed, run))
    return list(runs.values())


@dataclass
class Finals:
    """The agenda of the finals; see `agenda.Agenda`.

    Attributes:
        runs: those that are not finished yet.
        journal: where each end is noted.
        used_up: whether the budget is.
        say: told what happens.
        ended: called after each run that finished or failed for good.
        objectives: names of the scores that are shown first.
    """

    runs: Sequence[FinalRun]
    journal: Journal
    used_up: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda _: None
    ended: Callable[[], None] = lambda: None
    objectives: Sequence[str] = ()
    _waiting: deque[FinalRun] = field(init=False)
    _running: dict[str, FinalRun] = field(default_factory=dict)
    _deaths: dict[str, int] = field(default_factory=dict)
    _furthest: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting = deque(self.runs)

    @property
    def over(self) -> bool:
        """See `Agenda`."""
        return not self._waiting and not self._running

    def propose(self) -> Proposal | None:
        """See `Agenda`."""
        if self._waiting and self.used_up():
            kept = [run for run in self._waiting if self._needed(run)]
            if len(kept) < len(self._waiting):
                left = len(self._waiting) - len(kept)
                self.journal.add("finals_cut", runs=left)
                self.say(f"the budget is used up: {left} final runs are left out")
                self._waiting = deque(kept)
        if not self._waiting:
            return None
        run = self._waiting.popleft()
        self._running[run.key] = run
        self.journal.add("run_started", run=run.run, finalist=run.finalist.name)
        phase = "finals" if run.finalist.ranked else "sanity"
        return Proposal(run.key, run.finalist.values, run.seed, phase)

    def report(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """See `Agenda`; nobody is pruned in the finals."""
        if evaluation["samples"] > self._furthest.get(key, -1):
            self._furthest[key] = evaluation["samples"]
            self._deaths[key] = 0
        return True

    def end(self, key: str, end: End) -> None:
        """See `Agenda`."""
        run = self._running.pop(key)
        facts = {"run": run.run, "finalist": run.finalist.name, "seconds": end.seconds}
        if end.state == "finished":
            scores = dict(end.scores)
            self.journal.add("run_finished", **facts, scores=scores)
            self.say(f"{key}: {format_scores(scores, self.objectives)}")
            self.ended()
            return
        self._deaths[key] = self._deaths.get(key, 0) + 1
        again = end.state in ("died", "pruned") and self._deaths[key] < MAX_DEATHS
        self.journal.add("run_died" if again else "run_failed", **facts, reason=end.reason)
        self.say(f"{key}: {'died, is tried again' if again else 'failed'} ({end.reason})")
        if again:
            self._waiting.append(run)
        else:
            self.ended()

    def _needed(self, run: FinalRun) -> bool:
        """Whether a ranking cannot be made without it."""
        return run.finalist.ranked and run.seed in run.finalist.seeds[:_LEAST_SEEDS]
