"""Any content of a file ends in a pose or in an error that names the file, and in little memory."""

import copy
import json
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from estimator_outputs import flat, openpose_person, points, read_all, write_json
from kinesweep.core.errors import ClipError, InputError

WHOLE = points(17)
PERSON = {"keypoints": WHOLE[:, :2].tolist(), "keypoint_scores": WHOLE[:, 2].tolist()}
# A valid output of each estimator: name of the file and content.
VALID: dict[str, tuple[str, Any]] = {
    "openpose": ("a_000000000001_keypoints.json", {"people": [openpose_person()]}),
    "alphapose": ("a.json", [{"image_id": "1.jpg", "keypoints": flat(17), "idx": [1.0]}]),
    "mmpose": ("a.json", [{"frame_id": 1, "instances": [PERSON | {"track_id": 1}]}]),
    "openpifpaf": ("a.json", {"frame": 1, "predictions": [{"keypoints": flat(17), "id_": 1}]}),
}
VALUES = [
    *(None, True, 0, -1, 1.5, 1e9, 10**12, 10**400, 1e39, float("nan"), float("inf"), -0.0),
    *("", "1", "x", "1.jpg", [], [[]], [None], [[[]]], {}, {"people": []}, {"a": {}}, [1, "2"]),
]
TEXTS = [
    *(
        b"",
        b" ",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff\x00",
        b"\x00",
        b"\x80\x81",
        b"{",
        b"[",
        b"]",
    ),
    *(b"null", b"7", b'"text"', b"[1]", b"{'people': []}", b"{people: []}", b"[1,]", b"NaN", b"{}"),
    *(b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b'{"people": [{}]} x', b"// x\n[]"),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of a value and of all values in it; of lists only the first and last entry."""
    yield path
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from places(entry, (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1} if value else ()):
            yield from places(value[index], (*path, index))


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a content in which the value at a path is replaced, or removed if it is `...`."""
    if not path:
        return value
    copied = copy.deepcopy(content)
    target = copied
    for step in path[:-1]:
        target = target[step]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return copied


def read(estimator: str, folder: Path) -> int:
    """The number of frames, 0 if the output was refused in an expected way."""
    try:
        return sum(len(pose.data) for pose in read_all(estimator, folder).values())
    except (ClipError, InputError) as error:
        assert str(folder) in str(error) and len(str(error)) < 1000
        return 0


@pytest.mark.parametrize("estimator", VALID)
def test_each_value_replaced_by_each_other(estimator: str, tmp_path: Path) -> None:
    name, content = VALID[estimator]
    assert read(estimator, write_json(tmp_path / name, content).parent) in (1, 2)
    tracemalloc.start()
    results = [
        read(estimator, write_json(tmp_path / name, replaced(content, path, value)).parent)
        for path in places(content)
        for value in [*VALUES, ...]
        if path or value is not ...
    ]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 in results and any(results)
    assert max(results) <= 2 and peak_bytes < 2**26, "no frame number may allocate its frames"


@pytest.mark.parametrize("estimator", VALID)
def test_contents_that_are_not_json(estimator: str, tmp_path: Path) -> None:
    for text in TEXTS:
        (tmp_path / VALID[estimator][0]).write_bytes(text)
        assert read(estimator, tmp_path) == 0


@pytest.mark.parametrize("estimator", VALID)
def test_damaged_files(estimator: str, tmp_path: Path) -> None:
    """Bytes of a valid file are cut, changed, repeated and removed."""
    name, content = VALID[estimator]
    good, rng = json.dumps(content).encode(), random.Random(1)
    results = []
    for _ in range(100):
        start, end = sorted(rng.sample(range(len(good)), 2))
        bad = rng.choice(
            (
                good[:end],
                good[:start] + good[end:],
                good[:end] + good[start:],
                good[:start] + bytes([rng.randrange(256)]) + good[start + 1 :],
            )
        )
        (tmp_path / name).write_bytes(bad)
        results.append(read(estimator, tmp_path))
    assert min(results) == 0 and max(results) <= 2, "most are refused; none is read as more people"


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    for number in ("NaN", "Infinity", "1e39", "1e400", "-1e400"):
        text = json.dumps(VALID["alphapose"][1]).replace("100.0", number, 1)
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ClipError, match=r"`keypoints` of person 0 .* not finite"):
            read_all("alphapose", tmp_path)
