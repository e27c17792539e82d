"""Conversion of CoachMe's pickles into a table and an `.npz` for the source `skeletons`.

One setting is converted at a time, because a setting decides which records are clips and which of
their frames belong to the task. The standard motion of a clip's type becomes its reference motion,
with a span of its own. Labels become references, augmented labels texts that only training reads.
Clips that cannot be used are counted with a reason; CoachMe skips or breaks on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError, SourceError
from kinesweep.interop.coachme.records import (
    ConvertedCoachMeData,
    SelectedClip,
    read_clips,
)
from kinesweep.interop.coachme.segments import (
    SEGMENT_SETTINGS,
    Setting,
    is_in_setting,
    slice_frames,
)
from kinesweep.interop.coachme.standards import Standards, read_standards
from kinesweep.interop.motion_pickle import find_pack_path, write_motions
from kinesweep.interop.motion_record import MotionRecord, extract_records
from kinesweep.interop.safe_unpickler import read_plain_values


def convert_coachme_data(
    path: Path, table_path: Path, setting: Setting, standards_path: Path | None = None
) -> ConvertedCoachMeData:
    """Convert a pickle of CoachMe into a table and an `.npz` of the same name next to it.

    Existing files of these names are replaced.

    Args:
        path: A pickle such as `FS_train.pkl`; no code in it is run.
        table_path: Path of the `.tsv` to write; the folder is created if it is missing.
        setting: Setting whose records and frames are converted.
        standards_path: Pickle of the standard motions, such as `FS_standard.pkl`; None: clips have
            no reference motion.

    Returns:
        Paths and counts of the result.

    Raises:
        InputError: If the table has another suffix, its `.npz` is an input file, a file cannot be
            read, or the file has no clip of the setting.
        SourceError: If a file contains anything but plain values, records are invalid, or motion
            types have no standard.
    """
    input_paths = [path] if standards_path is None else [path, standards_path]
    result = ConvertedCoachMeData(table_path, find_pack_path(table_path, *input_paths))
    # Read once: the error without a clip counts the records of all settings.
    raw_records = extract_records(read_plain_values(path), path)
    clips = read_clips(raw_records, path, setting, result)
    records = [clip.record for clip in clips]
    reference_motions: list[NDArray[np.float32]] = []
    if standards_path is not None and clips:
        standards = read_standards(standards_path)
        # Prefixed, because clips and standards have keys of the same names.
        result.left |= {f"standard {key}": count for key, count in standards.left.items()}
        records, reference_motions = _add_references(clips, standards, result)
    # Checked before anything is written, so that no empty table replaces an earlier one.
    if not records:
        raise InputError(_format_no_clips_error(path, setting, raw_records, result.dropped))
    write_motions(table_path, records, reference_motions)
    result.clips, result.points = len(records), records[0].x_TJC.shape[1]
    return result


def _add_references(
    clips: Sequence[SelectedClip], standards: Standards, result: ConvertedCoachMeData
) -> tuple[list[MotionRecord], list[NDArray[np.float32]]]:
    """Give each clip the standard of its motion type as its reference, with the frames of its own.

    Args:
        clips: Clips of the setting.
        standards: Standard motions.
        result: Counts that this function extends.

    Returns:
        Clips whose reference has as many frames as they have, or any number with the setting
        `none`; and the motions of the references in the order in which the `.npz` stores them,
        after those of the clips.

    Raises:
        SourceError: If a motion type has no standard, or standards differ from the clips in their
            points.
    """
    # All types at once, so that one error lists every missing standard.
    names_by_type = standards.match(clip.record.kind for clip in clips)
    kept: list[tuple[MotionRecord, str]] = []
    for clip in clips:
        record, name = clip.record, names_by_type[clip.record.kind]
        first, last = 0, 0
        if clip.segment is not None:
            first, last = slice_frames(
                clip.segment.standard_start, clip.segment.length, len(standards.motions[name])
            )
            # CoachMe pads the shorter one with zeros, which compares frames with nothing.
            if last - first != record.end - record.start:
                result.drop("reference_length")
                continue
        kept.append((replace(record, reference_start=first, reference_end=last), name))
    # Each standard is stored once, in the order of its first use.
    names = tuple(dict.fromkeys(name for _, name in kept))
    motions = [standards.motions[name] for name in names]
    shapes = {x_TJC.shape[1:] for x_TJC in [*motions, *(record.x_TJC for record, _ in kept)]}
    if len(shapes) > 1:
        raise SourceError(
            f"`{standards.path}`: standards and clips differ in their points and coordinates:"
            f" {sorted(shapes)}"
        )
    result.standards, result.references = names, len(kept)
    # Standards follow the clips in the `.npz`, so their indices are known only now.
    # A number alone could be the id of a clip, also of another table.
    indices = {name: f"#{len(kept) + position}" for position, name in enumerate(names)}
    return [replace(record, reference=indices[name]) for record, name in kept], motions


def _format_no_clips_error(
    path: Path, setting: Setting, raw_records: Sequence[Any], dropped: Mapping[str, int]
) -> str:
    """Format the error of a file without a clip of a setting, with the settings that it has."""
    counts = {
        other: sum(
            is_in_setting(record, other) and record.get(f"{other}_seq_len") is not None
            for record in raw_records
        )
        for other in SEGMENT_SETTINGS
    }
    available = ", ".join(f"`{other}` ({count})" for other, count in counts.items() if count)
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    return (
        f"`{path}` has no clip of the setting `{setting}` ({reasons or 'no records'}); it has"
        f" records of {available or 'no setting'}; pass another `--setting`"
    )
