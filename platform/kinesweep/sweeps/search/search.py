"""The search of a sweep as a policy: what to try, what to prune, when to stop; independent of Ray.

All of its persistent state is in the journal, so a search that is rebuilt from it continues.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kinesweep.config.recipe import Recipe
from kinesweep.core.hashing import flatten
from kinesweep.core.scores import format_scores
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.search.ask_tell import MAX_DEATHS, RunEnd, RunRequest
from kinesweep.sweeps.search.budget import Budget, Spent
from kinesweep.sweeps.search.pruners import Pruner, build_pruner
from kinesweep.sweeps.search.samplers import Sampler, build_sampler
from kinesweep.sweeps.space.arms import arm_of, find_arms, fixed_values
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.sweeps.space.parameter import Values, format_values
from kinesweep.sweeps.space.space import SearchSpace

_MOST_TWINS = 50
"""Number of consecutive requests of known configurations after which an arm is exhausted."""


@dataclass(frozen=True)
class SearchContext:
    """The context of a search: recipe, budget, measurements and callbacks.

    Attributes:
        recipe: Recipe that the sweep tunes.
        config_of: Function from a recipe to its configuration hash.
        evaluation_samples: Number of samples between two evaluations.
        budget: Budget rules.
        disk_bytes: Function that returns the current size of the run folders in bytes.
        model_bytes: Function that returns the size in bytes of what one run leaves on disk.
        on_message: Function that receives progress messages, one line each.
        trial_ended: Callback after each end of a trial, without twins.
    """

    recipe: Recipe
    config_of: Callable[[Recipe], str]
    evaluation_samples: float
    budget: Budget
    disk_bytes: Callable[[], int] = lambda: 0
    model_bytes: Callable[[], int] = lambda: 0
    on_message: Callable[[str], None] = lambda _: None
    trial_ended: Callable[[], None] = lambda: None


@dataclass
class _Arm:
    """One combination of scientific levels with its own sampler and pruner."""

    levels: Values
    sampler: Sampler
    pruner: Pruner
    num_trials: int
    exhausted: bool = False


@dataclass
class SearchPolicy:
    """The policy that runs the search; implements `ask_tell.SweepPolicy`.

    Attributes:
        space: The search space.
        facts: Recipe, budget and measurements.
        journal: Journal; replayed at the start, then extended.
    """

    space: SearchSpace
    facts: SearchContext
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
        # Arms are found by the trials' values, so the journal need not name them.
        for trial in self.journal.trials:
            own[arm_of(trial.values, levels)].append(trial)
        self._arms = [self._arm(arm, base, own[i], len(levels)) for i, arm in enumerate(levels)]
        # Trials in progress when the last driver died are proposed again before anything new. Their
        # twins wait for them and have no runs of their own.
        interrupted = [t for t in self.journal.trials if t.state == "running"]
        self._waiting = deque(t.number for t in interrupted if t.duplicate_of is None)

    @property
    def is_finished(self) -> bool:
        """See `SweepPolicy`."""
        return not self._running and not self._waiting and self._open_arm() is None

    def propose(self) -> RunRequest | None:
        """See `SweepPolicy`."""
        # Trials to retry go first: they resume from checkpoints, and the budget has allowed them.
        if self._waiting:
            return self._start(self.journal.trial(self._waiting.popleft()))
        if not self._stopped and self._open_arm() is not None:
            self._stop_if(self.facts.budget.stop_reason(*self._costs(), self.facts.model_bytes()))
        # Several arms may turn out to be exhausted before one has another configuration.
        while (arm := self._open_arm()) is not None:
            trial = self._next_of(arm)
            if trial is not None:
                return self._start(trial)
        return None

    def report(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """See `SweepPolicy`."""
        trial, step = self._running[key], evaluation["step"]
        metric = self.space.pruner.metric
        # Pruners minimize, so scores are negated.
        loss = evaluation[metric] if metric == "token_loss" else -evaluation[metric]
        if not math.isfinite(loss):
            return False
        training = self._recipe(trial.values).training
        # Learning rate warm-up slows a trial at first; samples within it would favour trials with a
        # short warm-up.
        beyond = float(evaluation["samples"] * max(0.0, 1 - training.warmup_steps / max(1, step)))
        # Projected to `max_steps`: an estimate of a whole run before the first one has finished.
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
            self._stop_if("the rest of the budget is reserved for the finals")
            return False
        return self._arm_of(trial).pruner.should_continue(trial.number, beyond, loss)

    def tell(self, key: str, end: RunEnd) -> None:
        """See `SweepPolicy`."""
        trial = self._running.pop(key)
        self._pace_s.pop(key, None)
        if end.state == "died" and trial.deaths + 1 < MAX_DEATHS:
            self.journal.add(
                "trial_died", trial=trial.number, reason=end.reason, seconds=end.seconds
            )
            self._waiting.append(trial.number)
            self.facts.on_message(f"trial {trial.number}: died ({end.reason}) and will be retried")
            return
        self._close(trial, self._judged(end))

    def _arm(self, levels: Values, base: Values, own: list[Trial], num_arms: int) -> _Arm:
        """Build an arm from the journal, and replay the losses of its trials to its pruner."""
        trials = self._quota(num_arms) or 0
        sampler = build_sampler(self.space, levels, base, own, trials)
        pruner = build_pruner(self.space.pruner, self.facts.evaluation_samples)
        for trial in own:
            # Only the pruner's memory matters here; its answers were acted on at the time.
            for beyond, loss in sorted(trial.losses.items()):
                pruner.should_continue(trial.number, beyond, loss)
        return _Arm(levels, sampler, pruner, sum(trial.duplicate_of is None for trial in own))

    def _quota(self, num_arms: int) -> int | None:
        """Return the number of trials of each arm, rounded up; None for a full grid."""
        wanted = self.space.search.trials
        return None if wanted is None else -(-wanted // num_arms)

    def _open_arm(self) -> _Arm | None:
        """Return the unfinished arm with the fewest trials; None if there is none."""
        if self._stopped or not self.space.searched:
            return None
        quota = self._quota(len(self._arms))
        free = [
            arm
            for arm in self._arms
            if not arm.exhausted and (quota is None or arm.num_trials < quota)
        ]
        # Choosing the arm with the fewest trials keeps all arms level while the search runs.
        return min(free, key=lambda arm: arm.num_trials, default=None)

    def _next_of(self, arm: _Arm) -> Trial | None:
        """Create a trial with a new configuration; None if the arm has no more.

        A configuration that has been tried becomes a twin, which copies the result of the first.
        """
        for _ in range(_MOST_TWINS):
            number = len(self.journal.trials)
            values = arm.sampler.ask(number)
            if values is None:
                break
            config = self.facts.config_of(self._recipe(values))
            twin = next((t for t in self.journal.trials if t.config == config), None)
            named = {} if twin is None else {"duplicate_of": twin.duplicate_of or twin.number}
            # Twins are recorded, too: the sampler has asked for them and must be told their result.
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
            self.facts.on_message(
                f"all configurations have been tried: {arm.num_trials} of {quota} trials"
            )
        return None

    def _start(self, trial: Trial) -> RunRequest:
        """Propose a trial of the journal."""
        key = f"trial {trial.number}"
        self._running[key] = trial
        self._began[key] = self.journal.clock()
        self.facts.on_message(f"{key}: {format_values(trial.values)}")
        values = {**fixed_values(self.space), **trial.values}
        return RunRequest(key, values, self.space.search.seed, "search")

    def _judged(self, end: RunEnd) -> RunEnd:
        """Convert an end to what is recorded: too many deaths or a missing score are failures."""
        if end.state == "died":
            return RunEnd(
                "failed", {}, f"died {MAX_DEATHS} times without progress: {end.reason}", end.seconds
            )
        if end.state != "finished":
            return RunEnd(end.state, {}, end.reason, end.seconds)
        names = [metric.name for metric in self.space.objectives]
        bad = [n for n in names if not math.isfinite(end.scores.get(n, math.nan))]
        if bad:
            return RunEnd("failed", {}, f"its {', '.join(bad)} is not a number", end.seconds)
        return RunEnd("finished", {n: end.scores[n] for n in names}, "", end.seconds)

    def _close(self, trial: Trial, end: RunEnd) -> None:
        """Record an end, tell the sampler, and copy the result to the trial's waiting twins."""
        assert end.state != "died"
        reason = end.reason or (self._stopped if end.state == "pruned" else "")
        facts = {"state": end.state, "scores": dict(end.scores), "reason": reason}
        self.journal.add("trial_ended", trial=trial.number, **facts, seconds=end.seconds)
        # The journal comes first: after a crash the sampler is rebuilt from it.
        self._arm_of(trial).sampler.tell(trial)
        result = format_scores(end.scores, [metric.name for metric in self.space.objectives])
        words = [end.state, *([result] if result else []), *([reason] if reason else [])]
        self.facts.on_message(f"trial {trial.number}: {', '.join(words)}")
        if trial.duplicate_of is None:
            self.facts.trial_ended()
        # Twins proposed while the first trial was in progress have waited for this result.
        for other in self.journal.trials:
            if other.duplicate_of == trial.number and other.state == "running":
                self._take_over(other)

    def _take_over(self, trial: Trial) -> None:
        """End a trial with the result of its twin."""
        assert trial.duplicate_of is not None
        twin = self.journal.trial(trial.duplicate_of)
        assert twin.state != "running"
        self._close(trial, RunEnd(twin.state, twin.scores, f"duplicate of trial {twin.number}"))

    def _stop_if(self, reason: str | None) -> None:
        """Stop the search for a reason, once; None does nothing."""
        if reason is not None and not self._stopped:
            self._stopped = reason
            self.journal.add("search_stopped", reason=reason)
            self.facts.on_message(f"no further trials: {reason}")

    def _costs(self) -> tuple[Spent, float | None]:
        """Return what was spent, and the hours of a complete run; None if not known yet."""
        now = self.journal.clock()
        hours = self.journal.run_seconds() / 3600
        under_way = sum(now - self._began[key] for key in self._running) / 3600
        spent = Spent(
            self.journal.hours(), hours + under_way, self.facts.disk_bytes(), len(self._running)
        )
        # Finished trials are the best estimate; before there are any, running ones are projected to
        # their `max_steps`. The slowest counts, because the finals may consist of such runs.
        whole = [
            t.seconds for t in self.journal.trials if t.state == "finished" and not t.duplicate_of
        ]
        known = whole or list(self._pace_s.values())
        return spent, max(known) / 3600 if known else None

    def _arm_of(self, trial: Trial) -> _Arm:
        """Return the arm of a trial."""
        return self._arms[arm_of(trial.values, [arm.levels for arm in self._arms])]

    def _recipe(self, values: Values) -> Recipe:
        """Return the recipe of a trial, fixed values included."""
        return apply_overrides(self.facts.recipe, {**fixed_values(self.space), **values})
