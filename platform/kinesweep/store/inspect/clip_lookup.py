"""The lookup of a clip in a store by its ID, for commands that show a single clip."""

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


def find_clip_record(store: Store, clip_id: str) -> ClipRecord:
    """Return the record of the clip with a given ID, from the first split that has one.

    Args:
        store: Store to search.
        clip_id: ID of the clip.

    Raises:
        InputError: If there is no such clip.
    """
    records = [record for split in store.splits for record in store.get_records(split)]
    for record in records:
        if record.clip.id == clip_id:
            return record
    ids = [record.clip.id for record in records]
    hint = suggest_closest_word(clip_id, ids) or (f"; it has for example `{ids[0]}`" if ids else "")
    raise InputError(f"the store `{store.folder}` has no clip `{clip_id}`{hint}")
