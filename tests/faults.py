"""Corpora with every fault at once: one row per fault, each with the reason that is right.

A fault is one line of a table here; a new one is one more line. `expected` says what an extraction
drops, `malformed` which rows make it refuse the corpus.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from poses import HOLISTIC, LEFT_HAND, NUM_POINTS, SHOULDERS, pose_file, signer

NUM_GOOD_CLIPS = 6
Faulty = tuple[str, Callable[[Path], object], str]
"""Name of the clip, function that writes its file (at a path without suffix), and reason."""


@dataclass(frozen=True)
class FaultyCorpus:
    """A corpus with faults: its recipe, location → reason of unusable rows, malformed rows."""

    recipe: Recipe
    expected: dict[str, str]
    malformed: tuple[str, ...] = ()


def _pose(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.with_suffix(".pose").write_bytes(content)


def _changed(change: Callable[[Any], object], **values: Any) -> Callable[[Path], object]:
    """A file in which one array was changed: `change` gets the points (T, P, J, C)."""
    points_TPJC = signer()
    change(points_TPJC)
    return _pose(pose_file(points_TPJC, **values))


def _set(where: Any, value: float) -> Callable[[Any], None]:
    def change(x: Any) -> None:
        x[where] = value

    return change


def _renamed(component: str, prefix: str) -> list[tuple[str, list[str]]]:
    """The usual points with other names in one component."""
    return [
        (name, [f"{prefix}{point}" if name == component else point for point in points])
        for name, points in HOLISTIC
    ]


POSE_FAULTS: list[Faulty] = [
    ("missing", lambda path: None, "missing_file"),
    ("folder", lambda path: path.with_suffix(".pose").mkdir(), "not_a_file"),
    ("empty", _pose(b""), "empty_file"),
    ("truncated", _pose(pose_file()[:-99]), "truncated"),
    ("header_only", _pose(pose_file()[:700]), "truncated"),
    ("longer", _pose(pose_file() + b"1234"), "wrong_length"),
    ("other_version", _pose(pose_file(header_version=0.3)), "not_a_pose_file"),
    ("picture", _pose(b"GIF89a" + b"x" * 500), "not_a_pose_file"),
    ("nan", _changed(_set((3, 0, 5, 1), np.nan)), "nan_frames"),
    ("nobody", _pose(pose_file(signer()[:, :0])), "no_people"),
    (
        "undetected",
        _pose(pose_file(confidence_TPJ=np.zeros((12, 1, NUM_POINTS), np.float32))),
        "no_people",
    ),
    ("no_frames", _pose(pose_file(signer()[:0])), "no_frames"),
    ("rate_0", _pose(pose_file(fps=0)), "bad_fps"),
    ("rate_nan", _pose(pose_file(fps=float("nan"))), "bad_fps"),
    (
        "no_face",
        _pose(
            pose_file(
                signer(num_points=NUM_POINTS - 128), components=[*HOLISTIC[:1], *HOLISTIC[2:]]
            )
        ),
        "unknown_layout",
    ),
    (
        "lacks_points",
        _pose(pose_file(components=_renamed("FACE_LANDMARKS", "f"))),
        "unknown_layout",
    ),
    ("flat_shoulders", _changed(_set((slice(None), 0, SHOULDERS), 7)), "no_shoulders"),
    ("overflow", _changed(_set((2, 0, LEFT_HAND.start, 0), 1e9)), "overflow"),
    ("other_width", _pose(pose_file(signer(num_dims=2))), "wrong_width"),
    (
        "other_layout",
        _pose(pose_file(components=_renamed("LEFT_HAND_LANDMARKS", "hand_"))),
        "wrong_layout",
    ),
]


def faulty_pose_corpus(folder: Path, malformed: bool = False, **changes: Any) -> FaultyCorpus:
    """A `pose_tsv` corpus with all faults of files and rows; with malformed rows if wanted."""
    poses = folder / "corpus" / "poses"
    poses.mkdir(parents=True)
    rows = ["signal\tsignal_start\tsignal_end\toutput"]
    expected: dict[str, str] = {}

    def add(signal: str, start: str = "", end: str = "", text: str = "A text.", reason: str = ""):
        rows.append(f"{signal}\t{start}\t{end}\t{text}")
        if reason:
            expected[f"train.tsv:{len(rows)}"] = reason

    for number in range(NUM_GOOD_CLIPS):
        (poses / f"good{number}.pose").write_bytes(pose_file(signer(seed=number)))
        add(f"poses/good{number}.pose", text=f"Text {number}.")
    for name, write, reason in POSE_FAULTS:
        write(poses / name)
        add(f"poses/{name}.pose", reason=reason)
    add("../outside.pose", reason="outside_root")
    (poses / "cut.pose").write_bytes(pose_file(signer()))
    add("poses/cut.pose", "9000", "", reason="span_beyond_file")
    add("poses/cut.pose", "300", "200", reason="empty_span")
    add("poses/cut.pose", "40", "400", text="", reason="empty_text")
    add("poses/cut.pose", "0", "0", reason="empty_span")
    wrong_rows = []
    if malformed:
        wrong_rows = [
            b"poses/good0.pose\t\t\tGr\xfc\xdfe",
            b"poses/good0.pose\t80",
            b"a.txt\t\t\tx",
        ]
        wrong_rows += [b"poses/good0.pose\tsoon\t\tx"]
    content = b"\n".join([*(row.encode() for row in rows), *wrong_rows]) + b"\n"
    (folder / "corpus" / "train.tsv").write_bytes(content)
    (folder / "corpus" / "validation.tsv").write_text(f"{rows[0]}\nposes/good2.pose\t\t\tMore.\n")
    source = {"train": str(folder / "corpus/train.tsv"), "kind": "pose_tsv"}
    source["validation"] = str(folder / "corpus/validation.tsv")
    locations = tuple(f"train.tsv:{len(rows) + number + 1}" for number in range(len(wrong_rows)))
    return FaultyCorpus(faulty_recipe(folder, source, **changes), expected, locations)


def _array(shape: tuple[int, ...], kind: str = "f4", value: float | None = None) -> Any:
    x = np.random.default_rng(0).normal(size=shape).astype(kind)
    if value is not None:
        x.reshape(-1)[0] = value
    return x


def _npy(x: Any) -> Callable[[Path], object]:
    return lambda path: np.save(path.with_suffix(".npy"), x)


SKELETON_FAULTS: list[Faulty] = [
    ("missing", lambda path: None, "missing_file"),
    ("whole_numbers", _npy(_array((5, 22, 3), "i4")), "wrong_dtype"),
    ("other_points", _npy(_array((5, 21, 3))), "wrong_shape"),
    ("four_values", _npy(_array((5, 22, 4))), "wrong_shape"),
    ("nan", _npy(_array((5, 22, 3), value=np.nan)), "nan_frames"),
    ("beyond_float32", _npy(_array((5, 22, 3), "f8", 1e200)), "nan_frames"),
    ("overflow", _npy(_array((5, 22, 3), value=1e6)), "overflow"),
    ("no_frames", _npy(_array((0, 22, 3))), "no_frames"),
    ("flat", _npy(_array((5, 22, 2))), "wrong_width"),
    ("text", lambda path: path.with_suffix(".npy").write_text("no array"), "unreadable"),
    (
        "pickled",
        lambda path: path.with_suffix(".npy").write_bytes(pickle.dumps([1, 2])),
        "pickled",
    ),
]


def faulty_skeleton_corpus(folder: Path, **changes: Any) -> FaultyCorpus:
    """A `skeletons` corpus with all faults of arrays and rows."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    rows, expected = ["motion\ttext\tstart\tend\treference"], {}
    for number in range(NUM_GOOD_CLIPS):
        np.save(corpus / f"good{number}.npy", _array((5 + number, 22, 3)))
        rows.append(f"good{number}.npy\tText.\t\t\t")
    faults: list[tuple[str, str]] = [
        (f"{name}.npy\tA text.\t\t\t", reason) for name, _, reason in SKELETON_FAULTS
    ]
    for name, write, _ in SKELETON_FAULTS:
        write(corpus / name)
    faults += [("good0.npy\tA text.\t90\t\t", "span_beyond_file")]
    faults += [("good0.npy\tA text.\t3\t2\t", "empty_span"), ("good1.npy\t\t1\t4\t", "empty_text")]
    faults += [("good2.npy\tA text.\t1\t4\tnowhere", "missing_reference")]
    faults += [("good3.npy\tA text.\t1\t4\tnan.npy", "reference_nan_frames")]
    for row, reason in faults:
        rows.append(row)
        expected[f"train.tsv:{len(rows)}"] = reason
    (corpus / "train.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = {"kind": "skeletons", "fps": 20, "train": str(corpus / "train.tsv")}
    features = {"kind": "skeleton", "centre": "none", "reference": {}}
    return FaultyCorpus(faulty_recipe(folder, source, features=features, **changes), expected)


def faulty_recipe(folder: Path, source: dict[str, Any], **changes: Any) -> Recipe:
    """A recipe that lets every clip be dropped."""
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    plain["store"] |= {"max_dropped_share": 1.0, "required_splits": []}
    return validate_config(Recipe, {**plain, "source": source, **changes}, "test")
