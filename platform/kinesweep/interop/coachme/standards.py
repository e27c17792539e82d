"""Standard motions of CoachMe: one correct execution of each type of motion.

A standard is found by its name, which is the type of motion, or else by its own `motion_type`.

Shapes: T frames, J points.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import SourceError
from kinesweep.interop.coachme.segments import remove_padding
from kinesweep.interop.motion_record import (
    UNREADABLE_RECORD_ERRORS,
    convert_record,
    extract_records,
    find_unconverted_keys,
)
from kinesweep.interop.safe_unpickler import read_plain_values


@dataclass(frozen=True)
class Standards:
    """The standard motions of a file.

    Attributes:
        path: Path of the file.
        motions: Name of the standard → its motion, (T, J, C).
        names_by_type: Motion type → names of its standards.
        left: Key that is not converted → number of standards that have it.
    """

    path: Path
    motions: dict[str, NDArray[np.float32]]
    names_by_type: dict[str, list[str]]
    left: dict[str, int]

    def find(self, motion_type: str) -> str | None:
        """Find the name of the standard of a motion type; None if there is none.

        Raises:
            SourceError: If several standards have the type and none has its name.
        """
        # The name decides first: a file may hold several executions of one type.
        if motion_type in self.motions:
            return motion_type
        names = self.names_by_type.get(motion_type, [])
        if len(names) > 1:
            raise SourceError(
                f"`{self.path}` has {len(names)} standards of the motion type `{motion_type}`:"
                f" {', '.join(names)}; keep one, or name one `{motion_type}`"
            )
        return names[0] if names else None

    def match(self, motion_types: Iterable[str]) -> dict[str, str]:
        """Match the motion types of clips with the names of their standards.

        Args:
            motion_types: Motion type of each clip.

        Returns:
            Motion type → name of its standard.

        Raises:
            SourceError: If types have no standard, or several; the message lists them.
        """
        counts = Counter(motion_types)
        matches = {motion_type: self.find(motion_type) for motion_type in counts}
        # All missing types are reported together.
        missing = [motion_type for motion_type, name in matches.items() if name is None]
        if missing:
            types = ", ".join(
                f"{f'`{name}`' if name else 'none stated'} ({counts[name]} clips)"
                for name in sorted(missing)
            )
            raise SourceError(
                f"`{self.path}` has no standard of the motion types {types}; it has"
                f" {', '.join(f'`{name}`' for name in self.motions)}. Add the missing ones, or"
                " leave out `--standards` to convert without references"
            )
        return {motion_type: name for motion_type, name in matches.items() if name is not None}


def read_standards(path: Path) -> Standards:
    """Read a file of standard motions, such as `BX_standard.pkl`; no code in it is run.

    Raises:
        InputError: If the file cannot be read.
        SourceError: If it contains anything but plain values, a record is invalid, or two standards
            have one name.
    """
    motions: dict[str, NDArray[np.float32]] = {}
    names_by_type: dict[str, list[str]] = {}
    left: Counter[str] = Counter()
    for index, raw_record in enumerate(extract_records(read_plain_values(path), path)):
        try:
            record = convert_record(raw_record, index)
            # Padding would be compared with frames of the clip.
            x_TJC, _ = remove_padding(record.x_TJC, raw_record)
        except UNREADABLE_RECORD_ERRORS as error:
            raise SourceError(f"`{path}`, standard {index}: {error}") from None
        if record.name in motions:
            raise SourceError(f"`{path}` has two standards of the name `{record.name}`; remove one")
        motions[record.name] = x_TJC
        # Standards without a type are named after it.
        names_by_type.setdefault(record.kind or record.name, []).append(record.name)
        left.update(_find_unused_keys(raw_record))
    if not motions:
        raise SourceError(f"`{path}` has no standards")
    return Standards(path, motions, names_by_type, dict(left))


def _find_unused_keys(raw_record: Mapping[str, object]) -> list[str]:
    """Find the keys of a standard that have no effect: texts, segments and unknown keys."""
    unused_keys = {"labels", "seq_len", "start_frame", "end_frame"} & set(raw_record)
    known_keys = {"original_seq_len"}
    return [*sorted(unused_keys), *set(find_unconverted_keys(raw_record)) - known_keys]
