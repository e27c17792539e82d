"""Boxes of people in the frames of a video, each followed from frame to frame.

A person keeps the box that overlaps most with the last one, weighted by its score, as in HybrIK's
demo. A new person needs a higher score and must not overlap with somebody who is followed. A person
who is not found in a frame is missing there. Whoever is lost is found again at the last box, or as
the largest new person, for example after a cut.

Shapes: N boxes of a frame, P people; a box is left, top, right and bottom in pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MAX_NEW_OVERLAP = 0.3
"""Overlap with a followed person up to which a box may be that of another person."""


def compute_overlaps(
    box: NDArray[np.float64], boxes_N4: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the intersection over union of a box with each of several boxes, (N,)."""
    top_left = np.maximum(box[:2], boxes_N4[:, :2])
    bottom_right = np.minimum(box[2:], boxes_N4[:, 2:])
    shared_N = (bottom_right - top_left).clip(min=0).prod(axis=1)
    sizes_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1)
    union_N = (box[2:] - box[:2]).prod() + sizes_N - shared_N
    # Detectors may return boxes without an area.
    return np.asarray(shared_N / np.maximum(union_N, 1e-9))


class PersonTracker:
    """A tracker of the people of one video, whose frames are given one after another.

    Args:
        max_people: Largest number of people that are followed.
        threshold: Least score of a person who was not followed before.
    """

    def __init__(self, max_people: int, threshold: float) -> None:
        self._max_people, self._threshold = max_people, threshold
        self._last_boxes: list[NDArray[np.float64]] = []

    def update(
        self, boxes: Sequence[Sequence[float]], scores: Sequence[float]
    ) -> list[NDArray[np.float64] | None]:
        """Assign the boxes of the next frame to people.

        Args:
            boxes: N boxes of people in the frame.
            scores: Score of each box, 0 to 1.

        Returns:
            Box of each person followed so far, or None for one who is not in this frame.
        """
        boxes_N4 = np.asarray(boxes, np.float64).reshape(-1, 4)
        free_scores_N = np.asarray(scores, np.float64).reshape(-1).copy()
        found: list[NDArray[np.float64] | None] = []
        for index, last_box in enumerate(self._last_boxes):
            # Boxes that somebody has already have a score of 0.
            weights_N = free_scores_N * compute_overlaps(last_box, boxes_N4)
            if not len(weights_N) or weights_N.max() <= 0:
                found.append(None)
                continue
            best = int(weights_N.argmax())
            free_scores_N[best] = 0  # nobody else has this box
            self._last_boxes[index] = boxes_N4[best]
            found.append(boxes_N4[best])
        for box in self._find_new_people(boxes_N4, free_scores_N, found):
            # The first of those who are lost; otherwise somebody who was not there before.
            lost = next((index for index, known in enumerate(found) if known is None), len(found))
            self._last_boxes[lost : lost + 1] = [box]
            found[lost : lost + 1] = [box]
        return found

    def _find_new_people(
        self,
        boxes_N4: NDArray[np.float64],
        free_scores_N: NDArray[np.float64],
        found: Sequence[NDArray[np.float64] | None],
    ) -> list[NDArray[np.float64]]:
        """Find the boxes of people who were not followed to this frame, the largest first.

        Args:
            boxes_N4: Boxes of the frame.
            free_scores_N: Score of each box, 0 for a box that belongs to somebody.
            found: Box of each person who was followed, or None for one who was lost.
        """
        people = [box for box in found if box is not None]
        new: list[NDArray[np.float64]] = []
        sizes_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1)
        # The signer or athlete is usually nearest to the camera; a stable order makes ties
        # repeatable.
        for index in np.argsort(-sizes_N, kind="stable"):
            if len(people) + len(new) >= self._max_people:
                break
            others = [*people, *new]
            is_apart = not others or (
                compute_overlaps(boxes_N4[index], np.stack(others)).max() <= _MAX_NEW_OVERLAP
            )
            # Above 0 even with a threshold of 0: a score of 0 marks boxes that are taken.
            if free_scores_N[index] >= max(self._threshold, 1e-9) and is_apart:
                new.append(boxes_N4[index])
        return new
