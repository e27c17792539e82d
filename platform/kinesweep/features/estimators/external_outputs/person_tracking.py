"""Identities of people: the same person keeps the same index in all frames.

Tracking ids of the estimator are followed where there are any. Without them, people of a clip in
which several are seen at once are followed by position: pairs of a person seen before and a person
in the frame are joined in order of their distance (the mean over the points that both have), but
none that is farther than the person is large. Whoever is left becomes a new person. A clip with at
most one person in each frame is taken to show one person.

Shapes: J points.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinesweep.features.estimators.external_outputs.detections import Detection

# Only this many people, those seen last, are compared: false detections would add up to thousands.
MAX_COMPARED = 64

Frames = Mapping[int, Sequence[Detection]]


@dataclass
class _Track:
    """A person who was seen before.

    Attributes:
        points_J3: Points when the person was seen last, (J, 3).
        size: Largest extent of the person so far in pixels.
    """

    points_J3: NDArray[np.float32]
    size: float


def assign_people(frames: Frames, min_reach: float) -> dict[int, list[int]]:
    """Assign an index to each person: frame index → index of each person in the frame.

    People are numbered in the order in which they appear.

    Args:
        frames: Frame index → people.
        min_reach: Distance in pixels that a person may always move from one frame to the next.
    """
    if not _has_track_ids(frames):
        frames = {
            number: [replace(person, track_id=None) for person in people]
            for number, people in frames.items()
        }
        if max(map(len, frames.values())) <= 1:
            return {number: [0] * len(people) for number, people in frames.items()}
    tracker = _PersonTracker(min_reach)
    return {number: tracker.assign(frames[number]) for number in sorted(frames)}


def _has_track_ids(frames: Frames) -> bool:
    """Return whether tracking ids can tell people apart.

    Estimators that do not track may write the same id for everybody (AlphaPose: 0).
    """
    ids = [[person.track_id for person in people] for people in frames.values()]
    different = {track_id for row in ids for track_id in row} - {None}
    return len(different) > 1 or (bool(different) and all(len(row) <= 1 for row in ids))


class _PersonTracker:
    """The people seen so far, in the order in which they appeared.

    Args:
        min_reach: Distance in pixels that a person may always move from one frame to the next.
    """

    def __init__(self, min_reach: float) -> None:
        self._min_reach = min_reach
        # Insertion order is the order in which people were seen last.
        self._tracks: dict[int, _Track] = {}
        self._index_by_id: dict[int, int] = {}

    def assign(self, people: Sequence[Detection]) -> list[int]:
        """Return the index of each person of the next frame."""
        indices: dict[int, int] = {}
        for order, person in enumerate(people):
            index = self._index_by_id.get(person.track_id) if person.track_id is not None else None
            # An id that occurs twice in a frame counts for the first person only.
            if index is not None and index not in indices.values():
                indices[order] = index
        named = [
            order
            for order, person in enumerate(people)
            if person.track_id is not None and person.track_id not in self._index_by_id
        ]
        unnamed = [n for n in range(len(people)) if n not in indices and n not in named]
        self._match_by_position(people, unnamed, indices)
        for order, person in enumerate(people):
            if order not in indices:
                indices[order] = len(self._tracks)
                if person.track_id is not None:
                    self._index_by_id.setdefault(person.track_id, indices[order])
            self._update(indices[order], person)
        return [indices[order] for order in range(len(people))]

    def _match_by_position(
        self, people: Sequence[Detection], orders: Iterable[int], indices: dict[int, int]
    ) -> None:
        """Match people of a frame with people seen before, nearest first.

        Args:
            people: People of the frame.
            orders: Positions of the people to match.
            indices: Position of a person → index; matches are added.
        """
        free = [index for index in self._tracks if index not in indices.values()][-MAX_COMPARED:]
        pairs = []
        for order in orders:
            points_J3 = people[order].points_J3
            size = _measure_size(points_J3)
            for index in free:
                track = self._tracks[index]
                distance = _measure_distance(track.points_J3, points_J3)
                if distance <= max(track.size, size, self._min_reach):
                    pairs.append((distance, index, order))
        for _, index, order in sorted(pairs):
            if order not in indices and index not in indices.values():
                indices[order] = index

    def _update(self, index: int, person: Detection) -> None:
        """Record where a person was seen."""
        size = _measure_size(person.points_J3)
        if track := self._tracks.pop(index, None):
            size = max(size, track.size)
        self._tracks[index] = _Track(person.points_J3, size)


def _find_points(points_J3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return x and y of the points that were found."""
    found: NDArray[np.float32] = points_J3[points_J3[:, 2] > 0, :2]
    return found


def _measure_size(points_J3: NDArray[np.float32]) -> float:
    """Return the diagonal of the box around the points that were found."""
    found = _find_points(points_J3)
    return float(np.linalg.norm(np.ptp(found, axis=0))) if len(found) else 0.0


def _measure_distance(first_J3: NDArray[np.float32], second_J3: NDArray[np.float32]) -> float:
    """Return the mean distance of the points that both have, or else of their centers."""
    both_J = (first_J3[:, 2] > 0) & (second_J3[:, 2] > 0)
    if both_J.any():
        moves = first_J3[both_J, :2] - second_J3[both_J, :2]
        return float(np.linalg.norm(moves, axis=1).mean())
    first, second = _find_points(first_J3), _find_points(second_J3)
    if not len(first) or not len(second):
        return float("inf")
    return float(np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)))
