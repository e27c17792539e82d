"""A study in an Optuna storage that follows the journal of a sweep, in this direction only.

Opening it compares the study with the events so far and adds what is missing, so it may be done any
number of times. A study that contradicts the journal is written anew; those of others are left
alone. An event costs 0.2 to 2 ms in a file.
"""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from kinesweep.core.hashing import compute_fingerprint
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.storage import STUDY_FILE, open_study_storage
from kinesweep.sweeps.study.trial_records import STATES, TrialRecords

_ID_ATTRIBUTE = "journal"
"""User attribute with which a study names the journal that it follows."""


@dataclass
class _MirroredTrial:
    """A trial of the study: its id in the storage, its evaluations, and whether it has ended."""

    trial_id: int
    steps: set[int] = field(default_factory=set)
    has_ended: bool = False


class StudyMirror:
    """The study of a sweep. Opening it adds what the journal has and the study lacks.

    Args:
        folder: Folder of the sweep.
        space: Search space of the sweep.
        events: Events of the journal so far, which has been started.

    Attributes:
        name: Name of the study.

    Raises:
        Exception: If the storage cannot be used; the type depends on Optuna and the database.
    """

    def __init__(
        self, folder: Path, space: SearchSpace, events: Iterable[Mapping[str, Any]]
    ) -> None:
        events = list(events)
        self._space, self._records = space, TrialRecords(space)
        self._storage = open_study_storage(folder, space.study_storage)
        self._path = None if space.study_storage is not None else folder / STUDY_FILE
        self._inode = self._read_inode()
        self._mirrored: dict[int, _MirroredTrial] = {}
        self._sweep, self._attributes = folder.name, dict[str, Any]()
        start = next(event for event in events if event["event"] == "sweep_started")
        self._journal_id = compute_fingerprint({"identity": start["identity"], "at": start["time"]})
        self.name = folder.name
        if space.study_storage is not None:
            # A database is shared by sweeps, and several of them may have the same name.
            self.name = f"{folder.name}-{self._journal_id[:8]}"
        # Before the study is opened, whose trials are compared with these.
        self._records.apply_events(events)
        self._study_id = self._find_or_create_study()
        if not self._adopt_trials(self._storage.get_all_trials(self._study_id, deepcopy=False)):
            self._storage.delete_study(self._study_id)
            self._study_id = self._create_study()
        self._push_trials(self._records.trials)
        self._push_study_attributes(events)

    def apply_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Write further events of the journal into the study.

        Raises:
            Exception: If the storage cannot be used.
        """
        events = list(events)
        self._push_trials(self._records.apply_events(events))
        self._push_study_attributes(events)

    def remove_foreign_trials(self) -> None:
        """Write the study anew if somebody else added trials to it since it was opened.

        Raises:
            Exception: If the storage cannot be used.
        """
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        if len(trials) != len(self._mirrored):
            self._rebuild()

    @property
    def is_replaced(self) -> bool:
        """Return whether the study's file was deleted or replaced, so it must be opened again."""
        return self._read_inode() != self._inode

    def close(self) -> None:
        """Close the connections of the storage; do nothing if it does not answer."""
        with suppress(Exception):
            self._storage.remove_session()

    def _read_inode(self) -> int | None:
        """Return the inode of the study's file; None for a database, or without the file."""
        if self._path is None:
            return None
        # Not `exists` first: the file could be removed in between.
        with suppress(FileNotFoundError):
            return self._path.stat().st_ino
        return None

    def _find_or_create_study(self) -> int:
        """Return the id of the study that follows this journal; create it if there is none."""
        for study in self._storage.get_all_studies():
            if study.user_attrs.get(_ID_ATTRIBUTE) == self._journal_id:
                self.name = study.study_name
                # Optuna keeps it private, but the functions of storages take no other name.
                return study._study_id
            # Left by a process that was killed before it could write the attributes, or made by
            # others in our file. The file is ours alone, the name in a database as well.
            if study.study_name == self.name:
                self._storage.delete_study(study._study_id)
        return self._create_study()

    def _create_study(self) -> int:
        """Create an empty study with its attributes and return its id."""
        objectives = self._space.objectives
        directions = [
            StudyDirection.MAXIMIZE if objective.direction_sign > 0 else StudyDirection.MINIMIZE
            for objective in objectives
        ]
        self._mirrored.clear()
        study_id = self._storage.create_new_study(directions, self.name)
        attributes = {
            "sweep": self._sweep,
            "question": self._space.question,
            "intermediate values": f"{self._space.pruner.metric} by clips seen",
            _ID_ATTRIBUTE: self._journal_id,
        }
        for key, value in attributes.items():
            self._storage.set_study_user_attr(study_id, key, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.load_study(study_name=self.name, storage=self._storage)
            study.set_metric_names([objective.name for objective in objectives])
        return study_id

    def _adopt_trials(self, trials: Iterable[FrozenTrial]) -> bool:
        """Register the trials that the study has; return whether they agree with the journal."""
        for found in trials:
            # A trial of somebody else: numbers would no longer be those of the journal.
            if found.number not in self._records.trials:
                return False
            wanted = self._records.build_trial(found.number)
            if found.params != wanted.params or _contradicts(found, wanted):
                return False
            self._mirrored[found.number] = _MirroredTrial(
                found._trial_id, set(found.intermediate_values), found.state.is_finished()
            )
        return True

    def _rebuild(self) -> None:
        """Replace the study by a new one with all that the journal has."""
        self._storage.delete_study(self._study_id)
        self._study_id = self._create_study()
        for number in self._records.trials:
            self._push_trial(number)
        for key, value in self._attributes.items():
            self._storage.set_study_user_attr(self._study_id, key, value)

    def _push_trials(self, numbers: Iterable[int]) -> None:
        """Write what the journal has of some trials and the study lacks."""
        have_their_numbers = [self._push_trial(number) for number in numbers]
        # With a trial of somebody else, ours would get other numbers than in the journal.
        if not all(have_their_numbers):
            self._rebuild()

    def _push_trial(self, number: int) -> bool:
        """Write what the journal has of a trial and the study lacks.

        Returns:
            Whether the trial has the number of the journal in the study.
        """
        mirrored = self._mirrored.get(number)
        has_ended = self._records.trials[number].state != "running"
        evaluations = self._records.get_evaluations(number)
        if mirrored is None:
            trial_id = self._storage.create_new_trial(
                self._study_id, self._records.build_trial(number)
            )
            self._mirrored[number] = _MirroredTrial(trial_id, set(evaluations), has_ended)
            return self._storage.get_trial_number_from_id(trial_id) == number
        if mirrored.has_ended:
            return True
        for step in sorted(set(evaluations) - mirrored.steps):
            self._storage.set_trial_intermediate_value(mirrored.trial_id, step, evaluations[step])
            mirrored.steps.add(step)
        if has_ended:
            self._end_trial(number, mirrored)
        return True

    def _end_trial(self, number: int, mirrored: _MirroredTrial) -> None:
        """Write the end of a trial; the state comes last, since nothing can be added after it."""
        for key in ("seconds", "reason"):
            if (value := self._records.get_attributes(number).get(key)) is not None:
                self._storage.set_trial_user_attr(mirrored.trial_id, key, value)
        self._storage.set_trial_state_values(
            mirrored.trial_id,
            STATES[self._records.trials[number].state],
            self._records.get_values(number),
        )
        mirrored.has_ended = True

    def _push_study_attributes(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Write the winner of the finals, or why the search stopped, if one of the events says."""
        values = {"ranked": ("winner", "winner"), "search_stopped": ("stopped", "reason")}
        for event in events:
            if event["event"] in values:
                key, field_name = values[event["event"]]
                self._attributes[key] = event[field_name]
                self._storage.set_study_user_attr(self._study_id, key, event[field_name])


def _contradicts(found: FrozenTrial, wanted: FrozenTrial) -> bool:
    """Return whether a trial of the study has what the journal does not have.

    Args:
        found: Trial of the study.
        wanted: The same trial by the journal.
    """
    key = "config_hash"
    if found.user_attrs.get(key) != wanted.user_attrs[key]:
        return True
    if found.state.is_finished() and (found.state, found.values) != (wanted.state, wanted.values):
        return True
    extra = set(found.intermediate_values) - set(wanted.intermediate_values)
    lacking = set(wanted.intermediate_values) - set(found.intermediate_values)
    # Nothing can be added to a trial that has ended.
    return bool(extra) or (found.state.is_finished() and bool(lacking))
