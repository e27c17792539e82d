"""Reading `.pose` files: three versions, spans, people, headers. Damage is in test_bad_input.py."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pose_format import Pose

from kinesweep.core.errors import ClipError
from kinesweep.core.units import Span
from kinesweep.sources.pose_format import pose_header
from kinesweep.sources.pose_format.pose_file import HEADER_CHUNK_BYTES, read_pose

Make = dict[str, Callable[..., Any]]
Write = Callable[..., Path]


@pytest.mark.parametrize("version", [0.0, 0.1, 0.2])
def test_versions(write_pose: Write, make: Make, version: float) -> None:
    points = make["numbers"](4)
    confidence = np.linspace(0.1, 1, 12, dtype=np.float32).reshape(4, 1, 3)
    path = write_pose(points_TPJC=points, confidence_TPJ=confidence, version=version)
    pose = read_pose(path)
    np.testing.assert_array_equal(pose.points_TPJC, points)
    np.testing.assert_array_equal(pose.confidence_TPJ, confidence)
    assert pose.points_TPJC.dtype == pose.confidence_TPJ.dtype == np.float32
    assert pose.fps == 25
    assert pose.layout.components == (("FACE", ("a",)), ("HAND", ("b", "c")))
    theirs = Pose.read(path.read_bytes()).body
    np.testing.assert_array_equal(pose.points_TPJC, theirs.data.data)
    np.testing.assert_array_equal(pose.confidence_TPJ, theirs.confidence)


@pytest.mark.parametrize("version", [0.0, 0.1, 0.2])
@pytest.mark.parametrize(
    ("span", "first", "last"),
    [
        (Span(), 0, 10),
        (Span.from_ms(0, 100), 0, 3),
        (Span.from_ms(90, 0), 2, 10),
        (Span.from_ms(90, 439), 2, 10),  # one frame after the end
        (Span.from_frames(3, 4), 3, 4),
        (Span.from_frames(9, 0), 9, 10),
    ],
)
def test_spans(
    write_pose: Write, make: Make, version: float, span: Span, first: int, last: int
) -> None:
    points = make["numbers"](10)
    confidence = make["numbers"](10)[..., 0]
    pose = read_pose(
        write_pose(points_TPJC=points, confidence_TPJ=confidence, version=version), span
    )
    np.testing.assert_array_equal(pose.points_TPJC, points[first:last])
    np.testing.assert_array_equal(pose.confidence_TPJ, confidence[first:last])


@pytest.mark.parametrize("version", [0.0, 0.1, 0.2])
def test_the_chosen_person(write_pose: Write, make: Make, version: float) -> None:
    points = make["numbers"](4, people=3)
    pose = read_pose(write_pose(points_TPJC=points, version=version), person=2)
    np.testing.assert_array_equal(pose.points_TPJC, points[:, 2:])
    assert pose.confidence_TPJ.shape == (4, 1, 3)


def test_a_frame_without_people_is_a_frame_where_nothing_is_found(
    write_pose: Write, make: Make
) -> None:
    content = write_pose(version=0.0).read_bytes()
    a_frame = 2 + 2 + 3 * 3 * 4
    start = len(content) - 2 * a_frame
    path = write_pose("gap.pose", version=0.0)
    path.write_bytes(content[:start] + b"\0\0" + content[start + a_frame :])
    pose = read_pose(path)
    assert pose.confidence_TPJ[:, 0, 0].tolist() == [1, 1, 0, 1]
    assert not pose.points_TPJC[2].any()
    np.testing.assert_array_equal(pose.points_TPJC[3], make["numbers"](4)[3])


def test_version_1_counts_modulo_65536(write_pose: Write, make: Make) -> None:
    header = make["header"](0.1, components=(("ONE", ("a",)),), form="XC")
    points = make["numbers"](70_000, joints=1, dims=1)
    path = write_pose(points_TPJC=points, version=0.1, header=header)
    np.testing.assert_array_equal(read_pose(path).points_TPJC, points)


def test_nan_is_allowed_where_nothing_was_found(write_pose: Write, make: Make) -> None:
    points, confidence = make["numbers"](4), np.ones((4, 1, 3), np.float32)
    points[1, 0, 2], confidence[1, 0, 2] = np.nan, 0
    path = write_pose(points_TPJC=points, confidence_TPJ=confidence)
    assert np.isnan(read_pose(path).points_TPJC).sum() == 2


def test_nan_outside_of_the_span_or_the_person_does_not_matter(
    write_pose: Write, make: Make
) -> None:
    points = make["numbers"](4, people=2)
    points[3, 0] = np.nan
    path = write_pose(points_TPJC=points)
    read_pose(path, Span.from_frames(0, 3))
    read_pose(path, person=1)
    with pytest.raises(ClipError, match="1 of 4 frames"):
        read_pose(path)


def test_headers_are_remembered_and_not_mixed_up(write_pose: Write, make: Make) -> None:
    pose_header._header_cache.clear()
    longer = (("FACE", ("a",)), ("HAND", ("b", "c")), ("FOOT", ("d",)))
    other = make["header"](components=longer)
    paths = [write_pose("a.pose"), write_pose("wide.pose", header=make["header"](width=999))]
    paths.append(write_pose("b.pose", points_TPJC=make["numbers"](4, joints=4), header=other))
    for _ in range(2):
        sizes = [read_pose(path).layout.num_points for path in paths]
        assert sizes == [3, 3, 4]
    assert (
        len(pose_header._header_cache) == 2
    )  # the picture's size is not part of what is remembered
    assert read_pose(paths[0]).layout is read_pose(paths[1]).layout


def test_remembered_headers_are_bounded(make: Make) -> None:
    for number in range(pose_header.MAX_CACHED_HEADERS + 9):
        pose_header.parse_header(make["header"](components=((f"C{number}", ("a",)),)))
    assert len(pose_header._header_cache) == pose_header.MAX_CACHED_HEADERS


def test_a_header_longer_than_what_is_read_at_first(write_pose: Write, make: Make) -> None:
    names = tuple(f"{number:0100}" for number in range(1500))
    header = make["header"](components=(("MANY", names),))
    assert len(header) > 2 * HEADER_CHUNK_BYTES
    points = make["numbers"](2, joints=1500)
    path = write_pose(points_TPJC=points, header=header)
    np.testing.assert_array_equal(read_pose(path).points_TPJC, points)


def test_sequences_pickle(write_pose: Write) -> None:
    pose = read_pose(write_pose(), Span.from_frames(1, 3))
    again = pickle.loads(pickle.dumps(pose))
    np.testing.assert_array_equal(again.points_TPJC, pose.points_TPJC)
    assert again.layout == pose.layout
