"""The same person keeps the same place in all frames, by ids or by the nearest position."""

import random
from typing import Any

import numpy as np
import pytest

from kinesweep.features.estimators.external_outputs.detections import Detection
from kinesweep.features.estimators.external_outputs.person_tracking import assign_people
from kinesweep.features.estimators.external_outputs.point_layouts import make_component
from kinesweep.features.estimators.external_outputs.pose_assembly import assemble_pose
from kinesweep.features.estimators.external_outputs.video_properties import VideoProperties

REACH = 20.0


def at(x: float, track_id: int | None = None, size: float = 50.0, found: int = 8) -> Detection:
    """A person of 8 points on a line, of whom the first ones are found."""
    points = np.zeros((8, 3), np.float32)
    points[:found, 0] = x + np.linspace(0, size, 8)[:found]
    points[:found, 2] = 0.9
    return Detection(points, track_id)


def follow(*rows: list[Detection]) -> list[list[int]]:
    return list(assign_people(dict(enumerate(rows)), REACH).values())


@pytest.mark.parametrize("num_people", [2, 3, 7])
def test_the_order_in_a_frame_does_not_matter(num_people: int) -> None:
    rng = random.Random(num_people)
    wanted, rows = [], []
    for frame in range(40):
        order = list(range(num_people))
        if frame:
            rng.shuffle(order)
        rows.append([at(200.0 * n + 10 * np.sin(frame + n)) for n in order])
        wanted.append(order)
    assert follow(*rows) == wanted


def test_who_is_away_for_a_while_comes_back_to_the_own_place() -> None:
    rows = [[at(0), at(500)], [at(505)], [], [at(510)], [at(515), at(30)]]
    assert follow(*rows) == [[0, 1], [1], [], [1], [1, 0]]


def test_who_appears_far_from_all_is_a_new_person() -> None:
    assert follow([at(0), at(500)], [at(900), at(500)], [at(0), at(900)]) == [
        [0, 1],
        [2, 1],
        [0, 2],
    ]


def test_the_nearest_pair_is_joined_first() -> None:
    """The second person is nearest to the first position, and nobody else reaches the other."""
    assert follow([at(0), at(40)], [at(35), at(70)]) == [[0, 1], [1, 2]]
    assert follow([at(0), at(40)], [at(42), at(8)]) == [[0, 1], [1, 0]]


def test_a_person_of_whom_a_part_is_found_is_the_same() -> None:
    assert follow([at(0), at(500)], [at(505, found=1), at(5, found=2)]) == [[0, 1], [1, 0]]


def test_a_clip_with_one_person_at_a_time_shows_one_person() -> None:
    assert follow([at(0)], [at(900)], [], [at(0)]) == [[0], [0], [], [0]]


def test_ids_are_followed_wherever_people_are() -> None:
    assert follow([at(0, 5), at(500, 3)], [at(0, 3), at(500, 5)], [at(0, 8)]) == [
        [0, 1],
        [1, 0],
        [2],
    ]
    assert follow([at(0, 5)], [at(0, 6)], [at(900, 5)]) == [[0], [1], [0]]


def test_an_id_of_everybody_is_none() -> None:
    assert follow([at(0, 0), at(500, 0)], [at(500, 0), at(0, 0)]) == [[0, 1], [1, 0]]


def test_an_id_that_occurs_twice_in_a_frame_counts_once() -> None:
    assert follow([at(0, 1), at(500, 2)], [at(0, 1), at(505, 1)]) == [[0, 1], [0, 1]]


def test_people_without_an_id_are_matched_with_those_who_are_not_in_the_frame() -> None:
    assert follow([at(0, 1), at(500, 2)], [at(505), at(0, 1)]) == [[0, 1], [1, 0]]


def test_nobody_found_is_somebody_new() -> None:
    """A person of whom no point was found has no position."""
    assert follow([at(0), at(500)], [at(500), at(0, found=0)]) == [[0, 1], [1, 2]]


def assemble(frames: dict[int, list[Detection]], indices: Any) -> Any:
    components = [make_component("BODY", [f"p{n}" for n in range(8)])]
    pose, notes = assemble_pose(frames, indices, components, VideoProperties(25.0, 640, 480))
    return pose.body.data.shape[:2], notes


def test_those_who_are_seen_least_are_left_out_of_a_pose_that_is_almost_empty() -> None:
    """20,000 frames of 8 points are 2 MB a person: 70 people fit, of whom each had one frame."""
    frames = {n: [at(0)] for n in range(20_000)} | {n: [at(0), at(500)] for n in range(200)}
    indices = {n: [0] if n >= 200 else [0, n + 1] for n in frames}
    (num_frames, num_people), (note,) = assemble(frames, indices)
    assert num_frames == 20_000 and 1 < num_people < 200
    assert note.startswith(f"{201 - num_people} of 201 people, those seen in the fewest frames")


def test_a_pose_that_is_almost_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="2000000 frames, but people were detected in 1 only"):
        assemble({1_999_999: [at(0)]}, {1_999_999: [0]})
