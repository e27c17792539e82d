"""The trials of a journal as Optuna's trials: parameters, states, values, evaluations, times.

Trial n of the journal is trial n of the study, duplicates included. The runs of the finals are not
trials: they are other seeds of configurations that the study has already.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kinesweep.sweeps.journal.journal import Trial, apply_trial_event
from kinesweep.sweeps.space.space import SearchSpace

STATES = {
    "running": TrialState.RUNNING,
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""State in the journal → Optuna's state."""


class TrialRecords:
    """The trials of a journal with all that a study shows of them.

    Args:
        space: Search space, for the distributions, the objectives and the direction of losses.

    Attributes:
        trials: Number → trial.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.trials: dict[int, Trial] = {}
        self._evaluations: dict[int, dict[int, float]] = {}
        self._end_times: dict[int, float] = {}
        self._space = space
        self._distributions = {
            name: parameter.to_optuna_distribution()
            for name, parameter in space.searched_parameters.items()
        }

    def apply_events(self, events: Iterable[Mapping[str, Any]]) -> list[int]:
        """Apply further events of the journal, and return the numbers of the trials they concern.

        Returns:
            The numbers in ascending order, each once.

        Raises:
            CheckpointError: If this version does not know an event of a trial.
        """
        changed: set[int] = set()
        for event in events:
            if "trial" not in event:
                continue
            apply_trial_event(self.trials, event)
            number = event["trial"]
            changed.add(number)
            if event["event"] == "trial_reported":
                # The journal's losses are minimized; people want the metric itself.
                value = -self._space.pruner.direction_sign * event["loss"]
                self._evaluations.setdefault(number, {})[int(event["samples"])] = value
            elif event["event"] == "trial_ended":
                self._end_times[number] = event["time"]
        return sorted(changed)

    def get_evaluations(self, number: int) -> dict[int, float]:
        """Return clips seen → metric of the pruner for each evaluation of a trial.

        It is empty with several objectives, for which Optuna knows no intermediate values.
        """
        return {} if len(self._space.objectives) > 1 else self._evaluations.get(number, {})

    def get_values(self, number: int) -> list[float] | None:
        """Return the values of a trial's objectives; None unless it finished."""
        trial = self.trials[number]
        if trial.state != "finished":
            return None
        return [trial.scores[objective.name] for objective in self._space.objectives]

    def get_attributes(self, number: int) -> dict[str, Any]:
        """Return the user attributes of a trial, without those that do not apply."""
        trial = self.trials[number]
        levels = {
            name: trial.values[name]
            for name, parameter in self._space.searched_parameters.items()
            if parameter.role == "scientific" and name in trial.values
        }
        attributes = {
            "config_hash": trial.config_hash,
            "seed": self._space.search.seed,
            "phase": "search",
            "level": ", ".join(f"{name}={value}" for name, value in levels.items()),
            "duplicate_of": trial.duplicate_of,
        }
        if trial.state != "running":
            attributes |= {"seconds": trial.seconds, "reason": trial.reason}
        return {key: value for key, value in attributes.items() if value not in (None, "")}

    def build_trial(self, number: int) -> FrozenTrial:
        """Build a trial as it should be in the study."""
        trial = self.trials[number]
        parameters = self._space.searched_parameters
        params = {
            name: parameters[name].to_optuna_value(value)
            for name, value in trial.values.items()
            if name in parameters
        }
        built = optuna.trial.create_trial(
            state=STATES[trial.state],
            values=self.get_values(number),
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs=self.get_attributes(number),
            intermediate_values=dict(self.get_evaluations(number)),
        )
        # Optuna's times are local times without a zone.
        built.datetime_start = datetime.fromtimestamp(trial.start_time)
        if trial.state != "running":
            built.datetime_complete = datetime.fromtimestamp(self._end_times[number])
        return built
