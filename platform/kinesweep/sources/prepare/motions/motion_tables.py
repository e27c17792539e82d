"""The tables of a motion corpus: one per split, and the tables of what was not written."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kinesweep.core.io import write_text
from kinesweep.core.tables.table_writing import format_table
from kinesweep.sources.prepare.corpus_tables import (
    DROPPED_TABLE_NAME,
    MISSING_TABLE_NAME,
    list_table_paths,
)
from kinesweep.sources.prepare.motions.motion_clips import MotionClip
from kinesweep.sources.prepare.motions.motion_corpora import MotionSettings
from kinesweep.sources.prepare.split_annotations import DroppedRow

_DROPPED_HEADER = ("split", "row", "reason", "problem")
_MISSING_HEADER = ("split", "id", "looked for")


def write_motion_tables(
    out: Path,
    clips: Mapping[str, Sequence[MotionClip]],
    dropped: Mapping[str, Sequence[DroppedRow]],
    missing: Mapping[str, Sequence[tuple[str, str]]],
    settings: MotionSettings,
) -> dict[str, Path]:
    """Write the tables of a corpus, remove those of an earlier call, and return paths by split.

    Args:
        out: Folder for the tables, which is created if it does not exist.
        clips: Clips by split; a split without clips has no table.
        dropped: Rows that belong to no clip, by split.
        missing: Ids and paths of missing files, by split.
        settings: Kind of the motions, which decides about the columns.
    """
    format_split = _format_skeletons if settings.features == "joints" else _format_features
    tables = {out / f"{split}.tsv": format_split(found) for split, found in clips.items() if found}
    dropped_rows = [
        (split, row.row, row.reason, row.problem) for split, rows in dropped.items() for row in rows
    ]
    if dropped_rows:
        tables[out / DROPPED_TABLE_NAME] = format_table([_DROPPED_HEADER, *dropped_rows])
    missing_rows = [(split, *names) for split, rows in missing.items() for names in rows]
    if missing_rows:
        tables[out / MISSING_TABLE_NAME] = format_table([_MISSING_HEADER, *missing_rows])
    out.mkdir(parents=True, exist_ok=True)
    for path, text in tables.items():
        write_text(path, text)
    # Old tables last, so that an interruption leaves none of them without its successor.
    for path in set(list_table_paths(out)) - tables.keys():
        path.unlink(missing_ok=True)
    return {split: out / f"{split}.tsv" for split, found in clips.items() if found}


def _format_skeletons(clips: Sequence[MotionClip]) -> str:
    """Format the table of a split for the source `skeletons`."""
    count = max(len(clip.texts) for clip in clips)
    header = ["id", "motion", "start", "end", "document"]
    header += [f"text{number}" for number in range(1, count + 1)]
    return _format_rows(header, clips, count)


def _format_features(clips: Sequence[MotionClip]) -> str:
    """Format the table of a split for the source `feature_tsv`, with times in frames.

    The end of a whole motion is written, because that source takes a row without times for one that
    lacks them if other rows have some.
    """
    count = max(len(clip.texts) for clip in clips)
    header = ["id", "signal", "signal_start", "signal_end", "document", "output"]
    header += [f"output_{number}" for number in range(2, count + 1)]
    return _format_rows(header, clips, count)


def _format_rows(header: Sequence[str], clips: Iterable[MotionClip], count: int) -> str:
    """Format a header and the rows of clips.

    Args:
        header: Names of the columns; with `signal_end`, each row has the end of its clip.
        clips: Clips of a split.
        count: Number of columns of texts, of which a clip with fewer texts leaves the last empty.
    """
    has_all_ends = "signal_end" in header
    rows = [
        (
            *(clip.id, f"{clip.motion.id}.npy", clip.start),
            clip.end if has_all_ends or not clip.is_whole else 0,
            clip.motion.base_id,
            *clip.texts,
            *([""] * (count - len(clip.texts))),
        )
        for clip in clips
    ]
    return format_table([header, *rows])
