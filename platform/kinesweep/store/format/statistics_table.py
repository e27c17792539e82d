"""The table of media statistics of a store: one row per clip, in a separate Arrow file.

It is separate from the index, because training never reads it. A store of media without points has
no such file, and neither has one of an earlier version.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from kinesweep.features.quality.media_statistics import PARTS, MediaStatistics

STATISTICS = "statistics.arrow"
"""Name of the file below the folder of the store."""

# Attribute of `MediaStatistics` → type of its column; `frames_with` has one column per part.
_COLUMNS = {
    "num_frames": pa.int64(),
    "fps": pa.float64(),
    "has_whole_fps": pa.bool_(),
    "has_confidence": pa.bool_(),
    "num_constant_points": pa.int64(),
    "num_zeros": pa.int64(),
    "num_detections": pa.int64(),
    "has_third_in_unit_range": pa.bool_(),
    "num_people": pa.int64(),
}
_PART_PREFIX = "frames_with."


def build_statistics_table(statistics: Sequence[MediaStatistics | None]) -> pa.Table:
    """Convert the statistics of clips to a table; equal statistics give equal bytes.

    Args:
        statistics: Statistics of all clips in the order of the index; None becomes a row of nulls.
    """
    columns: dict[str, pa.Array] = {
        name: pa.array([clip and getattr(clip, name) for clip in statistics], column_type)
        for name, column_type in _COLUMNS.items()
    }
    for part in PARTS:
        # None for a part that the layout of the clip does not have.
        counts = [clip and clip.frames_with.get(part) for clip in statistics]
        columns[_PART_PREFIX + part] = pa.array(counts, pa.int64())
    return pa.table(columns)


def parse_statistics_table(table: pa.Table) -> list[MediaStatistics | None]:
    """Convert a table from `build_statistics_table` back to the statistics of clips."""
    return [_parse_row(row) for row in table.to_pylist()]


def read_statistics_table(path: Path) -> list[MediaStatistics | None]:
    """Read the statistics of clips from the file of a store, in the order of its index."""
    with pa.memory_map(str(path)) as file:
        return parse_statistics_table(pa.ipc.open_file(file).read_all())


def _parse_row(row: dict[str, Any]) -> MediaStatistics | None:
    """Convert one row of the table to statistics; a row of nulls gives None."""
    if row["num_frames"] is None:
        return None
    frames_with = {
        part: row[_PART_PREFIX + part] for part in PARTS if row[_PART_PREFIX + part] is not None
    }
    return MediaStatistics(frames_with=frames_with, **{name: row[name] for name in _COLUMNS})
