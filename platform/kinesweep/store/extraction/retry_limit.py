"""A limit on retries of one piece of work, because Ray retries without limit when a worker dies.

Retrying helps when a node was lost. It does not help when a file crashes its reader or a batch does
not fit into memory: every worker that tries that piece dies.
"""

from pathlib import Path

from kinesweep.core.errors import StoreError

_MAX_ATTEMPTS = 4


def record_attempt(folder: Path, piece: str, description: str) -> None:
    """Record an attempt at a piece of work, and raise an error if it is the fifth or later.

    A worker calls this before each attempt. Earlier attempts at the same piece ended with the death
    of their workers; otherwise Ray would not have submitted the piece again.

    Args:
        folder: Staging folder of the extraction.
        piece: Identifier of the piece, which becomes part of a file name.
        description: Description of the piece for the error message.

    Raises:
        StoreError: If `_MAX_ATTEMPTS` (4) attempts at this piece were recorded before.
    """
    # The counter lives on disk because it must survive the death of the worker. `finalize_store`
    # removes it together with other files that the manifest does not list.
    counter_path = folder / "shards" / f".attempts-{piece}"
    counter_path.parent.mkdir(exist_ok=True)
    with counter_path.open("a+") as file:
        # The attempt is recorded before the work starts: a killed worker cannot record its own
        # death.
        file.write(".")
        file.seek(0)
        num_attempts = len(file.read())
    if num_attempts > _MAX_ATTEMPTS:
        raise StoreError(
            f"the worker process died {num_attempts - 1} times on {description}; one of these files"
            " may crash its reader or need too much memory (see Ray's logs). Find the file with"
            " `kinesweep check` and remove its row from the corpus."
        )
