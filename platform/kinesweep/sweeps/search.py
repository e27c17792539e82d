"""How trials are proposed and how their ends are told, for Optuna; no Ray in it.

The study is made again from the journal whenever a sweep goes on, so two sweeps can never meet in
one storage.
"""

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from kinesweep.core.seeds import derive_seed
from kinesweep.sweeps.journal import Trial
from kinesweep.sweeps.space import SearchSpace

STATE_NAMES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def verdict(
    result: Mapping[str, Any] | None, error: bool, metric: str
) -> tuple[TrialState, float | None]:
    """How a trial ended, from its last result.

    Complete is only what its run calls finished: a pruned trial's truncated score would be taken
    for a final one, and one that is not a number would stay RUNNING for ever.
    """
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
    startup = max(3, min(10, space.search.trials // 2))
    # Several trials are in flight: the constant liar keeps them apart.
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
    )


def told_trial(trial: Trial, space: SearchSpace) -> optuna.trial.FrozenTrial:
    """A trial of the journal, as the study knew it."""
    states = {name: state for state, name in STATE_NAMES.items()}
    return optuna.trial.create_trial(
        params=trial.values,
        distributions={name: p.distribution() for name, p in space.parameters.items()},
        value=trial.score if trial.state == "finished" else None,
        state=states[trial.state],
        intermediate_values={int(k): v for k, v in trial.losses.items()},
    )
