"""Small skeletons, and a tiny corpus of them (motions, tables with texts, references); by code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.pose import PointLayout
from kinesweep.core.skeleton import ROOT, Skeleton


def made(parents: Sequence[int], mirror: Sequence[int] | None = None) -> Skeleton:
    """A skeleton of points without meaning; without `mirror` each is its own image."""
    names = tuple(f"p{at}" for at in range(len(parents)))
    layout = PointLayout((("MADE", names),))
    return Skeleton("made", layout, tuple(parents), tuple(mirror or range(len(parents))))


def over(layout: PointLayout) -> Skeleton:
    """A skeleton of any points: in each component one hangs on the one before."""
    parents: list[int] = []
    for _, points in layout.components:
        first = len(parents)
        parents += [ROOT, *range(first, first + len(points) - 1)]
    return Skeleton("over", layout, tuple(parents), tuple(range(len(parents))))


BODY_AND_HANDS = made(parents=(ROOT, 0, 0, ROOT, ROOT, 3, 4), mirror=(0, 2, 1, 4, 3, 6, 5))
"""Three trees: a neck (0) with shoulders (1, 2), and two hands (3, 4) with a finger each (5, 6)."""


def motions(count: int, points: int = 22, seed: int = 0) -> list[NDArray[np.float32]]:
    """Motions (T, J, 3) of 3 frames and more."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(3 + n % 4, points, 3)).astype(np.float32) for n in range(count)]


def write_pack(path: Path, found: Sequence[NDArray[Any]]) -> Path:
    """Writes `data` and `offsets`."""
    offsets = np.cumsum([0, *map(len, found)])
    np.savez(path, data=np.concatenate(found), offsets=offsets)
    return path


def write_rows(path: Path, header: str, rows: Sequence[str]) -> str:
    """Writes a table, columns separated by spaces; `_` in a field is a space, `-` nothing."""
    lines = [header, *rows]
    fields = [["" if f == "-" else f.replace("_", " ") for f in line.split()] for line in lines[1:]]
    text = "\n".join(["\t".join(header.split()), *("\t".join(line) for line in fields)])
    path.write_text(text + "\n", encoding="utf-8")
    return str(path)
