"""The records of CoachMe's data that belong to a setting, read as clips with their segments.

Every record is a clip, an error, or counted with the reason why it is none.

Shapes: T frames, J points.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kinesweep.interop.coachme.segments import (
    LENGTH_KEY,
    SEGMENT_KEYS,
    SKATING_TYPES,
    Segment,
    Setting,
    is_in_setting,
    parse_segment,
    remove_padding,
    slice_frames,
)
from kinesweep.interop.motion_pickle import make_records_error
from kinesweep.interop.motion_record import (
    UNREADABLE_RECORD_ERRORS,
    MotionRecord,
    convert_record,
    find_unconverted_keys,
    parse_text,
    parse_texts,
)

DROP_REASONS = {
    "other_setting": "skating names with `_` belong to `gt`, all others to the other settings",
    "no_segment": "the record has no frames of the setting",
    "too_short": "the setting selects 0 or 1 frame",
    "reference_length": "the clip or its standard ends within the segment, so lengths differ",
}
"""Reason under which a record is dropped → explanation."""
_AUGMENTED_KEY, _CAMERA_KEY = "augmented_labels", "camera_view"
_OWN_KEYS = {*SEGMENT_KEYS, LENGTH_KEY, _AUGMENTED_KEY, _CAMERA_KEY}
# Segments of Motion2text, which CoachMe does not read.
_FOREIGN_KEYS = ("seq_len", "start_frame", "start", "end_frame", "end")
_MIN_FRAMES = 2


@dataclass
class ConvertedCoachMeData:
    """The result of converting CoachMe's data.

    Attributes:
        table: Path of the TSV.
        pack: Path of the `.npz`.
        clips: Number of clips.
        points: Number of points.
        references: Number of clips with a reference motion.
        standards: Names of the standards that clips have as their reference.
        dropped: Reason → number of records without a clip.
        left: Key that was omitted because it is not converted → number of records with this key.
        other_lengths: Number of records whose `original_seq_len` is not their number of frames.
        other_ends: Number of records whose ends differ from start plus length.
    """

    table: Path
    pack: Path
    clips: int = 0
    points: int = 0
    references: int = 0
    standards: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    other_lengths: int = 0
    other_ends: int = 0

    def drop(self, reason: str) -> None:
        """Count a record that gives no clip, under one of `DROP_REASONS`."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


@dataclass(frozen=True)
class SelectedClip:
    """A record of the setting with the segment that it states; None with the setting `none`."""

    record: MotionRecord
    segment: Segment | None


def read_clips(
    raw_records: Sequence[Any], path: Path, setting: Setting, result: ConvertedCoachMeData
) -> list[SelectedClip]:
    """Read the records of a setting; one error lists all invalid ones.

    Args:
        raw_records: Records as read from the file.
        path: The file, for the error message.
        setting: Setting whose records and frames are read.
        result: Counts that this function extends.

    Raises:
        SourceError: If a record is invalid, or the numbers of points differ.
    """
    clips, errors, left = [], [], Counter[str]()
    for index, raw_record in enumerate(raw_records):
        # Counted for all records, also for those of other settings: the file has these keys.
        left.update(_find_unconverted_keys(raw_record))
        try:
            clip = _read_clip(raw_record, index, setting, result)
        # A pickle may hold anything in place of a number or a list; each is an error of its record.
        except UNREADABLE_RECORD_ERRORS as error:
            errors.append(f"  record {index}: {error}")
        else:
            clips += [] if clip is None else [clip]
    result.left |= left
    share = f", of which {len(errors)} cannot be converted" if errors else ""
    # A store has one layout, so all clips must have the same points.
    shapes = sorted({clip.record.x_TJC.shape[1:] for clip in clips})
    if len(shapes) > 1:
        errors.append(f"  records differ in their points and coordinates: {shapes}")
    if errors:
        raise make_records_error(f"`{path}` has {len(raw_records)} records{share}", errors)
    return clips


def _read_clip(
    raw_record: Any, index: int, setting: Setting, result: ConvertedCoachMeData
) -> SelectedClip | None:
    """Read a record; return None and count the reason if the setting does not use it.

    Args:
        raw_record: Record as read from the file.
        index: Index of the record.
        setting: Setting whose frames are read.
        result: Counts that this function extends.

    Raises:
        SourceError: If the record is invalid; likewise `ValueError`, `TypeError` and `IndexError`.
    """
    if isinstance(raw_record, Mapping):
        # Before any other check: records of other settings may lack what this one needs.
        if not is_in_setting(raw_record, setting):
            result.drop("other_setting")
            return None
        raw_record = {key: raw_record[key] for key in raw_record if key not in _FOREIGN_KEYS}
    record = convert_record(raw_record, index)
    # Before slicing, because a negative start counts from the end of the motion.
    x_TJC, has_other_length = remove_padding(record.x_TJC, raw_record)
    result.other_lengths += has_other_length
    segment = None if setting == "none" else parse_segment(raw_record, setting)
    if setting != "none" and segment is None:
        result.drop("no_segment")
        return None
    first, last = 0, len(x_TJC)
    if segment is not None:
        first, last = slice_frames(segment.start, segment.length, len(x_TJC))
        result.other_ends += segment.has_other_end
    if last - first < _MIN_FRAMES:
        result.drop("too_short")
        return None
    record = replace(
        record,
        x_TJC=x_TJC,
        # Whole clips have no segment in the table, where an end of 0 is the end of the motion.
        start=first,
        end=0 if segment is None else last,
        augmented_texts=tuple(filter(None, parse_texts(raw_record, [_AUGMENTED_KEY]))),
        camera_view=parse_text(raw_record, [_CAMERA_KEY]),
        document=_find_video_name(record),
    )
    return SelectedClip(record, segment)


def _find_video_name(record: MotionRecord) -> str:
    """Return the name of the video of a skating record; empty for other records.

    All instructions of a video share it as their document, so that a split keeps them together.
    """
    return record.name.partition("_")[0] if record.kind in SKATING_TYPES else ""


def _find_unconverted_keys(raw_record: Any) -> list[str]:
    """Find the keys of a record that no setting converts; none if the record is no mapping."""
    keys = [key for key in find_unconverted_keys(raw_record) if key not in _OWN_KEYS]
    return keys + [
        key for key in _FOREIGN_KEYS if isinstance(raw_record, Mapping) and key in raw_record
    ]
