"""A corpus of skeleton motions with texts and, optionally, a reference motion for each clip.

One table per split lists the clips. The motions are in one `.npz` (see `npz_pack`), or in one
file each: `.npy`, `.npz` or `.pose`. The content digest of a clip covers its own frames and those
of its reference, so that adding a motion to a pack does not invalidate the extracted features of
the other clips. All motions are read for it in this process: 163 clips of boxing take 41 ms. A
worker opens the tables only to look up references.

Shapes: T frames, P people, J points, C coordinates.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import to_canonical_json
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.skeleton.skeleton import SKELETONS
from kinesweep.core.units import Span
from kinesweep.sources.base import MediaDigest, SkeletonMotion
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
        self._skeleton = SKELETONS[config.skeleton]
        self._packs = NpzCache()
        # Both are filled by `read_rows`: clips that references may name, and the pack of a split.
        self._reference_candidates: dict[str, Clip] = {}
        self._pack_names: dict[str, str | None] = {}

    def __getstate__(self) -> dict[str, object]:
        # Emptied together with the rows of the base class, from which they are built.
        return {**super().__getstate__(), "_reference_candidates": {}, "_pack_names": {}}

    def get_root(self, split: str) -> Path:
        """Return the absolute path of the folder that a split's motions are relative to."""
        if self._motions_path is None:
            return self._tables[split].parent
        return (
            self._motions_path.parent
            if self._motions_path.suffix == PACK_SUFFIX
            else self._motions_path
        )

    def get_read_options(self) -> dict[str, Any]:
        """Return the frame rate and the skeleton, which arrays do not store."""
        config = self.config
        return {"source": config.kind, "fps": config.fps, "skeleton": config.skeleton}

    def read_split_table(self, split: str) -> Table:
        """Read a split's table without interpreting it."""
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
        pack = self.get_pack_name(split, table)
        return None if pack is None else self.get_root(split) / pack

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's table and record which clips references may name."""
        table = self.read_split_table(split)
        self._pack_names[split] = self.get_pack_name(split, table)
        pack, needs_text = self._pack_names[split], self._needs_text
        rows = SkeletonRowReader(table, split, self.config, pack, needs_text).read()
        # Recorded before `max_clips` is applied: a reference need not be part of the corpus.
        self._reference_candidates |= {one.id: one for one in rows.clips}
        # A reference needs no text either, but a usable clip with the same id takes precedence.
        for one in rows.reference_only_clips:
            self._reference_candidates.setdefault(one.id, one)
        return rows

    def resolve_media_path(self, clip: Clip) -> Path:
        """Return the path of the file with the clip's motion.

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
        """Return the file of the reference motion, if it is not the clip's own file.

        Raises:
            ClipError: With reason `missing_reference`; see also `resolve_media_path`.
        """
        reference_clip = self._resolve_reference(clip)
        if reference_clip is None:
            return ()
        path = self._resolve_reference_path(clip, reference_clip)
        return () if path == self.resolve_media_path(clip) else (path,)

    def read(self, clip: Clip) -> SkeletonMotion:
        """Read the frames of the clip and of its reference.

        Raises:
            ClipError: If the clip is unusable, with the reason under which it is counted. Errors in
                a reference have the reason `missing_reference`, `other_skeleton` or one that begins
                with `reference_`.
        """
        reference_clip = self._resolve_reference(clip)
        pose = self._read_pose(clip, self.resolve_media_path(clip), clip)
        if reference_clip is None:
            return SkeletonMotion(pose)
        path = self._resolve_reference_path(clip, reference_clip)
        try:
            reference = self._read_pose(clip, path, reference_clip)
        except ClipError as error:
            text = f"{error} (in the reference `{clip.reference}`)"
            raise ClipError(text, f"reference_{error.reason}") from None
        dims = (pose.points_TPJC.shape[3], reference.points_TPJC.shape[3])
        if pose.layout != reference.layout or dims[0] != dims[1]:
            text = f"{clip.row}: the reference `{clip.reference}` has other points or coordinates"
            raise ClipError(text, "other_skeleton")
        return SkeletonMotion(pose, reference)

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the digest of each clip's frames and its reference's, or its error."""
        digests: dict[Clip, MediaDigest | ClipError] = {}
        for clip in clips:
            try:
                digests[clip] = _compute_digest(self.read(clip))
            except ClipError as error:
                digests[clip] = error
        return digests

    def _read_pose(self, clip: Clip, path: Path, motion_clip: Clip) -> PoseSequence:
        """Read the frames of the motion of `motion_clip`; messages begin with the row of `clip`.

        Raises:
            ClipError: See `read`.
        """
        _, number = split_pack_path(motion_clip.media)
        skeleton, fps = self._skeleton, self.config.fps
        try:
            if number is None:
                return read_single_motion(path, motion_clip.span, skeleton, fps)
            x = self._packs.get_motion(path, number)
            return build_pose_sequence(x, path, motion_clip.span, skeleton, fps)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None

    def get_reference_motion(self, clip: Clip) -> str | None:
        """Return the reference motion of a clip, if it is not the motion of another row.

        Raises:
            ClipError: With reason `missing_reference`.
        """
        reference_clip = self._resolve_reference(clip)
        return (
            None
            if reference_clip is None or clip.reference in self._reference_candidates
            else reference_clip.media
        )

    def list_unlisted_references(self, clips: Sequence[Clip]) -> list[Clip]:
        """Return the rows that are references of some clips but not usable clips themselves."""
        usable_ids = {clip.id for clip in self._get_rows().clips}
        reference_ids = dict.fromkeys(clip.reference for clip in clips)
        return [
            self._reference_candidates[one]
            for one in reference_ids
            if one in self._reference_candidates and one not in usable_ids
        ]

    def _resolve_reference(self, clip: Clip) -> Clip | None:
        """Return the reference of a clip as a clip, or None if it has no reference.

        Raises:
            ClipError: With reason `missing_reference`.
        """
        if not clip.reference:
            return None
        # A reference may be a row of any table; reading them fills both attributes.
        self._get_rows()
        candidate = self._reference_candidates.get(clip.reference)
        if candidate is not None:
            return candidate
        # Otherwise the reference names a whole motion directly, as `motion` or `index` would.
        pack = self._pack_names[clip.split]
        if pack is None:
            return replace(clip, media=clip.reference, span=Span())
        if clip.reference.isascii() and clip.reference.isdigit():
            return replace(clip, media=f"{pack}{PACK_SEPARATOR}{clip.reference}", span=Span())
        raise ClipError(
            f"{clip.row}: `reference` names `{clip.reference}`, which is neither the id of a clip"
            f" nor the number of a motion of `{pack}`",
            "missing_reference",
        )

    def _resolve_reference_path(self, clip: Clip, reference_clip: Clip) -> Path:
        """Return the path of the file with a reference motion.

        Raises:
            ClipError: With reason `missing_reference`; see also `resolve_media_path`.
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


def _compute_digest(motion: SkeletonMotion) -> MediaDigest:
    """Compute the digest and the size of all data of a clip, including its reference."""
    digest, num_bytes = hashlib.sha256(), 0
    for pose in (motion.pose, motion.reference):
        if pose is None:
            continue
        # Rate, points and shape are hashed too: equal bytes may stand for different motions.
        properties = [pose.fps, pose.layout.to_json(), list(pose.points_TPJC.shape)]
        digest.update(to_canonical_json(properties).encode())
        for values in (pose.points_TPJC, pose.confidence_TPJ):
            digest.update(np.ascontiguousarray(values).data)
            num_bytes += values.nbytes
    return MediaDigest(digest.hexdigest(), num_bytes)
