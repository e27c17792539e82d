"""Policy for pickle files, which can run arbitrary code when loaded and are therefore never loaded.

This module recognizes them by their suffix and formats the error message. `kinesweep convert` turns
pickled motions into a table and an `.npz`, with an unpickler that only constructs plain values.
"""

from pathlib import PurePath

PICKLE_SUFFIXES = (".pkl", ".pickle", ".pk", ".p")
"""File suffixes of pickles."""


def is_pickle(name: str | PurePath) -> bool:
    """Return whether a file name has the suffix of a pickle (`PICKLE_SUFFIXES`), in any case."""
    return PurePath(name).suffix.lower() in PICKLE_SUFFIXES


def format_pickle_error(path: str | PurePath) -> str:
    """Format the error text for a pickle, with the command that converts it.

    The text continues a sentence that starts with the file name.
    """
    path = PurePath(path)
    # A new name, so that the command does not overwrite a table next to the pickle.
    output_path = path.with_name(f"{path.stem}_converted.tsv")
    return (
        "is a pickle, which can run arbitrary code when it is loaded; convert it safely first:"
        f" `kinesweep convert {path} {output_path}`"
    )
