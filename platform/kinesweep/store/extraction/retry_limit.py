"""A limit on retries of one piece of work, because Ray retries without limit when a worker dies.

Retrying helps when a node was lost. It does not help when a file crashes its reader or a batch does
not fit into memory: every worker that tries that piece dies.
"""

from pathlib import Path

from kinesweep.core.errors import StoreError

_ATTEMPTS = 4


def count_attempt(folder: Path, piece: str, what: str) -> None:
    """Record the start of a piece of work; refuse a piece whose workers died too often.

    Args:
        folder: Staging folder of the extraction.
        piece: Identifier of the piece, used in a file name.
        what: Description of the piece for the error message.

    Raises:
        StoreError: If earlier attempts at this piece already died `_ATTEMPTS` (4) times.
    """
    # The counter lives on disk because it must survive the death of the worker. `finish` removes it
    # together with other stray files.
    note = folder / "shards" / f".attempts-{piece}"
    note.parent.mkdir(exist_ok=True)
    with note.open("a+") as file:
        # The attempt is recorded before the work starts: a killed worker cannot record its own
        # death.
        file.write(".")
        file.seek(0)
        attempts = len(file.read())
    if attempts > _ATTEMPTS:
        raise StoreError(
            f"the worker process died {attempts - 1} times on {what}; one of these files may crash"
            " its reader or need too much memory (see Ray's logs). Find the file with `kinesweep"
            " check` and remove its row from the corpus."
        )
