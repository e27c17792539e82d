"""Samplers of configurations: a fixed list, or an Optuna sampler that learns from results.

A sampler is rebuilt in memory from the journal whenever a sweep resumes, so two sweeps can never
share a storage by mistake. Optuna is told every end with its true state: the score of a pruned
trial must not count as a final one, and a trial that is never told would stay RUNNING and keep
influencing TPE's constant liar.
"""

import warnings
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from kinesweep.core.errors import InputError
from kinesweep.core.seeds import derive_seed
from kinesweep.sweeps.journal.journal import Trial
from kinesweep.sweeps.space.arms import ordered
from kinesweep.sweeps.space.fixed_designs import Design, build_design
from kinesweep.sweeps.space.parameter import Parameter, Values
from kinesweep.sweeps.space.space import LISTED, SearchSpace

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_STARTUP = (3, 10)
"""Bounds of the number of random trials before TPE starts; between them half of the trials."""


class Sampler(Protocol):
    """A sampler for the configurations of one arm."""

    def ask(self, number: int) -> Values | None:
        """Return the values of trial `number`, or None if there are no more."""

    def restore(self, trial: Trial) -> None:
        """Restore a trial of the journal that has not ended."""

    def tell(self, trial: Trial) -> None:
        """Record the end of a trial that was asked, restored, or read from the journal."""


def build_sampler(
    space: SearchSpace, arm: Values, base: Values, journal: list[Trial], trials: int
) -> Sampler:
    """Build the sampler of one arm and replay the journal to it.

    Args:
        space: The search space.
        arm: Scientific levels of the arm.
        base: Flattened recipe values, on which conditions may depend.
        journal: Trials of this arm so far.
        trials: Number of trials planned for this arm.
    """
    sampler: Sampler
    if space.search.kind in LISTED:
        sampler = FixedListSampler(build_design(space, arm, base), len(journal))
    else:
        sampler = OptunaSampler(space, arm, base, trials, len(journal))
    for trial in journal:
        if trial.state == "running":
            sampler.restore(trial)
        else:
            sampler.tell(trial)
    return sampler


class FixedListSampler:
    """A sampler that reads a fixed list from a position on."""

    def __init__(self, point: Design, place: int) -> None:
        self._point, self._place = point, place

    def ask(self, number: int) -> Values | None:
        """Return the next configuration of the list, or None at its end."""
        values = self._point(self._place)
        self._place += 1
        return values

    def restore(self, trial: Trial) -> None:
        """Do nothing: the position in the list already accounts for the trial."""

    def tell(self, trial: Trial) -> None:
        """Do nothing: fixed lists do not depend on results."""


class OptunaSampler:
    """An Optuna sampler with its own in-memory study."""

    def __init__(
        self, space: SearchSpace, arm: Values, base: Values, trials: int, num_told: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._objectives = space.objectives
        self._study = optuna.create_study(
            directions=["maximize" if m.sign > 0 else "minimize" for m in space.objectives],
            sampler=_build_sampler(space, trials, [*arm.values(), num_told]),
        )
        self._free = {n: p for n, p in space.searched.items() if n not in arm}
        self._order = ordered(self._free)
        self._arm, self._base = arm, base
        self._asked: dict[int, optuna.Trial] = {}

    def ask(self, number: int) -> Values | None:
        """Return the configuration that the study suggests, conditions applied."""
        # An arm without further parameters has exactly one configuration.
        if not self._free:
            return dict(self._arm) if not self._study.trials else None
        asked = self._asked[number] = self._study.ask()
        # Conditions are evaluated on the values chosen so far, hence the topological order.
        values = dict(self._arm)
        for name in self._order:
            parameter = self._free[name]
            if parameter.applies({**self._base, **values}):
                values[name] = _suggest(asked, name, parameter)
        return values

    def restore(self, trial: Trial) -> None:
        """Register a trial that was running when the sweep was interrupted."""
        own = {n: v for n, v in trial.values.items() if n in self._free}
        # Asking for enqueued values registers the trial as RUNNING, as it was before the resume.
        self._study.enqueue_trial(own)
        self.ask(trial.number)

    def tell(self, trial: Trial) -> None:
        """Report the result of a trial to the study."""
        asked = self._asked.pop(trial.number, None)
        # The trial had ended before this process started, so the study has never asked it.
        if asked is None:
            self._study.add_trial(self._frozen(trial))
            return
        # Optuna needs the intermediate values before the end; it rejects them afterwards.
        for samples, loss in self._intermediate(trial).items():
            asked.report(loss, samples)
        self._study.tell(asked, self._scores(trial), _STATES[trial.state])

    def _frozen(self, trial: Trial) -> FrozenTrial:
        """Convert a trial of the journal to an Optuna trial."""
        own = {n: v for n, v in trial.values.items() if n in self._free}
        return optuna.trial.create_trial(
            params=own,
            distributions={name: self._free[name].distribution() for name in own},
            values=self._scores(trial),
            state=_STATES[trial.state],
            intermediate_values=self._intermediate(trial),
        )

    def _intermediate(self, trial: Trial) -> dict[int, float]:
        """Return samples → intermediate value; empty with several objectives, as Optuna requires.

        Samplers rank pruned trials by these values in the direction of the objective, but losses
        in the journal are always minimized. The sign is therefore flipped for maximized objectives.
        """
        if len(self._objectives) > 1:
            return {}
        sign = -self._objectives[0].sign
        return {int(samples): sign * loss for samples, loss in trial.losses.items()}

    def _scores(self, trial: Trial) -> list[float] | None:
        """Return the values of all objectives; None unless the trial finished."""
        if trial.state != "finished":
            return None
        return [trial.scores[metric.name] for metric in self._objectives]


def _suggest(asked: optuna.Trial, name: str, parameter: Parameter) -> object:
    """Ask Optuna for the value of one parameter."""
    if parameter.log is not None:
        return asked.suggest_float(name, *parameter.log, log=True)
    if parameter.float_ is not None:
        return asked.suggest_float(name, *parameter.float_)
    if parameter.int_ is not None:
        return asked.suggest_int(name, *parameter.int_)
    return asked.suggest_categorical(name, list(parameter.choices or ()))


def _build_sampler(
    space: SearchSpace, trials: int, salt: list[object]
) -> optuna.samplers.BaseSampler:
    """Build the Optuna sampler.

    Args:
        space: The search space.
        trials: Number of trials planned for the arm.
        salt: Further parts of the seed: levels of the arm and number of trials replayed so far.
    """
    # The number of replayed trials is part of the seed. Otherwise a resumed sampler would draw the
    # same numbers again and propose configurations that have been tried.
    seed = derive_seed(space.search.seed, "sampler", *salt) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if space.search.kind == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed)
        if space.search.kind == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=_population(trials))
        if space.search.kind != "tpe":
            raise InputError(f"`{space.search.kind}` is not a sampler")
        least, most = _STARTUP
        # Several trials run at a time, and the constant liar keeps their requests apart. `group`
        # reads the whole history for each request, so it is used only where some trials lack
        # parameters.
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=any(p.when for p in space.searched.values()),
            constant_liar=True,
            n_startup_trials=max(least, min(most, trials // 2)),
        )


def _population(trials: int) -> int:
    """Return the population size of NSGA-II, which gives at least four generations."""
    return max(4, min(50, trials // 4))
