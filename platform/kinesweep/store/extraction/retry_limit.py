"""A limit on retries of a work item, because Ray retries without limit when a worker dies.

A work item is a chunk, a piece of videos or a batch of windows. Retrying helps when a node was
lost. It does not help when a file crashes its reader or a batch does not fit into memory: every
worker that tries that item dies.
"""

from pathlib import Path

from kinesweep.core.errors import StoreError

_MAX_ATTEMPTS = 4


def record_attempt(folder: Path, item: str, description: str) -> None:
    """Record an attempt at a work item on disk, and raise an error if it is the fifth or later.

    A worker calls this before each attempt. Earlier attempts at the same item ended with the death
    of their workers; otherwise Ray would not have submitted the item again.

    Args:
        folder: Staging folder of the extraction.
        item: Identifier of the work item, which becomes part of a file name.
        description: Description of the clips in the item for the error message.

    Raises:
        StoreError: If `_MAX_ATTEMPTS` (4) attempts at this item were recorded before.
    """
    # The counter lives on disk because it must survive the death of the worker. `finalize_store`
    # removes it together with other files that the manifest does not list.
    counter_path = folder / "shards" / f".attempts-{item}"
    counter_path.parent.mkdir(exist_ok=True)
    # One character per attempt, so counting needs no reading and rewriting of a number.
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
