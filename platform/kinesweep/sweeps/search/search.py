"""The search policy of a sweep: samples, prunes and stops trials; independent of Ray.

All persistent state is in the journal, so a search that is rebuilt from its journal continues.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.core.scores import format_scores
from kinesweep.data.run_length.step_counts import resolve_steps
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.search.ask_tell import MAX_DEATHS, RunEnd, RunRequest
from kinesweep.sweeps.search.budget import Budget, ResourceUsage
from kinesweep.sweeps.search.run_durations import RunDurations
from kinesweep.sweeps.search.search_arms import SearchArm, SearchArms, build_search_arms
from kinesweep.sweeps.space.loading import apply_overrides, compute_base_values
from kinesweep.sweeps.space.parameter import Values, format_values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.training.pretraining.schedule import resolve_schedule

_MAX_DUPLICATES = 50
"""Number of consecutive duplicate configurations after which an arm counts as exhausted."""


def _resolve_counted_steps(recipe: AnyRecipe) -> ResolvedTrainingConfig:
    """Return the training settings of a recipe that counts no epochs, in steps."""
    if isinstance(recipe, PretrainingRecipe):
        num_windows = recipe.windows_per_step
        return resolve_schedule(recipe.training, num_windows, num_windows).as_run_config(
            "masked_loss"
        )
    return resolve_steps(recipe.training)


@dataclass(frozen=True)
class SearchContext:
    """The context of a search: recipe, budget, measurements and callbacks.

    Attributes:
        recipe: Recipe that the sweep tunes.
        compute_config_hash: Function from a recipe to its configuration hash.
        samples_per_eval: Number of clips that a run sees between two evaluations.
        budget: Budget rules.
        resolve_training: Function from a recipe to its training settings, resolved to steps; the
            default is for recipes that count no epochs.
        compute_disk_bytes: Function that returns the current size of the run folders in bytes.
        compute_model_bytes: Function that returns the number of bytes that one run leaves on disk.
        on_message: Function that receives progress messages, one line each.
        on_trial_end: Callback after each trial that ended, except duplicates.
    """

    recipe: AnyRecipe
    compute_config_hash: Callable[[AnyRecipe], str]
    samples_per_eval: float
    budget: Budget
    resolve_training: Callable[[AnyRecipe], ResolvedTrainingConfig] = _resolve_counted_steps
    compute_disk_bytes: Callable[[], int] = lambda: 0
    compute_model_bytes: Callable[[], int] = lambda: 0
    on_message: Callable[[str], None] = lambda _: None
    on_trial_end: Callable[[], None] = lambda: None


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
    _arms: SearchArms = field(init=False)
    _retry_queue: deque[int] = field(init=False)
    _durations: RunDurations = field(init=False)
    _running: dict[str, Trial] = field(default_factory=dict)
    # Validating a recipe takes milliseconds, and a trial asks for it at each of its reports.
    _trainings: dict[int, ResolvedTrainingConfig] = field(default_factory=dict)
    _stop_reason: str = ""

    def __post_init__(self) -> None:
        base_values = compute_base_values(self.space, self.context.recipe)
        self._arms = build_search_arms(
            self.space, base_values, self.journal.trials, self.context.samples_per_eval
        )
        self._durations = RunDurations(self.journal)
        # Trials in progress when the last driver died go first; their duplicates wait for them.
        interrupted = [t for t in self.journal.trials if t.state == "running"]
        self._retry_queue = deque(t.number for t in interrupted if t.duplicate_of is None)

    @property
    def is_finished(self) -> bool:
        """Return whether no trial is in progress and none will be proposed."""
        return not self._running and not self._retry_queue and self._select_open_arm() is None

    def propose(self) -> RunRequest | None:
        """Return a request for a trial to retry, else for a new trial, or None if there is none.

        Records new trials in the journal, and stops the search if the budget does not allow another
        one.
        """
        # Trials to retry go first: they resume from checkpoints, and the budget has allowed them.
        if self._retry_queue:
            return self._start_trial(self.journal.get_trial(self._retry_queue.popleft()))
        if not self._stop_reason and self._select_open_arm() is not None:
            # Walking all run folders takes half a second at a thousand runs.
            has_limit = self.context.budget.config.disk is not None
            stop_reason = self.context.budget.find_stop_reason(
                self._compute_resource_usage(measure_disk=has_limit),
                self._durations.estimate_run_hours(),
                self.context.compute_model_bytes() if has_limit else 0,
            )
            if stop_reason is not None:
                self._stop_search(stop_reason)
        # Several arms may turn out to be exhausted before one has another configuration.
        while (arm := self._select_open_arm()) is not None:
            trial = self._create_trial(arm)
            if trial is not None:
                return self._start_trial(trial)
        return None

    def report_evaluation(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """Record an evaluation of a trial and return whether the trial may continue.

        It may not if its loss is not finite, if the budget is needed for the finals, or if the
        pruner stops it.
        """
        trial, step = self._running[key], evaluation["step"]
        pruner = self.space.pruner
        # Pruners minimize, so scores for which higher is better are negated.
        loss = -pruner.direction_sign * evaluation[pruner.metric]
        # Stopped without an event: the journal refuses numbers that are not finite.
        if not math.isfinite(loss):
            return False
        training = self._resolve_training(trial)
        # Samples within the learning rate warm-up would favor trials with a short warm-up.
        samples = float(evaluation["samples"] * max(0.0, 1 - training.warmup_steps / max(1, step)))
        self._durations.project_run(key, step, training.max_steps)
        self.journal.append_event(
            "trial_reported",
            trial=trial.number,
            step=step,
            samples=evaluation["samples"],
            beyond=samples,
            loss=loss,
        )
        if self.context.budget.should_stop_trials(
            self._compute_resource_usage(), self._durations.estimate_run_hours()
        ):
            self._stop_search("the rest of the budget is reserved for the finals")
            return False
        return self._arms.find_arm(trial).pruner.report_loss(trial.number, samples, loss)

    def tell(self, key: str, end: RunEnd) -> None:
        """Record the end of a trial; one that died is retried until its death number `MAX_DEATHS`.

        Deaths are counted since the last progress of the trial.
        """
        trial = self._running.pop(key)
        self._trainings.pop(trial.number, None)
        self._durations.end_run(key)
        # The journal does not count this death yet, hence + 1.
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

    def _select_open_arm(self) -> SearchArm | None:
        """Return the arm of the next trial; None if the search is stopped or has all trials."""
        if self._stop_reason or not self.space.searched_parameters:
            return None
        return self._arms.select_open_arm()

    def _create_trial(self, arm: SearchArm) -> Trial | None:
        """Record a trial with a new configuration, and the duplicates that were sampled before it.

        Returns:
            The trial, or None if the arm has no further configurations and counts as exhausted.
        """
        for _ in range(_MAX_DUPLICATES):
            number = len(self.journal.trials)
            values = arm.sampler.ask(number)
            if values is None:
                break
            config_hash = self.context.compute_config_hash(self._build_recipe(values))
            first = next((t for t in self.journal.trials if t.config_hash == config_hash), None)
            # The first trial with this configuration is no duplicate itself.
            fields = {} if first is None else {"duplicate_of": first.number}
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
        if self._arms.quota is not None and not self._arms.is_complete(arm):
            self.context.on_message(
                f"all configurations have been tried: {arm.num_trials} of {self._arms.quota} trials"
            )
        return None

    def _start_trial(self, trial: Trial) -> RunRequest:
        """Register and report a trial as running; return its request with the fixed values."""
        key = f"trial {trial.number}"
        self._running[key] = trial
        self._durations.start_run(key)
        self.context.on_message(f"{key}: {format_values(trial.values)}")
        values = {**self.space.fixed_values, **trial.values}
        return RunRequest(key, values, self.space.search.seed, "search")

    def _resolve_end(self, end: RunEnd) -> RunEnd:
        """Return the end to record for a trial that will not be retried.

        A trial that died, or that finished without a finite score for each objective, has failed.
        Only finished trials keep scores, and only those of the objectives.
        """
        if end.state == "died":
            return RunEnd(
                "failed", {}, f"died {MAX_DEATHS} times without progress: {end.reason}", end.seconds
            )
        if end.state != "finished":
            return RunEnd(end.state, {}, end.reason, end.seconds)
        objectives = [metric.name for metric in self.space.objectives]
        non_finite = [n for n in objectives if not math.isfinite(end.scores.get(n, math.nan))]
        if non_finite:
            return RunEnd("failed", {}, f"its {', '.join(non_finite)} is not a number", end.seconds)
        return RunEnd("finished", {n: end.scores[n] for n in objectives}, "", end.seconds)

    def _end_trial(self, trial: Trial, end: RunEnd) -> None:
        """Record and report the end of a trial, tell its sampler, and end its duplicates."""
        assert end.state != "died"
        reason = end.reason or (self._stop_reason if end.state == "pruned" else "")
        fields = {"state": end.state, "scores": dict(end.scores), "reason": reason}
        self.journal.append_event("trial_ended", trial=trial.number, **fields, seconds=end.seconds)
        # The journal comes first: after a crash the sampler is rebuilt from it.
        self._arms.find_arm(trial).sampler.tell(trial)
        scores = format_scores(end.scores, [metric.name for metric in self.space.objectives])
        details = [text for text in (end.state, scores, reason) if text]
        self.context.on_message(f"trial {trial.number}: {', '.join(details)}")
        if trial.duplicate_of is None:
            self.context.on_trial_end()
        # Duplicates that were created while the first trial was running wait for this result.
        for other in self.journal.trials:
            if other.duplicate_of == trial.number and other.state == "running":
                self._copy_result(other)

    def _copy_result(self, trial: Trial) -> None:
        """End a duplicate with the state and scores of the ended trial that it duplicates."""
        assert trial.duplicate_of is not None
        first = self.journal.get_trial(trial.duplicate_of)
        assert first.state != "running"
        self._end_trial(
            trial, RunEnd(first.state, first.scores, f"duplicate of trial {first.number}")
        )

    def _stop_search(self, reason: str) -> None:
        """Stop the search for good and record the reason; do nothing if it is stopped already."""
        if not self._stop_reason:
            self._stop_reason = reason
            self.journal.append_event("search_stopped", reason=reason)
            self.context.on_message(f"no further trials: {reason}")

    def _compute_resource_usage(self, measure_disk: bool = False) -> ResourceUsage:
        """Measure the resources used so far, also by runs in progress; run folders on request."""
        return ResourceUsage(
            self.journal.get_worked_hours(),
            self._durations.sum_run_hours(),
            self.context.compute_disk_bytes() if measure_disk else 0,
            len(self._running),
        )

    def _resolve_training(self, trial: Trial) -> ResolvedTrainingConfig:
        """Return the training settings of a trial in progress, resolved to steps."""
        if trial.number not in self._trainings:
            recipe = self._build_recipe(trial.values)
            self._trainings[trial.number] = self.context.resolve_training(recipe)
        return self._trainings[trial.number]

    def _build_recipe(self, values: Values) -> AnyRecipe:
        """Return the recipe with the fixed values and a trial's swept values applied."""
        return apply_overrides(self.context.recipe, {**self.space.fixed_values, **values})
