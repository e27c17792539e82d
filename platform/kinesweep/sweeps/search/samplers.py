"""Samplers of configurations: a fixed list, or an Optuna sampler that learns from results.

A sampler is rebuilt in memory from the journal whenever a sweep resumes, so two sweeps can never
share a storage by mistake. Optuna is told the true state of every trial that ends: the score of a
pruned trial must not count as a final one, and a trial that is never told would stay RUNNING and
keep influencing TPE's constant liar.
"""

import warnings
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from kinesweep.config.parts import SamplerPart
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import derive_seed
from kinesweep.sweeps.journal.journal import Trial
from kinesweep.sweeps.search.sampler_parts import build_sampler_part
from kinesweep.sweeps.space.arms import sort_topologically
from kinesweep.sweeps.space.fixed_designs import Design, build_fixed_design
from kinesweep.sweeps.space.parameter import SearchParameter, Values
from kinesweep.sweeps.space.space import FIXED_DESIGN_KINDS, SearchSpace

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_STARTUP_TRIAL_BOUNDS = (3, 10)
"""Minimum and maximum number of random trials before TPE starts; otherwise half of the trials."""


class Sampler(Protocol):
    """A sampler for the configurations of one arm."""

    def ask(self, number: int) -> Values | None:
        """Return the values of a new trial, or None if there are no further configurations.

        Args:
            number: Number of the trial.
        """

    def restore(self, trial: Trial) -> None:
        """Register a trial of the journal that has not ended, so that `tell` may follow."""

    def tell(self, trial: Trial) -> None:
        """Record the result of a trial that was asked, restored, or read from the journal."""


def build_sampler(
    space: SearchSpace, arm: Values, base: Values, replayed_trials: list[Trial], num_trials: int
) -> Sampler:
    """Build the sampler of one arm and replay the journal to it.

    Args:
        space: The search space.
        arm: Scientific levels of the arm.
        base: Flattened recipe values, on which conditions may depend.
        replayed_trials: Trials of this arm in the journal.
        num_trials: Number of trials planned for this arm.
    """
    sampler: Sampler
    if space.search.kind in FIXED_DESIGN_KINDS:
        sampler = FixedListSampler(build_fixed_design(space, arm, base), len(replayed_trials))
    else:
        sampler = OptunaSampler(space, arm, base, num_trials, len(replayed_trials))
    for trial in replayed_trials:
        if trial.state == "running":
            sampler.restore(trial)
        else:
            sampler.tell(trial)
    return sampler


class FixedListSampler:
    """A sampler that returns the configurations of a fixed design one after the other.

    Args:
        design: Function k → k-th configuration, None past the end.
        start: Index of the first configuration to return.
    """

    def __init__(self, design: Design, start: int) -> None:
        self._design, self._position = design, start

    def ask(self, number: int) -> Values | None:
        """Return the next configuration of the design, or None at its end."""
        values = self._design(self._position)
        self._position += 1
        return values

    def restore(self, trial: Trial) -> None:
        """Do nothing: the position in the list already accounts for the trial."""

    def tell(self, trial: Trial) -> None:
        """Do nothing: fixed lists do not depend on results."""


