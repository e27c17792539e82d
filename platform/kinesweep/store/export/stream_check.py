"""The check that every clip has the streams that are exported, as other layouts require."""

from collections.abc import Collection

from kinesweep.core.errors import InputError
from kinesweep.store.format.reader import Store


def check_clips_have_streams(store: Store, streams: Collection[str]) -> None:
    """Check that every clip of a store has the given streams.

    Clips of a combined store may lack a stream that their corpus does not provide.

    Raises:
        InputError: If a clip lacks one; the message names the first such clip.
    """
    records = [record for split in store.splits for record in store.get_records(split)]
    for stream in streams:
        lacking = [record.clip.id for record in records if stream not in record.lengths]
        if lacking:
            raise InputError(
                f"{len(lacking)} of {len(records)} clips have no stream `{stream}`, for example"
                f" `{lacking[0]}`; this layout needs it in every clip. Export a recipe of the"
                " corpora that provide it, or with other `features.streams`"
            )
