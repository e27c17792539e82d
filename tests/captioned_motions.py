"""Corpora in the shape of HumanML3D and KIT-ML; made by code."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

POINTS = {"humanml3d": 22, "kit_ml": 21}
TAIL = "a/DET person/NOUN walk/VERB"


def write_motion(root: Path, name: str, frames: int, points: int = 22, lift: float = 0) -> None:
    """Joints and feature vectors of one motion; every value is its own, so that cuts show.

    `lift` moves half of the joints up, so that motions can be told apart.
    """
    rng = np.random.default_rng(sum(name.encode()))
    for folder, shape in (("new_joints", (points, 3)), ("new_joint_vecs", (12 * points - 1,))):
        (root / folder).mkdir(parents=True, exist_ok=True)
        x = rng.normal(size=(frames, *shape)).astype(np.float32)
        x[:, points // 2 :] += lift
        np.save(root / folder / f"{name}.npy", x)


def write_captions(root: Path, name: str, lines: Sequence[str], end: str = "\n") -> None:
    """A file of captions as they are given."""
    (root / "texts").mkdir(parents=True, exist_ok=True)
    (root / "texts" / f"{name}.txt").write_bytes((end.join(lines) + end).encode())


def write_lists(root: Path, **lists: Sequence[str]) -> None:
    """The lists of ids: `train`, `val`, `test`."""
    for name, ids in lists.items():
        (root / f"{name}.txt").write_text("\n".join(ids) + "\n")


def write_captioned_corpus(
    root: Path, texts: Mapping[str, Sequence[str]], corpus: str = "humanml3d", frames: int = 80
) -> Path:
    """A corpus of motions of 80 frames with the lines of their texts, all of them in `train`."""
    for name, lines in texts.items():
        write_motion(root, name, frames, POINTS[corpus])
        write_captions(root, name, lines)
    write_lists(root, train=list(texts))
    return root


def write_walkers(root: Path, corpus: str = "humanml3d", clips: int = 12) -> Path:
    """Motions that can be learned, whole and in parts, mirrored and not, in three splits."""
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number in range(clips):
        split = "val" if number % 6 == 4 else "test" if number % 6 == 5 else "train"
        verb = ("walk", "jump")[number % 2]
        for name in (f"{number:06d}", f"M{number:06d}"):
            write_motion(root, name, 60 + number, POINTS[corpus], lift=3 * (number % 2))
            lines = [f"a person {verb}s.#a/DET person/NOUN {verb}/VERB#0.0#0.0"]
            lines.append(f"someone {verb}s, then stops.#someone/PRON {verb}/VERB#0.0#nan")
            lines.append(f"{verb}ing fast#{verb}/VERB fast/ADV#0.5#2.75")
            write_captions(root, name, lines)
            lists[split].append(name)
    write_lists(root, **lists)
    return root