class OptunaSampler:
    """An Optuna sampler with an in-memory study. Creating it sets Optuna's log level to WARNING.

    Args:
        space: The search space.
        arm: Scientific levels of the arm.
        base: Flattened recipe values, on which conditions may depend.
        num_trials: Number of trials planned for the arm.
        num_replayed: Number of trials of the arm in the journal.
    """

    def __init__(
        self, space: SearchSpace, arm: Values, base: Values, num_trials: int, num_replayed: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._objectives = space.objectives
        self._study = optuna.create_study(
            directions=[
                "maximize" if objective.direction_sign > 0 else "minimize"
                for objective in space.objectives
            ],
            sampler=_build_optuna_sampler(space, num_trials, [*arm.values(), num_replayed]),
        )
        self._parameters = {n: p for n, p in space.searched_parameters.items() if n not in arm}
        self._parameter_order = sort_topologically(self._parameters)
        self._arm_values, self._base_values = arm, base
        self._open_trials: dict[int, optuna.Trial] = {}
        # Whether the only configuration of an arm without further parameters was returned.
        self._was_asked = False

    def ask(self, number: int) -> Values | None:
        """Return the configuration that the study suggests, without inactive parameters.

        An arm without further parameters has a single one, which is returned once; after that the
        method returns None.
        """
        if not self._parameters:
            # Not only once its result is known: until then it would be proposed again and again,
            # as a duplicate of itself.
            was_asked, self._was_asked = self._was_asked or bool(self._study.trials), True
            return None if was_asked else dict(self._arm_values)
        optuna_trial = self._open_trials[number] = self._study.ask()
        # Conditions are evaluated on the values chosen so far, hence the topological order.
        values = dict(self._arm_values)
        for name in self._parameter_order:
            parameter = self._parameters[name]
            if parameter.is_active({**self._base_values, **values}):
                values[name] = _suggest_value(optuna_trial, name, parameter)
        return values

    def restore(self, trial: Trial) -> None:
        """Register a trial that was running when the sweep was interrupted, as still running."""
        if not self._parameters:
            self._was_asked = True
            return
        params = self._collect_optuna_params(trial)
        # Asking for enqueued values registers the trial as RUNNING, as it was before the resume.
        self._study.enqueue_trial(params)
        self.ask(trial.number)

    def tell(self, trial: Trial) -> None:
        """Report the intermediate values and the result of a trial to the study."""
        optuna_trial = self._open_trials.pop(trial.number, None)
        # The trial had ended before this process started, so the study has never asked it.
        if optuna_trial is None:
            self._study.add_trial(self._to_frozen_trial(trial))
            return
        # Optuna needs the intermediate values before the end; it rejects them afterwards.
        for samples, loss in self._get_intermediate_values(trial).items():
            optuna_trial.report(loss, samples)
        self._study.tell(optuna_trial, self._get_objective_values(trial), _STATES[trial.state])

    def _to_frozen_trial(self, trial: Trial) -> FrozenTrial:
        """Convert an ended trial of the journal to an Optuna trial."""
        params = self._collect_optuna_params(trial)
        return optuna.trial.create_trial(
            params=params,
            distributions={
                name: self._parameters[name].to_optuna_distribution() for name in params
            },
            values=self._get_objective_values(trial),
            state=_STATES[trial.state],
            intermediate_values=self._get_intermediate_values(trial),
        )

    def _collect_optuna_params(self, trial: Trial) -> Values:
        """Return the searched values of a trial as they are in Optuna."""
        values = {n: v for n, v in trial.values.items() if n in self._parameters}
        return {name: self._parameters[name].to_optuna_value(v) for name, v in values.items()}

    def _get_intermediate_values(self, trial: Trial) -> dict[int, float]:
        """Return samples → intermediate value; empty with several objectives, as Optuna requires.

        Samplers rank pruned trials by these values in the direction of the objective, but losses
        in the journal are always minimized. The sign is therefore flipped for maximized objectives.
        """
        if len(self._objectives) > 1:
            return {}
        sign = -self._objectives[0].direction_sign
        return {int(samples): sign * loss for samples, loss in trial.losses.items()}

    def _get_objective_values(self, trial: Trial) -> list[float] | None:
        """Return the values of all objectives of a finished trial; None for any other trial."""
        if trial.state != "finished":
            return None
        return [trial.scores[metric.name] for metric in self._objectives]


def _suggest_value(optuna_trial: optuna.Trial, name: str, parameter: SearchParameter) -> object:
    """Return the value that Optuna suggests for a parameter, within its range or choices."""
    if parameter.log is not None:
        return optuna_trial.suggest_float(name, *parameter.log, log=True)
    if parameter.float_ is not None:
        return optuna_trial.suggest_float(name, *parameter.float_)
    if parameter.int_ is not None:
        return optuna_trial.suggest_int(name, *parameter.int_)
    choices = list(parameter.optuna_choices)
    return parameter.from_optuna_value(optuna_trial.suggest_categorical(name, choices))


def _build_optuna_sampler(
    space: SearchSpace, num_trials: int, seed_parts: list[object]
) -> optuna.samplers.BaseSampler:
    """Build the Optuna sampler that the search space names.

    Args:
        space: The search space.
        num_trials: Number of trials planned for the arm.
        seed_parts: Further parts of the seed: levels of the arm and number of replayed trials.

    Raises:
        InputError: If the space names a fixed design, which is not a sampler.
    """
    # The number of replayed trials is part of the seed. Otherwise a resumed sampler would draw the
    # same numbers again and propose configurations that have been tried.
    seed = derive_seed(space.search.seed, "sampler", *seed_parts) % 2**32
    if isinstance(space.search, SamplerPart):
        return build_sampler_part(space.search, seed, num_trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if space.search.kind == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed)
        if space.search.kind == "nsga2":
            return optuna.samplers.NSGAIISampler(
                seed=seed, population_size=_compute_population_size(num_trials)
            )
        if space.search.kind != "tpe":
            raise InputError(f"`{space.search.kind}` is not a sampler")
        min_startup_trials, max_startup_trials = _STARTUP_TRIAL_BOUNDS
        # Several trials run at a time, and the constant liar keeps their requests apart. `group`
        # reads the whole history for each request, so it is used only where some trials lack
        # parameters.
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=any(p.when for p in space.searched_parameters.values()),
            constant_liar=True,
            n_startup_trials=max(min_startup_trials, min(max_startup_trials, num_trials // 2)),
        )


def _compute_population_size(num_trials: int) -> int:
    """Return a population size for NSGA-II, 4 to 50, that gives four generations if possible."""
    return max(4, min(50, num_trials // 4))
