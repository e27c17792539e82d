"""The search of a sweep, as decisions: what to try, who goes on, when to stop. No Ray in it.

Everything that it knows stands in the journal; made again from there, it goes on.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kinesweep.core.hashing import flatten
from kinesweep.core.recipe import Recipe
from kinesweep.core.scores import format_scores
from kinesweep.sweeps.agenda import MAX_DEATHS, End, Proposal
from kinesweep.sweeps.arms import arm_of, find_arms, fixed_values
from kinesweep.sweeps.budget import Budget, Spent
from kinesweep.sweeps.journal import Journal, Trial
from kinesweep.sweeps.loading import apply
from kinesweep.sweeps.parameter import Values, shown
from kinesweep.sweeps.propose import Proposer, build_proposer
from kinesweep.sweeps.schedule import Pruner, build_pruner
from kinesweep.sweeps.space import SearchSpace

_MOST_TWINS = 50
"""Proposals in a row that were tried before, after which an arm counts as exhausted."""


@dataclass(frozen=True)
class SearchFacts:
    """What the search must know of the recipe and the machine.

    Attributes:
        recipe: of whom the question is asked.
        config_of: recipe → configuration hash.
        evaluation_samples: samples from one evaluation to the next.
        budget: limits.
        disk_bytes: that the run folders take now.
        model_bytes: that a run leaves on disk.
        say: told what happens, a line each.
        trial_ended: called after each end of a trial, twins left out.
    """

    recipe: Recipe
    config_of: Callable[[Recipe], str]
    evaluation_samples: float
    budget: Budget
    disk_bytes: Callable[[], int] = lambda: 0
    model_bytes: Callable[[], int] = lambda: 0
    say: Callable[[str], None] = lambda _: None
    trial_ended: Callable[[], None] = lambda: None


@dataclass
class _Arm:
    """One combination of scientific levels, with a sampler and rungs of its own."""

    levels: Values
    proposer: Proposer
    pruner: Pruner
    num_trials: int
    exhausted: bool = False


@dataclass
class Search:
    """The agenda of the search; see `agenda.Agenda`.

    Attributes:
        space: the question.
        facts: of recipe and machine.
        journal: read at the beginning, written to ever after.
    """

    space: SearchSpace
    facts: SearchFacts
    journal: Journal
    _arms: list[_Arm] = field(init=False)
    _waiting: deque[int] = field(init=False)
    _running: dict[str, Trial] = field(default_factory=dict)
    _began: dict[str, float] = field(default_factory=dict)
    _pace_s: dict[str, float] = field(default_factory=dict)
    _stopped: str = ""

    def __post_init__(self) -> None:
        base = {**flatten(self.facts.recipe.model_dump(mode="json")), **fixed_values(self.space)}
        levels = find_arms(self.space, base)
        own: list[list[Trial]] = [[] for _ in levels]
        for trial in self.journal.trials:
            own[arm_of(trial.values, levels)].append(trial)
        self._arms = [self._arm(arm, base, own[i], len(levels)) for i, arm in enumerate(levels)]
        interrupted = [t for t in self.journal.trials if t.state == "running"]
        self._waiting = deque(t.number for t in interrupted if t.twin is None)

    @property
    def over(self) -> bool:
        """See `Agenda`."""
        return not self._running and not self._waiting and self._open_arm() is None

    def propose(self) -> Proposal | None:
        """See `Agenda`."""
        if self._waiting:
            return self._start(self.journal.trial(self._waiting.popleft()))
        if not self._stopped and self._open_arm() is not None:
            self._stop_if(self.facts.budget.why_no_more(*self._costs(), self.facts.model_bytes()))
        while (arm := self._open_arm()) is not None:
            trial = self._next_of(arm)
            if trial is not None:
                return self._start(trial)
        return None

    def report(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """See `Agenda`."""
        trial, step = self._running[key], evaluation["step"]
        metric = self.space.scheduler.metric
        loss = evaluation[metric] if metric == "token_loss" else -evaluation[metric]
        if not math.isfinite(loss):
            return False
        training = self._recipe(trial.values).training
        beyond = float(evaluation["samples"] * max(0.0, 1 - training.warmup_steps / max(1, step)))
        self._pace_s[key] = (self.journal.clock() - self._began[key]) * training.max_steps / step
        self.journal.add(
            "trial_reported",
            trial=trial.number,
            step=step,
            samples=evaluation["samples"],
            beyond=beyond,
            loss=loss,
        )
        if self.facts.budget.must_end(*self._costs()):
            self._stop_if("the budget is used up but for the finals")
            return False
        return self._arm_of(trial).pruner.goes_on(trial.number, beyond, loss)

    def end(self, key: str, end: End) -> None:
        """See `Agenda`."""
        trial = self._running.pop(key)
        self._pace_s.pop(key, None)
        if end.state == "died" and trial.deaths + 1 < MAX_DEATHS:
            self.journal.add(
                "trial_died", trial=trial.number, reason=end.reason, seconds=end.seconds
            )
            self._waiting.append(trial.number)
            self.facts.say(f"trial {trial.number}: died ({end.reason}), is tried again")
            return
        self._close(trial, self._judged(end))

    def _arm(self, levels: Values, base: Values, own: list[Trial], num_arms: int) -> _Arm:
        """An arm as the journal left it; what its trials lost is told to its pruner again."""
        trials = self._quota(num_arms) or 0
        proposer = build_proposer(self.space, levels, base, own, trials)
        pruner = build_pruner(self.space.scheduler, self.facts.evaluation_samples)
        for trial in own:
            for beyond, loss in sorted(trial.losses.items()):
                pruner.goes_on(trial.number, beyond, loss)
        return _Arm(levels, proposer, pruner, sum(trial.twin is None for trial in own))

    def _quota(self, num_arms: int) -> int | None:
        """Trials of each arm, the same for all; None: all there are."""
        wanted = self.space.search.trials
        return None if wanted is None else -(-wanted // num_arms)

    def _open_arm(self) -> _Arm | None:
        """The arm with the fewest trials that may have another."""
        if self._stopped or not self.space.searched:
            return None
        quota = self._quota(len(self._arms))
        free = [
            arm
            for arm in self._arms
            if not arm.exhausted and (quota is None or arm.num_trials < quota)
        ]
        return min(free, key=lambda arm: arm.num_trials, default=None)

    def _next_of(self, arm: _Arm) -> Trial | None:
        """A configuration nobody has tried; None once the arm has no more."""
        for _ in range(_MOST_TWINS):
            number = len(self.journal.trials)
            values = arm.proposer.ask(number)
            if values is None:
                break
            config = self.facts.config_of(self._recipe(values))
            twin = next((t for t in self.journal.trials if t.config == config), None)
            named = {} if twin is None else {"twin": twin.twin or twin.number}
            self.journal.add("trial_created", trial=number, values=values, config=config, **named)
            trial = self.journal.trial(number)
            if twin is None:
                arm.num_trials += 1
                return trial
            if twin.state != "running":
                self._take_over(trial)
        arm.exhausted = True
        quota = self._quota(len(self._arms))
        if quota is not None and arm.num_trials < quota:
            self.facts.say(f"every configuration was tried: {arm.num_trials} of {quota} trials")
        return None

    def _start(self, trial: Trial) -> Proposal:
        key = f"trial {trial.number}"
        self._running[key] = trial
        self._began[key] = self.journal.clock()
        self.facts.say(f"{key}: {shown(trial.values)}")
        values = {**fixed_values(self.space), **trial.values}
        return Proposal(key, values, self.space.search.seed, "search")

    def _judged(self, end: End) -> End:
        """An end that is told: who died too often has failed, and so has a score that is none."""
        if end.state == "died":
            return End(
                "failed", {}, f"died {MAX_DEATHS} times at one place: {end.reason}", end.seconds
            )
        if end.state != "finished":
            return End(end.state, {}, end.reason, end.seconds)
        names = [metric.name for metric in self.space.objectives]
        bad = [n for n in names if not math.isfinite(end.scores.get(n, math.nan))]
        if bad:
            return End("failed", {}, f"its {', '.join(bad)} is not a number", end.seconds)
        return End("finished", {n: end.scores[n] for n in names}, "", end.seconds)

    def _close(self, trial: Trial, end: End) -> None:
        """Writes an end down, tells the proposer, and hands it to the trial's twins."""
        assert end.state != "died"
        reason = end.reason or (self._stopped if end.state == "pruned" else "")
        facts = {"state": end.state, "scores": dict(end.scores), "reason": reason}
        self.journal.add("trial_ended", trial=trial.number, **facts, seconds=end.seconds)
        self._arm_of(trial).proposer.tell(trial)
        result = format_scores(end.scores, [metric.name for metric in self.space.objectives])
        words = [end.state, *([result] if result else []), *([reason] if reason else [])]
        self.facts.say(f"trial {trial.number}: {', '.join(words)}")
        if trial.twin is None:
            self.facts.trial_ended()
        for other in self.journal.trials:
            if other.twin == trial.number and other.state == "running":
                self._take_over(other)

    def _take_over(self, trial: Trial) -> None:
        """Ends a trial as its twin ended."""
        assert trial.twin is not None
        twin = self.journal.trial(trial.twin)
        assert twin.state != "running"
        self._close(trial, End(twin.state, twin.scores, f"the same as trial {twin.number}"))

    def _stop_if(self, reason: str | None) -> None:
        if reason is not None and not self._stopped:
            self._stopped = reason
            self.journal.add("search_stopped", reason=reason)
            self.facts.say(f"no further trials: {reason}")

    def _costs(self) -> tuple[Spent, float | None]:
        """What was spent, and the hours that a whole run takes, as far as known."""
        now = self.journal.clock()
        hours = self.journal.run_seconds() / 3600
        under_way = sum(now - self._began[key] for key in self._running) / 3600
        spent = Spent(
            self.journal.hours(), hours + under_way, self.facts.disk_bytes(), len(self._running)
        )
        whole = [t.seconds for t in self.journal.trials if t.state == "finished" and not t.twin]
        known = whole or list(self._pace_s.values())
        return spent, max(known) / 3600 if known else None

    def _arm_of(self, trial: Trial) -> _Arm:
        return self._arms[arm_of(trial.values, [arm.levels for arm in self._arms])]

    def _recipe(self, values: Values) -> Recipe:
        return apply(self.facts.recipe, {**fixed_values(self.space), **values})
