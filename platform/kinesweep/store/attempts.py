"""How often a piece of work was begun: Ray tries for ever when a worker dies.

A node comes back, but a file that kills its reader, or a batch that does not fit into memory, kills
every worker that tries it.
"""

from pathlib import Path

from kinesweep.core.errors import StoreError

_ATTEMPTS = 4


def count_attempt(folder: Path, piece: str, what: str) -> None:
    """Notes that a piece of an extraction was begun; refuses one that killed again and again.

    Args:
        folder: where the extraction is built.
        piece: names it.
        what: it, for people.

    Raises:
        StoreError: its workers died too often.
    """
    note = folder / "shards" / f".attempts-{piece}"
    note.parent.mkdir(exist_ok=True)
    with note.open("a+") as file:
        file.write(".")
        file.seek(0)
        attempts = len(file.read())
    if attempts > _ATTEMPTS:
        raise StoreError(
            f"the worker died {attempts - 1} times over {what}; one of their files may crash its"
            " reader or need too much memory (see Ray's logs). Find it with `kinesweep check` and"
            " take it out."
        )
