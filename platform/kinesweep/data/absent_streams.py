"""Streams that a clip lacks, for corpora of different kinds in one training.

A clip of a corpus that does not provide a stream gets it without any frame, so that all clips of a
batch have the same streams. Its mask is then False throughout, and the model leaves the stream out.
Shapes: T frames, D width.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.schema import StreamSchema


def fill_absent_streams(
    streams: Mapping[str, NDArray[Any]], schemas: Mapping[str, StreamSchema]
) -> dict[str, NDArray[Any]]:
    """Return all streams of a clip, (T, D), in the order of the schemas; T is 0 for absent ones.

    Args:
        streams: Stream → features of the clip.
        schemas: Stream → schema, for all streams of the store.
    """
    return {
        name: streams[name]
        if name in streams
        # Of the stored type, because the first clip of a batch determines its type.
        else np.zeros((0, schema.width), np.dtype(schema.dtype))
        for name, schema in schemas.items()
    }
