"""Optuna as Ray Tune's searcher, with what Ray's own wrapper gets wrong put right.

`OptunaSearch` tells a pruned trial COMPLETE with its truncated value, leaves a NaN RUNNING for
ever, and repeats its first suggestions after a resume. Here a trial is COMPLETE only when its run
says so, else PRUNED with its intermediate losses or FAIL; and the study lives in memory and is
made again from the journal, so two sweeps can never meet in one storage.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from kinesweep.core.seeds import derive_seed
from kinesweep.sweeps.journal import Trial
from kinesweep.sweeps.space import SearchSpace

STUDY = "kinesweep"
_LOSS_STEP = "samples"


class JournaledSearch(OptunaSearch):
    """Proposes configurations.

    Args:
        space: the question.
        trials: what the journal knows; those that were running are proposed again first.
        on_created: told each proposal (Tune's trial id, values).
        on_ended: told each end (Tune's trial id, state, score, last result).
    """

    def __init__(
        self,
        space: SearchSpace,
        trials: Sequence[Trial],
        on_created: Callable[[str, dict[str, Any]], None],
        on_ended: Callable[[str, str, float | None], None],
    ) -> None:
        ended = [trial for trial in trials if trial.state != "running"]
        interrupted = [trial.values for trial in trials if trial.state == "running"]
        distributions = {k: p.distribution() for k, p in space.parameters.items()}
        super().__init__(
            distributions,
            metric=space.metric.name,
            mode=space.metric.mode,
            points_to_evaluate=interrupted,
            sampler=build_sampler(space, len(ended)),
            study_name=STUDY,
        )
        self._on_created, self._on_ended = on_created, on_ended
        for trial in ended:
            self._ot_study.add_trial(_told(trial, distributions))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next configuration, dotted key → value."""
        values = super().suggest(trial_id)
        if values is not None:
            self._on_created(trial_id, dict(self._ot_trials[trial_id].params))
        return values

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Notes a loss by the way."""
        if trial_id in self._ot_trials and math.isfinite(result.get("token_loss", math.nan)):
            self._ot_trials[trial_id].report(result["token_loss"], int(result[_LOSS_STEP]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the study how a trial ended, once."""
        if trial_id not in self._ot_trials or trial_id in self._completed_trials:
            return
        state, score = verdict(result, error, self._metric)
        self._ot_study.tell(
            self._ot_trials[trial_id], score if state is TrialState.COMPLETE else None, state
        )
        self._completed_trials.add(trial_id)
        self._on_ended(trial_id, _NAMES[state], score)


_NAMES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def verdict(
    result: dict[str, Any] | None, error: bool, metric: str
) -> tuple[TrialState, float | None]:
    """How a trial ended, from its last result."""
    if error or result is None or not math.isfinite(result.get("token_loss", math.nan)):
        return TrialState.FAIL, None
    if not result.get("finished"):
        return TrialState.PRUNED, None
    score = result.get(metric)
    if score is None or not math.isfinite(score):
        return TrialState.FAIL, None
    return TrialState.COMPLETE, float(score)


def build_sampler(space: SearchSpace, num_told: int) -> optuna.samplers.BaseSampler:
    """The sampler; after a resume it draws other numbers than those it began with."""
    seed = derive_seed(space.search.seed, "sampler", num_told) % 2**32
    if space.search.kind == "random":
        return optuna.samplers.RandomSampler(seed)
    # Several trials are in flight: the constant liar keeps them apart.
    startup = max(3, min(10, space.search.trials // 2))
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
    )


def _told(
    trial: Trial, distributions: dict[str, optuna.distributions.BaseDistribution]
) -> optuna.trial.FrozenTrial:
    """A trial of the journal, as the study knew it."""
    states = {name: state for state, name in _NAMES.items()}
    return optuna.trial.create_trial(
        params=trial.values,
        distributions=distributions,
        value=trial.score if trial.state == "finished" else None,
        state=states[trial.state],
        intermediate_values={int(k): v for k, v in trial.losses.items()},
    )
