"""Who proposes configurations: a fixed list, or a sampler of Optuna that learns from results.

A proposer is made again from the journal whenever a sweep goes on, in memory, so two sweeps can
never meet in one storage. Optuna is told each end as it was: a pruned trial's truncated score would
be taken for a final one, and an end that is not told would stay RUNNING and a liar for ever.
"""

import warnings
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from kinesweep.core.errors import InputError
from kinesweep.core.seeds import derive_seed
from kinesweep.sweeps.arms import ordered
from kinesweep.sweeps.journal import Trial
from kinesweep.sweeps.parameter import Parameter, Values
from kinesweep.sweeps.points import Point, build_points
from kinesweep.sweeps.space import LISTED, SearchSpace

_STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_STARTUP = (3, 10)
"""Random trials before TPE begins: at least, at most; between them half of the trials."""


class Proposer(Protocol):
    """Proposes configurations of one arm."""

    def ask(self, number: int) -> Values | None:
        """Values of trial `number`, or None when there are no more."""

    def again(self, trial: Trial) -> None:
        """Notes a trial of the journal that still runs."""

    def tell(self, trial: Trial) -> None:
        """How a trial ended that was asked for, noted, or stands in the journal."""


def build_proposer(
    space: SearchSpace, arm: Values, base: Values, journal: list[Trial], trials: int
) -> Proposer:
    """The proposer of one arm.

    Args:
        space: the question.
        arm: its levels.
        base: the recipe's own values, for conditions.
        journal: trials of this arm so far.
        trials: of this arm in all.
    """
    proposer: Proposer
    if space.search.kind in LISTED:
        proposer = _Listed(build_points(space, arm, base), len(journal))
    else:
        proposer = _Sampled(space, arm, base, trials, len(journal))
    for trial in journal:
        if trial.state == "running":
            proposer.again(trial)
        else:
            proposer.tell(trial)
    return proposer


class _Listed:
    """A fixed list, from its n-th place on."""

    def __init__(self, point: Point, place: int) -> None:
        self._point, self._place = point, place

    def ask(self, number: int) -> Values | None:
        values = self._point(self._place)
        self._place += 1
        return values

    def again(self, trial: Trial) -> None:
        """Lists do not look back."""

    def tell(self, trial: Trial) -> None:
        """Lists do not learn."""


class _Sampled:
    """One of Optuna's samplers, on a study of its own."""

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
        if not self._free:
            return dict(self._arm) if not self._study.trials else None
        asked = self._asked[number] = self._study.ask()
        values = dict(self._arm)
        for name in self._order:
            parameter = self._free[name]
            if parameter.applies({**self._base, **values}):
                values[name] = _suggest(asked, name, parameter)
        return values

    def again(self, trial: Trial) -> None:
        own = {n: v for n, v in trial.values.items() if n in self._free}
        self._study.enqueue_trial(own)
        self.ask(trial.number)

    def tell(self, trial: Trial) -> None:
        asked = self._asked.pop(trial.number, None)
        if asked is None:
            self._study.add_trial(self._frozen(trial))
            return
        for samples, loss in self._intermediate(trial).items():
            asked.report(loss, samples)
        self._study.tell(asked, self._scores(trial), _STATES[trial.state])

    def _frozen(self, trial: Trial) -> FrozenTrial:
        """A trial of the journal, as a study knows it."""
        own = {n: v for n, v in trial.values.items() if n in self._free}
        return optuna.trial.create_trial(
            params=own,
            distributions={name: self._free[name].distribution() for name in own},
            values=self._scores(trial),
            state=_STATES[trial.state],
            intermediate_values=self._intermediate(trial),
        )

    def _intermediate(self, trial: Trial) -> dict[int, float]:
        """Samples → what was compared; a study of several objectives takes none.

        Samplers order pruned trials by it in the direction of the objective, losses fall.
        """
        if len(self._objectives) > 1:
            return {}
        sign = -self._objectives[0].sign
        return {int(samples): sign * loss for samples, loss in trial.losses.items()}

    def _scores(self, trial: Trial) -> list[float] | None:
        if trial.state != "finished":
            return None
        return [trial.scores[metric.name] for metric in self._objectives]


def _suggest(asked: optuna.Trial, name: str, parameter: Parameter) -> object:
    """One value, as the sampler likes it."""
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
    """The sampler; after a resume it draws other numbers than those it began with."""
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
        # Several trials are in flight: the constant liar keeps them apart. Groups, which read the
        # whole history for each proposal, are for parameters that only some trials have.
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=any(p.when for p in space.searched.values()),
            constant_liar=True,
            n_startup_trials=max(least, min(most, trials // 2)),
        )


def _population(trials: int) -> int:
    """Of NSGA-II: at least four generations in the trials there are."""
    return max(4, min(50, trials // 4))
