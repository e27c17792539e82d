"""A corpus of skeleton motions with texts and, optionally, a reference motion for each clip.

One table per split lists the clips. The motions are in one `.npz` (see `npz_pack`), or in one
file each: `.npy`, `.npz` or `.pose`. The content digest of a clip covers its own frames and those
of its reference motion, so that adding a motion to a pack does not invalidate the extracted
features of the other clips. All motions are read for it in this process: 163 clips of boxing take
41 ms. A worker opens the tables only to look up reference motions.

Shapes: T frames, P people, J points, C coordinates.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.sources.base import MediaDigest, SkeletonMotion
from kinesweep.sources.skeletons.array_meaning import ArrayMeaning
from kinesweep.sources.skeletons.motion_digest import compute_motion_digest
from kinesweep.sources.skeletons.motion_file import (
    MOTION_SUFFIXES,
    PACK_SUFFIX,
    add_motion_suffix,
    build_pose_sequence,
    read_single_motion,
)
from kinesweep.sources.skeletons.npz_pack import NpzCache
from kinesweep.sources.skeletons.skeleton_rows import (
    PACK_SEPARATOR,
    SkeletonRowReader,
    split_pack_path,
)
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.media_names import get_pose_path
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import Table, read_table


class SkeletonsSource(TableSource):
    """A source of skeleton motions (`skeletons`).

    Args:
        config: Tables and motions; relative paths are resolved against the current folder at
            construction.
        needs_text: Whether rows must have texts; False for motions to be translated.
    """

    outside_root_advice: ClassVar[str] = "set `source.motions` to a folder that holds all motions"
    duplicate_id_advice: ClassVar[str] = "give each row an `id` of its own"

    def __init__(self, config: SkeletonsConfig, needs_text: bool = True) -> None:
        super().__init__(config)
        self.config, self._needs_text = config, needs_text
        self._motions_path = Path(config.motions).absolute() if config.motions is not None else None
        self._meaning = ArrayMeaning.from_config(config)
        self._packs = NpzCache()
        # Both are filled by `read_rows`: clips by id, which other clips may name as their reference
        # motion, and the name of the pack by split.
        self._reference_motion_candidates: dict[str, Clip] = {}
        self._pack_names: dict[str, str | None] = {}

    def __getstate__(self) -> dict[str, object]:
        # Emptied together with the rows of the base class, from which they are built.
        return {**super().__getstate__(), "_reference_motion_candidates": {}, "_pack_names": {}}

    def get_root(self, split: str) -> Path:
        """Return the absolute path of the folder that a split's motion paths are relative to."""
        if self._motions_path is None:
            return self._tables[split].parent
        return (
            self._motions_path.parent
            if self._motions_path.suffix == PACK_SUFFIX
            else self._motions_path
        )

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source and what arrays do not state themselves.

        That is the frame rate, the skeleton and the meaning of the third value.
        """
        return {"source": self.config.kind, **self._meaning.describe()}

    def read_split_table(self, split: str) -> Table:
        """Read a split's table as text, without converting its rows to clips."""
        return read_table(self._tables[split], self.get_table_name(split))

    def get_pack_name(self, split: str, table: Table) -> str | None:
        """Return the name of the `.npz` that a table's rows index, or None if they name files."""
        if self._motions_path is not None:
            return self._motions_path.name if self._motions_path.suffix == PACK_SUFFIX else None
        # Without `source.motions` and a column `motion`, the pack is named after the table.
        motion_column = self.config.columns.get("motion", "motion")
        return None if motion_column in table.header else self._tables[split].stem + PACK_SUFFIX

    def get_pack_path(self, split: str, table: Table) -> Path | None:
        """Return the absolute path of a split's pack, or None if rows name files."""
        pack_name = self.get_pack_name(split, table)
        return None if pack_name is None else self.get_root(split) / pack_name

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's table, and return its clips, invalid rows and errors.

        Also records the name of the split's pack and the clips that other clips may name as their
        reference motion.
        """
        table = self.read_split_table(split)
        self._pack_names[split] = self.get_pack_name(split, table)
        rows = SkeletonRowReader(
            table, split, self.config, self._pack_names[split], self._needs_text
        ).read()
        # Recorded before `max_clips` is applied: a reference motion need not be part of the corpus.
        self._reference_motion_candidates |= {clip.id: clip for clip in rows.clips}
        # A reference motion needs no text, but a usable clip with the same id takes precedence.
        for clip in rows.reference_motion_clips:
            self._reference_motion_candidates.setdefault(clip.id, clip)
        return rows

    def resolve_media_path(self, clip: Clip) -> Path:
        """Return the absolute path of the file that contains the clip's motion.

        Raises:
            ClipError: With reason `outside_root`, `missing_file`, `not_a_file`, `pickled` or
                `ambiguous_file`.
        """
        file, _ = split_pack_path(clip.media)
        try:
            media = add_motion_suffix(self.get_root(clip.split), file)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None
        try:
            path = super().resolve_media_path(replace(clip, media=media))
        except ClipError as error:
            if self._motions_path is not None or error.reason != "missing_file":
                raise
            # The file was looked for beside the table, so `source.motions` may be what is missing.
            raise ClipError(f"{error}; see `source.motions`", error.reason) from None
        if path.suffix.lower() not in MOTION_SUFFIXES:
            supported = ", ".join(MOTION_SUFFIXES)
            raise ClipError(
                f"{clip.row}: `{path}` is not a motion file; supported are {supported}",
                "not_a_file",
            )
        return path

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the path of the file of the reference motion, if it is not the clip's own file.

        Without a reference motion, the result is empty.

        Raises:
            ClipError: With reason `missing_reference` or a reason of `resolve_media_path`.
        """
        reference_clip = self._resolve_reference_motion(clip)
        if reference_clip is None:
            return ()
        path = self._resolve_reference_path(clip, reference_clip)
        return () if path == self.resolve_media_path(clip) else (path,)

    def read(self, clip: Clip) -> SkeletonMotion:
        """Read the frames of the clip and of its reference motion, if it has one.

        Raises:
            ClipError: If the clip is unusable, with the reason under which it is counted. Errors in
                a reference motion have the reason `missing_reference`, `other_skeleton` or one that
                begins with `reference_`.
        """
        reference_clip = self._resolve_reference_motion(clip)
        pose = self._read_pose(clip, self.resolve_media_path(clip), clip)
        if reference_clip is None:
            return SkeletonMotion(pose)
        path = self._resolve_reference_path(clip, reference_clip)
        try:
            reference_pose = self._read_pose(clip, path, reference_clip)
        except ClipError as error:
            text = f"{error} (in the reference `{clip.reference}`)"
            raise ClipError(text, f"reference_{error.reason}") from None
        has_equal_dims = pose.points_TPJC.shape[3] == reference_pose.points_TPJC.shape[3]
        if pose.layout != reference_pose.layout or not has_equal_dims:
            text = f"{clip.row}: the reference `{clip.reference}` has other points or coordinates"
            raise ClipError(text, "other_skeleton")
        return SkeletonMotion(pose, reference_pose)

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the digest of each clip's frames and of those of its reference motion.

        A clip that cannot be read is mapped to its error instead.
        """
        digests: dict[Clip, MediaDigest | ClipError] = {}
        for clip in clips:
            try:
                digests[clip] = compute_motion_digest(self.read(clip))
            except ClipError as error:
                digests[clip] = error
        return digests

    def _read_pose(self, clip: Clip, path: Path, motion_clip: Clip) -> PoseSequence:
        """Read the frames of a clip's own motion or of its reference motion.

        Args:
            clip: Clip whose row begins the messages of errors.
            path: Path of the file that contains the motion.
            motion_clip: Clip whose motion and span are read: `clip` or its reference motion.

        Raises:
            ClipError: With the reasons of `read_single_motion`, or of `NpzCache.get_motion` and
                `build_pose_sequence`.
        """
        _, motion_index = split_pack_path(motion_clip.media)
        try:
            if motion_index is None:
                return read_single_motion(path, motion_clip.span, self._meaning)
            x = self._packs.get_motion(path, motion_index, self._meaning.third)
            return build_pose_sequence(x, path, motion_clip.span, self._meaning)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None

    def find_unlisted_reference_media(self, clip: Clip) -> str | None:
        """Return the `media` of a clip's reference motion if no row of a table describes it.

        If the clip has no reference motion, or names it by the id of a row, the result is None.

        Raises:
            ClipError: With reason `missing_reference`.
        """
        reference_clip = self._resolve_reference_motion(clip)
        return (
            None
            if reference_clip is None or clip.reference in self._reference_motion_candidates
            else reference_clip.media
        )

    def list_reference_motion_clips(self, clips: Sequence[Clip]) -> list[Clip]:
        """Return the reference motions of some clips that are rows but not clips of the corpus.

        Such rows are invalid (e.g. without a text) or beyond `max_clips`. Each is listed once.
        """
        clip_ids = {clip.id for clip in self._get_rows().clips}
        reference_ids = dict.fromkeys(clip.reference for clip in clips)
        return [
            self._reference_motion_candidates[reference_id]
            for reference_id in reference_ids
            if reference_id in self._reference_motion_candidates and reference_id not in clip_ids
        ]

    def _resolve_reference_motion(self, clip: Clip) -> Clip | None:
        """Return a clip whose media and span are those of a clip's reference motion.

        If the clip has no reference motion, the result is None. Otherwise the tables are read if
        this object has not read them before.

        Raises:
            ClipError: With reason `missing_reference`.
        """
        if not clip.reference:
            return None
        # A reference motion may be a row of any table; reading them fills both attributes. A check
        # reads what it can in spite of errors in the tables.
        self._load_rows()
        candidate = self._reference_motion_candidates.get(clip.reference)
        span = clip.reference_span
        if candidate is not None:
            return candidate if span.is_full else replace(candidate, span=span)
        # Otherwise `reference` names a motion as `motion` or `index` would. A number is that of a
        # motion of the pack; `#12` is one even if a clip of any table is called `12`.
        pack_name = self._pack_names[clip.split]
        if pack_name is None:
            media = clip.reference if self.config.videos is None else get_pose_path(clip.reference)
            return replace(clip, media=media, span=span)
        number = clip.reference.removeprefix(PACK_SEPARATOR)
        if number.isascii() and number.isdigit():
            return replace(clip, media=f"{pack_name}{PACK_SEPARATOR}{number}", span=span)
        raise ClipError(
            f"{clip.row}: `reference` names `{clip.reference}`, which is neither the id of a clip"
            f" nor the number of a motion of `{pack_name}`",
            "missing_reference",
        )

    def _resolve_reference_path(self, clip: Clip, reference_clip: Clip) -> Path:
        """Return the absolute path of the file that contains a clip's reference motion.

        Args:
            clip: Clip whose row begins the messages of errors.
            reference_clip: Reference motion of the clip.

        Raises:
            ClipError: With reason `missing_reference` or a reason of `resolve_media_path`.
        """
        try:
            return self.resolve_media_path(
                replace(clip, split=reference_clip.split, media=reference_clip.media)
            )
        except ClipError as error:
            if error.reason != "missing_file":
                raise
            text = f"{error}; `reference` must be the id of a clip or name a motion"
            raise ClipError(text, "missing_reference") from None
