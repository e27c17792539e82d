"""Pickles: files that may run any program when they are opened, so none is read as it is.

What they are called, and what to say of one. `kinesweep convert` makes a table and an `.npz` of
those that hold motions, with an unpickler that calls nothing but the makers of plain values.
"""

from pathlib import PurePath

PICKLES = (".pkl", ".pickle", ".pk", ".p")
"""Suffixes that pickles have."""
_ARRAYS = (".npy", ".npz")
"""NumPy's files; where an array's values are objects, they are a pickle."""


def is_pickle(name: str | PurePath) -> bool:
    """Whether a file is a pickle, by its name."""
    return PurePath(name).suffix.lower() in PICKLES


def may_hold_pickle(path: PurePath) -> bool:
    """Whether `kinesweep convert` takes a file for motions, by its name."""
    return is_pickle(path) or path.suffix.lower() in _ARRAYS


def refusal(path: str | PurePath) -> str:
    """Why a pickle is not read, and the command that helps; follows the file's name."""
    path = PurePath(path)
    out = path.with_name(f"{path.stem}_converted.tsv")
    return (
        "is a pickle, which may run any program when it is opened; convert it safely first:"
        f" `kinesweep convert {path} {out}`"
    )
