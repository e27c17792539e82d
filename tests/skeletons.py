"""A tiny corpus of skeletons: a pack of motions and tables with texts and references; by code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus import tiny_recipe
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe

HEADER = "id index ref1 ref2 reference start"
VALIDATION = ("v0 6 Turn. - t1 0", "v1 7 Go. - - 1")


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


def skeleton_recipe(folder: Path, **changes: Any) -> Recipe:
    """A recipe on tables of eight motions in `all.npz`; most clips are compared with the first."""
    plain = tiny_recipe(folder, folder / "stores").model_dump(mode="json")
    train = [f"t{n} {n} Lift_{n}. Up_{n}. {'t0' if n else '-'} 0" for n in range(6)]
    plain["source"] = {
        "kind": "skeletons",
        "fps": 20,
        "motions": str(folder / "all.npz"),
        "train": write_rows(folder / "train.tsv", HEADER, train),
        "validation": write_rows(folder / "validation.tsv", HEADER, VALIDATION),
    }
    return validate_config(Recipe, {**plain, "features": {"kind": "skeleton"}, **changes}, "test")
