"""The search policy of a sweep: samples, prunes and stops trials; independent of Ray.

All persistent state is in the journal, so a search that is rebuilt from its journal continues.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kinesweep.config.recipe import Recipe
from kinesweep.core.hashing import flatten_mapping
from kinesweep.core.scores import format_scores
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.search.ask_tell import MAX_DEATHS, RunEnd, RunRequest
from kinesweep.sweeps.search.budget import Budget, ResourceUsage
from kinesweep.sweeps.search.pruners import Pruner, build_pruner
from kinesweep.sweeps.search.samplers import Sampler, build_sampler
from kinesweep.sweeps.space.arms import find_arm_index, find_arms, get_fixed_values
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.sweeps.space.parameter import Values, format_values
from kinesweep.sweeps.space.space import SearchSpace

_MAX_DUPLICATES = 50
"""Number of consecutive duplicate configurations after which an arm counts as exhausted."""


@dataclass(frozen=True)
class SearchContext:
    """The context of a search: recipe, budget, measurements and callbacks.

    Attributes:
        recipe: Recipe that the sweep tunes.
        compute_config_hash: Function from a recipe to its configuration hash.
        samples_per_eval: Number of samples between two evaluations.
        budget: Budget rules.
        disk_bytes: Function that returns the current size of the run folders in bytes.
        model_bytes: Function that returns the bytes that one run leaves on disk.
        on_message: Function that receives progress messages, one line each.
        on_trial_end: Callback after each trial that ended, except duplicates.
    """

    recipe: Recipe
    compute_config_hash: Callable[[Recipe], str]
    samples_per_eval: float
    budget: Budget
    disk_bytes: Callable[[], int] = lambda: 0
    model_bytes: Callable[[], int] = lambda: 0
    on_message: Callable[[str], None] = lambda _: None
    on_trial_end: Callable[[], None] = lambda: None


@dataclass
class _Arm:
    """One combination of scientific levels with its own sampler and pruner."""

    levels: Values
    sampler: Sampler
    pruner: Pruner
    num_trials: int
    is_exhausted: bool = False


@dataclass
class SearchPolicy:
    """The policy that runs the search; implements `ask_tell.SweepPolicy`.

    Attributes:
        space: The search space.
        context: Recipe, budget, measurements and callbacks.
        journal: Journal; replayed at the start, then extended.
    """

    space: SearchSpace
    context: SearchContext
    journal: Journal
    _arms: list[_Arm] = field(init=False)
    _retry_queue: deque[int] = field(init=False)
    _running: dict[str, Trial] = field(default_factory=dict)
    _start_s: dict[str, float] = field(default_factory=dict)
    _run_s: dict[str, float] = field(default_factory=dict)
    _stop_reason: str = ""

    def __post_init__(self) -> None:
        base = {
            **flatten_mapping(self.context.recipe.model_dump(mode="json")),
            **get_fixed_values(self.space),
        }
        levels = find_arms(self.space, base)
        trials: list[list[Trial]] = [[] for _ in levels]
        # The values of a trial determine its arm, so the journal need not store it.
        for trial in self.journal.trials:
            trials[find_arm_index(trial.values, levels)].append(trial)
        self._arms = [
            self._build_arm(arm, base, trials[i], len(levels)) for i, arm in enumerate(levels)
        ]
        # Trials in progress when the last driver died go first; their duplicates wait for them.
        interrupted = [t for t in self.journal.trials if t.state == "running"]
        self._retry_queue = deque(t.number for t in interrupted if t.duplicate_of is None)

    @property
    def is_finished(self) -> bool:
        """Return whether no trial is in progress and none will be proposed."""
        return not self._running and not self._retry_queue and self._select_open_arm() is None

    def propose(self) -> RunRequest | None:
        """Return a request for a trial to retry or a new one; None if there is none."""
        # Trials to retry go first: they resume from checkpoints, and the budget has allowed them.
        if self._retry_queue:
            return self._start_trial(self.journal.get_trial(self._retry_queue.popleft()))
        if not self._stop_reason and self._select_open_arm() is not None:
            self._stop_search(
                self.context.budget.find_stop_reason(*self._get_usage(), self.context.model_bytes())
            )
        # Several arms may turn out to be exhausted before one has another configuration.
        while (arm := self._select_open_arm()) is not None:
            trial = self._create_trial(arm)
            if trial is not None:
                return self._start_trial(trial)
        return None

    def report_evaluation(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """Record an evaluation of a trial and return whether the trial may continue."""
        trial, step = self._running[key], evaluation["step"]
        metric = self.space.pruner.metric
        # Pruners minimize, so scores are negated.
        loss = evaluation[metric] if metric == "token_loss" else -evaluation[metric]
        if not math.isfinite(loss):
            return False
        training = self._build_recipe(trial.values).training
        # Samples within the learning rate warm-up would favor trials with a short warm-up.
        samples = float(evaluation["samples"] * max(0.0, 1 - training.warmup_steps / max(1, step)))
        # Projected to `max_steps`: an estimate of a whole run before the first one has finished.
        self._run_s[key] = (self.journal.clock() - self._start_s[key]) * training.max_steps / step
        self.journal.append_event(
            "trial_reported",
            trial=trial.number,
            step=step,
            samples=evaluation["samples"],
            beyond=samples,
            loss=loss,
        )
        if self.context.budget.should_stop_trials(*self._get_usage()):
            self._stop_search("the rest of the budget is reserved for the finals")
            return False
        return self._find_arm(trial).pruner.should_continue(trial.number, samples, loss)

    def tell(self, key: str, end: RunEnd) -> None:
        """Record the end of a trial; a trial that died is queued for a retry."""
        trial = self._running.pop(key)
        self._run_s.pop(key, None)
        if end.state == "died" and trial.num_deaths + 1 < MAX_DEATHS:
            self.journal.append_event(
                "trial_died", trial=trial.number, reason=end.reason, seconds=end.seconds
            )
            self._retry_queue.append(trial.number)
            self.context.on_message(
                f"trial {trial.number}: died ({end.reason}) and will be retried"
            )
            return
        self._end_trial(trial, self._resolve_end(end))

    def _build_arm(self, levels: Values, base: Values, trials: list[Trial], num_arms: int) -> _Arm:
        """Build an arm and replay the trials of the journal to its sampler and pruner."""
        num_trials = self._compute_arm_quota(num_arms) or 0
        sampler = build_sampler(self.space, levels, base, trials, num_trials)
        pruner = build_pruner(self.space.pruner, self.context.samples_per_eval)
        for trial in trials:
            # Only the pruner's state matters here; its decisions were executed at the time.
            for samples, loss in sorted(trial.losses.items()):
                pruner.should_continue(trial.number, samples, loss)
        return _Arm(levels, sampler, pruner, sum(trial.duplicate_of is None for trial in trials))

    def _compute_arm_quota(self, num_arms: int) -> int | None:
        """Return the number of trials of each arm, rounded up; None for a full grid."""
        num_trials = self.space.search.trials
        return None if num_trials is None else -(-num_trials // num_arms)

    def _select_open_arm(self) -> _Arm | None:
        """Return the unfinished arm with the fewest trials, or None if all arms are finished."""
        if self._stop_reason or not self.space.searched_parameters:
            return None
        quota = self._compute_arm_quota(len(self._arms))
        open_arms = [
            arm
            for arm in self._arms
            if not arm.is_exhausted and (quota is None or arm.num_trials < quota)
        ]
        # Choosing the arm with the fewest trials keeps the arms balanced while the search runs.
        return min(open_arms, key=lambda arm: arm.num_trials, default=None)

    def _create_trial(self, arm: _Arm) -> Trial | None:
        """Create a trial with a new configuration, or return None if the arm has no more."""
        for _ in range(_MAX_DUPLICATES):
            number = len(self.journal.trials)
            values = arm.sampler.ask(number)
            if values is None:
                break
            config_hash = self.context.compute_config_hash(self._build_recipe(values))
            first = next((t for t in self.journal.trials if t.config_hash == config_hash), None)
            fields = {} if first is None else {"duplicate_of": first.duplicate_of or first.number}
            # Duplicates are recorded, too: the sampler suggested them and needs their results.
            self.journal.append_event(
                "trial_created", trial=number, values=values, config=config_hash, **fields
            )
            trial = self.journal.get_trial(number)
            if first is None:
                arm.num_trials += 1
                return trial
            if first.state != "running":
                self._copy_result(trial)
        arm.is_exhausted = True
        quota = self._compute_arm_quota(len(self._arms))
        if quota is not None and arm.num_trials < quota:
            self.context.on_message(
                f"all configurations have been tried: {arm.num_trials} of {quota} trials"
            )
        return None

    def _start_trial(self, trial: Trial) -> RunRequest:
        """Mark a trial of the journal as running and return its run request."""
        key = f"trial {trial.number}"
        self._running[key] = trial
        self._start_s[key] = self.journal.clock()
        self.context.on_message(f"{key}: {format_values(trial.values)}")
        values = {**get_fixed_values(self.space), **trial.values}
        return RunRequest(key, values, self.space.search.seed, "search")

    def _resolve_end(self, end: RunEnd) -> RunEnd:
        """Return the end to record: too many deaths or a missing score count as failures."""
        if end.state == "died":
            return RunEnd(
                "failed", {}, f"died {MAX_DEATHS} times without progress: {end.reason}", end.seconds
            )
        if end.state != "finished":
            return RunEnd(end.state, {}, end.reason, end.seconds)
        names = [metric.name for metric in self.space.objectives]
        non_finite = [n for n in names if not math.isfinite(end.scores.get(n, math.nan))]
        if non_finite:
            return RunEnd("failed", {}, f"its {', '.join(non_finite)} is not a number", end.seconds)
        return RunEnd("finished", {n: end.scores[n] for n in names}, "", end.seconds)

    def _end_trial(self, trial: Trial, end: RunEnd) -> None:
        """Record the end of a trial, tell the sampler, and copy the result to its duplicates."""
        assert end.state != "died"
        reason = end.reason or (self._stop_reason if end.state == "pruned" else "")
        fields = {"state": end.state, "scores": dict(end.scores), "reason": reason}
        self.journal.append_event("trial_ended", trial=trial.number, **fields, seconds=end.seconds)
        # The journal comes first: after a crash the sampler is rebuilt from it.
        self._find_arm(trial).sampler.tell(trial)
        scores = format_scores(end.scores, [metric.name for metric in self.space.objectives])
        parts = [end.state, *([scores] if scores else []), *([reason] if reason else [])]
        self.context.on_message(f"trial {trial.number}: {', '.join(parts)}")
        if trial.duplicate_of is None:
            self.context.on_trial_end()
        # Duplicates that were created while the first trial was running wait for this result.
        for other in self.journal.trials:
            if other.duplicate_of == trial.number and other.state == "running":
                self._copy_result(other)

    def _copy_result(self, trial: Trial) -> None:
        """End a duplicate trial with the result of the first trial of its configuration."""
        assert trial.duplicate_of is not None
        first = self.journal.get_trial(trial.duplicate_of)
        assert first.state != "running"
        self._end_trial(
            trial, RunEnd(first.state, first.scores, f"duplicate of trial {first.number}")
        )

    def _stop_search(self, reason: str | None) -> None:
        """Stop the search for a reason; do nothing for None or if it is stopped already."""
        if reason is not None and not self._stop_reason:
            self._stop_reason = reason
            self.journal.append_event("search_stopped", reason=reason)
            self.context.on_message(f"no further trials: {reason}")

    def _get_usage(self) -> tuple[ResourceUsage, float | None]:
        """Return the resource usage and the hours of one complete run, None if not known yet."""
        now = self.journal.clock()
        ended_hours = self.journal.sum_run_seconds() / 3600
        running_hours = sum(now - self._start_s[key] for key in self._running) / 3600
        usage = ResourceUsage(
            self.journal.get_worked_hours(),
            ended_hours + running_hours,
            self.context.disk_bytes(),
            len(self._running),
        )
        # Finished trials are the best estimate; before there are any, running ones are projected to
        # their `max_steps`. The slowest counts, because the finals may consist of such runs.
        finished_s = [
            t.seconds for t in self.journal.trials if t.state == "finished" and not t.duplicate_of
        ]
        durations_s = finished_s or list(self._run_s.values())
        return usage, max(durations_s) / 3600 if durations_s else None

    def _find_arm(self, trial: Trial) -> _Arm:
        """Return the arm to which a trial belongs."""
        return self._arms[find_arm_index(trial.values, [arm.levels for arm in self._arms])]

    def _build_recipe(self, values: Values) -> Recipe:
        """Return the recipe with the fixed values and the values of a trial applied."""
        return apply_overrides(self.context.recipe, {**get_fixed_values(self.space), **values})
