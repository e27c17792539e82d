"""A check for exports: layouts of features have no place for the frames of videos."""

from collections.abc import Iterable

from kinesweep.core.errors import InputError
from kinesweep.core.schema import StoreSchema


def refuse_frames(schema: StoreSchema, streams: Iterable[str]) -> None:
    """Refuse to export streams of pixels.

    Args:
        schema: Schema of the store.
        streams: Names of the streams to export.

    Raises:
        InputError: If one of them holds the frames of videos.
    """
    for name in streams:
        if schema.streams[name].frame_size is not None:
            raise InputError(
                f"the stream `{name}` holds {schema.streams[name].describe_frame()}, and both"
                " layouts of `export-features` are for feature vectors, which their readers would"
                " take the pixels for; export a store of `features.kind: video`, or share the"
                " videos themselves"
            )
