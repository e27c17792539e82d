"""Skeletons over time with texts about them, and where there is one the motion as it should be.

A table a split lists clips; motions are one `.npz` for all (`motion_pack`), or a file each: `.npy`,
`.npz`, `.pose`. A clip's content is its own frames and its reference's, so a pack with one new
motion leaves all other clips extracted. All motions are read for that, in this process: 163 clips
of boxing in 41 ms. A worker opens the tables only where clips name references, to find them.

Shapes: T frames, P people, J points, C coordinates.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import canonical_json
from kinesweep.core.pose import PoseSequence
from kinesweep.core.recipe.skeletons import SkeletonsConfig
from kinesweep.core.skeleton import SKELETONS
from kinesweep.core.units import Span
from kinesweep.sources.contract import Content, Motion
from kinesweep.sources.motion_file import (
    MOTION_SUFFIXES,
    PACK_SUFFIX,
    read_alone,
    sequence_of,
    with_suffix,
)
from kinesweep.sources.motion_pack import Packs
from kinesweep.sources.rows import Rows
from kinesweep.sources.skeleton_rows import NUMBER, SkeletonRows, numbered
from kinesweep.sources.table import Table, read_table
from kinesweep.sources.table_source import TableSource


class SkeletonsSource(TableSource):
    """The source `skeletons`.

    Args:
        config: which tables and motions; relative paths are of the current folder, now.
        needs_text: whether rows must have texts; not where they are translated.
    """

    where_root: ClassVar[str] = "set `source.motions` to a folder that holds all motions"
    unique: ClassVar[str] = "give each row an `id` of its own"

    def __init__(self, config: SkeletonsConfig, needs_text: bool = True) -> None:
        super().__init__(config)
        self.config, self._needs_text = config, needs_text
        self._motions = Path(config.motions).absolute() if config.motions is not None else None
        self._skeleton = SKELETONS[config.skeleton]
        self._packs = Packs()
        self._places: dict[str, Clip] = {}
        self._numbered: dict[str, str | None] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_places": {}, "_numbered": {}}

    def root(self, split: str) -> Path:
        """The folder that a split's motions are relative to, absolute."""
        if self._motions is None:
            return self._tables[split].parent
        return self._motions.parent if self._motions.suffix == PACK_SUFFIX else self._motions

    def reading(self) -> dict[str, Any]:
        """Rate and points, which arrays do not tell."""
        config = self.config
        return {"source": config.kind, "fps": config.fps, "skeleton": config.skeleton}

    def table(self, split: str) -> Table:
        """A split's table as it stands."""
        return read_table(self._tables[split], self.table_name(split))

    def pack(self, split: str, table: Table) -> str | None:
        """Name of the one `.npz` whose motions a table's rows number; None: they name files."""
        if self._motions is not None:
            return self._motions.name if self._motions.suffix == PACK_SUFFIX else None
        called = self.config.columns.get("motion", "motion")
        return None if called in table.header else self._tables[split].stem + PACK_SUFFIX

    def pack_path(self, split: str, table: Table) -> Path | None:
        """Where that lies, absolute."""
        pack = self.pack(split, table)
        return None if pack is None else self.root(split) / pack

    def read_rows(self, split: str, path: Path) -> Rows:
        """One split's table as rows."""
        table = self.table(split)
        self._numbered[split] = self.pack(split, table)
        pack, needs_text = self._numbered[split], self._needs_text
        rows = SkeletonRows(table, split, self.config, pack, needs_text).read()
        # Before `max_clips` cuts: a clip may be compared with one that takes no part, for which
        # nobody needs to have written a text either.
        self._places |= {one.id: one for one in rows.clips}
        for one in rows.apart:
            self._places.setdefault(one.id, one)
        return rows

    def media_path(self, clip: Clip) -> Path:
        """The file of the clip's motion.

        Raises:
            ClipError: reason `outside_root`, `missing_file`, `not_a_file`, `pickled` or
                `ambiguous_file`.
        """
        file, _ = numbered(clip.media)
        try:
            named = with_suffix(self.root(clip.split), file)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None
        try:
            path = super().media_path(replace(clip, media=named))
        except ClipError as error:
            if self._motions is not None or error.reason != "missing_file":
                raise
            raise ClipError(f"{error}; see `source.motions`", error.reason) from None
        if path.suffix.lower() not in MOTION_SUFFIXES:
            known = ", ".join(MOTION_SUFFIXES)
            raise ClipError(f"{clip.row}: `{path}` is no motion: {known}", "not_a_file")
        return path

    def companions(self, clip: Clip) -> tuple[Path, ...]:
        """The file of the reference, where it is another.

        Raises:
            ClipError: reason `missing_reference`, or as `media_path`.
        """
        place = self._reference(clip)
        if place is None:
            return ()
        path = self._reference_path(clip, place)
        return () if path == self.media_path(clip) else (path,)

    def read(self, clip: Clip) -> Motion:
        """The clip's frames, and those of its reference.

        Raises:
            ClipError: with the reason under which the clip is counted; what is wrong with a
                reference has `missing_reference`, `other_skeleton` or a reason that begins with
                `reference_`.
        """
        place = self._reference(clip)
        pose = self._read(clip, self.media_path(clip), clip)
        if place is None:
            return Motion(pose)
        path = self._reference_path(clip, place)
        try:
            reference = self._read(clip, path, place)
        except ClipError as error:
            text = f"{error} (its reference `{clip.reference}`)"
            raise ClipError(text, f"reference_{error.reason}") from None
        dims = (pose.points_TPJC.shape[3], reference.points_TPJC.shape[3])
        if pose.layout != reference.layout or dims[0] != dims[1]:
            text = f"{clip.row}: its reference `{clip.reference}` has other points"
            raise ClipError(text, "other_skeleton")
        return Motion(pose, reference)

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, Content | ClipError]:
        """Hash of each clip's own frames and its reference's, or why it cannot be used."""
        found: dict[Clip, Content | ClipError] = {}
        for clip in clips:
            try:
                found[clip] = _content(self.read(clip))
            except ClipError as error:
                found[clip] = error
        return found

    def _read(self, clip: Clip, path: Path, place: Clip) -> PoseSequence:
        """The frames of a motion, one person.

        Raises:
            ClipError: see `read`.
        """
        _, number = numbered(place.media)
        skeleton, fps = self._skeleton, self.config.fps
        try:
            if number is None:
                return read_alone(path, place.span, skeleton, fps)
            x = self._packs.motion(path, number)
            return sequence_of(x, path, place.span, skeleton, fps)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None

    def reference_media(self, clip: Clip) -> str | None:
        """The motion that a clip is compared with, where that is no clip itself.

        Raises:
            ClipError: reason `missing_reference`.
        """
        place = self._reference(clip)
        return None if place is None or clip.reference in self._places else place.media

    def unlisted(self, clips: Sequence[Clip]) -> list[Clip]:
        """Rows that some clips are compared with, and that are no usable clips themselves."""
        usable = {clip.id for clip in self._read_tables().clips}
        named = dict.fromkeys(clip.reference for clip in clips)
        return [self._places[one] for one in named if one in self._places and one not in usable]

    def _reference(self, clip: Clip) -> Clip | None:
        """The motion that a clip is compared with, as a clip; None: with none.

        Raises:
            ClipError: reason `missing_reference`.
        """
        if not clip.reference:
            return None
        self._read_tables()
        place = self._places.get(clip.reference)
        if place is not None:
            return place
        pack = self._numbered[clip.split]
        if pack is None:
            return replace(clip, media=clip.reference, span=Span())
        if clip.reference.isascii() and clip.reference.isdigit():
            return replace(clip, media=f"{pack}{NUMBER}{clip.reference}", span=Span())
        raise ClipError(
            f"{clip.row}: `reference` names `{clip.reference}`, which is neither the id of a clip"
            f" nor the number of a motion of `{pack}`",
            "missing_reference",
        )

    def _reference_path(self, clip: Clip, place: Clip) -> Path:
        """The file of a reference.

        Raises:
            ClipError: reason `missing_reference`, or as `media_path`.
        """
        try:
            return self.media_path(replace(clip, split=place.split, media=place.media))
        except ClipError as error:
            if error.reason != "missing_file":
                raise
            text = f"{error}; `reference` is the id of a clip, or names a motion"
            raise ClipError(text, "missing_reference") from None


def _content(motion: Motion) -> Content:
    """Hash and size of all that is read of a clip."""
    digest, num_bytes = hashlib.sha256(), 0
    for pose in (motion.pose, motion.reference):
        if pose is None:
            continue
        about = [pose.fps, pose.layout.to_json(), list(pose.points_TPJC.shape)]
        digest.update(canonical_json(about).encode())
        for values in (pose.points_TPJC, pose.confidence_TPJ):
            digest.update(np.ascontiguousarray(values).data)
            num_bytes += values.nbytes
    return Content(digest.hexdigest(), num_bytes)
