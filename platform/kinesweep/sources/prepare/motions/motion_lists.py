"""The lists of ids of a motion corpus, checked so that no motion lies in two splits.

A motion and its mirror image (`000001`, `M000001`) show the same movement. If lists share one, it
stays in the split that is scored: test before validation before train.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import InputError
from kinesweep.core.tables.text_encoding import decode_text
from kinesweep.sources.prepare.motions.caption_lines import split_lines
from kinesweep.sources.prepare.motions.motion_corpora import LIST_NAMES
from kinesweep.sources.prepare.split_annotations import DroppedRow

_MIRRORED_ID = re.compile(r"M(\d+)", re.ASCII)
_MAX_ID_LENGTH = 200
"""Number of characters of an id at most; file systems allow names of 255 bytes."""


@dataclass(frozen=True)
class ListedMotion:
    """A motion that a list names.

    Attributes:
        id: Id, which names the files of the motion.
        row: Location in the list, for example `train.txt:3`.
    """

    id: str
    row: str

    @property
    def base_id(self) -> str:
        """Return the id of the motion of which this one is the mirror image, or its own."""
        match = _MIRRORED_ID.fullmatch(self.id)
        return match[1] if match else self.id

    @property
    def is_mirrored(self) -> bool:
        """Return whether the motion is a mirror image."""
        return self.base_id != self.id


@dataclass(frozen=True)
class MotionLists:
    """The motions of each split, each in one split only, and the rows of the lists without one."""

    motions: Mapping[str, list[ListedMotion]]
    dropped: Mapping[str, list[DroppedRow]]


def read_motion_lists(folder: Path, mirrored: bool) -> MotionLists:
    """Read the lists of a folder; a split without a list has no motions.

    Args:
        folder: Folder of the corpus.
        mirrored: Whether mirrored motions are used; otherwise they are dropped rows.

    Raises:
        InputError: If there is no list, or one cannot be read as UTF-8.
    """
    paths = {split: folder / name for split, name in LIST_NAMES.items()}
    if not any(path.is_file() for path in paths.values()):
        names = ", ".join(f"`{name}`" for name in LIST_NAMES.values())
        raise InputError(f"`{folder}` has no list of ids; expected {names}")
    motions: dict[str, list[ListedMotion]] = {}
    dropped: dict[str, list[DroppedRow]] = {}
    first_rows: dict[str, ListedMotion] = {}
    split_by_base_id: dict[str, str] = {}
    # Test first, so that it keeps the motions that other lists repeat.
    for split in reversed(SPLITS):
        listed = _read_list(paths[split]) if paths[split].is_file() else []
        motions[split], dropped[split] = [], []
        for motion in listed:
            problem = _find_problem(motion, split, mirrored, first_rows, split_by_base_id)
            if problem is not None:
                dropped[split].append(problem)
                continue
            first_rows[motion.id] = motion
            split_by_base_id[motion.base_id] = split
            motions[split].append(motion)
    return MotionLists(
        {split: motions[split] for split in SPLITS}, {split: dropped[split] for split in SPLITS}
    )


def _read_list(path: Path) -> list[ListedMotion]:
    """Read the ids of a list, one a line.

    Raises:
        InputError: If the list is not UTF-8.
    """
    try:
        text = decode_text(path.read_bytes())
    except ValueError as error:
        raise InputError(f"`{path}` cannot be read: {error}") from None
    return [
        ListedMotion(line.strip(), f"{path.name}:{number}")
        for number, line in enumerate(split_lines(text), 1)
        if line.strip()
    ]


def _find_problem(
    motion: ListedMotion,
    split: str,
    mirrored: bool,
    first_rows: Mapping[str, ListedMotion],
    split_by_base_id: Mapping[str, str],
) -> DroppedRow | None:
    """Return the dropped row of a listed motion that is not used, or None.

    Args:
        motion: Listed motion.
        split: Split of its list.
        mirrored: Whether mirrored motions are used.
        first_rows: Motions that are used so far, by id.
        split_by_base_id: Split of each motion that is used so far, by the id without a mirror.
    """
    # An id names files, so it must stay inside their folders.
    if re.search(r"[/\\\0\t]", motion.id) or motion.id.startswith("."):
        return DroppedRow(motion.row, "bad_id", f"{motion.id!r} is not the name of a file")
    if len(motion.id) > _MAX_ID_LENGTH:
        return DroppedRow(motion.row, "bad_id", f"the id has {len(motion.id)} characters")
    if motion.is_mirrored and not mirrored:
        return DroppedRow(motion.row, "mirrored")
    other_split = split_by_base_id.get(motion.base_id, split)
    if other_split != split:
        problem = f"`{motion.base_id}` or its mirror image is listed in {other_split} too"
        return DroppedRow(motion.row, "other_split", problem)
    if motion.id in first_rows:
        problem = f"`{motion.id}` is listed in {first_rows[motion.id].row} already"
        return DroppedRow(motion.row, "duplicate", problem)
    return None
