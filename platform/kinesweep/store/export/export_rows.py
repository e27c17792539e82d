"""The rows of SSVP-SLT manifests: names of the clips, and the feature files of each epoch.

The name of a clip is its ID, with `_` in place of slashes, backslashes, control characters and a
leading dot; two clips that would get the same name are an error. A clip of train with the ID
`name@3` beside a clip `name` with the same texts is that clip's copy of epoch 3. The variants of a
clip, which epochs of training read in turn, are its copies too.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kinesweep.core.errors import InputError
from kinesweep.sources.precomputed.feature_manifest import get_feature_path
from kinesweep.store.export.file_names import sanitize_file_name
from kinesweep.store.format.index import ClipRecord

_EPOCH_SUFFIX = re.compile(r"(.+)@(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class FeatureFile:
    """A feature file of the export.

    Attributes:
        epoch: Epoch folder that contains the file.
        record: Clip whose features the file holds.
        augmentation_epoch: Epoch passed to the augmentation; None if the features are exported
            unchanged.
    """

    epoch: int
    record: ClipRecord
    augmentation_epoch: int | None = None


@dataclass(frozen=True)
class ManifestRow:
    """A row of a manifest.

    Attributes:
        name: Name of the clip in the manifest.
        texts: Reference texts.
        files: Feature files of the row, at least one; the manifest gives the length of the first.
    """

    name: str
    texts: tuple[str, ...]
    files: tuple[FeatureFile, ...]

    @property
    def label(self) -> str:
        """Return the first reference text, which is the training target; empty if there is none."""
        return self.texts[0] if self.texts else ""


def build_manifest_rows(records: Sequence[ClipRecord], split: str, epoch: int) -> list[ManifestRow]:
    """Build the manifest rows of a split; copies in train share a row with their original clip.

    Args:
        records: Clips of the split.
        split: Name of the split.
        epoch: Epoch of clips whose IDs contain no epoch.

    Returns:
        One row per original clip, in the order in which the clip or its first copy is listed.
    """
    texts_by_id = {record.clip.id: record.clip.texts for record in records}
    origins = _find_epoch_copies(texts_by_id) if split == "train" else {}
    files_by_id: dict[str, list[FeatureFile]] = {}
    for record in records:
        clip_id = record.clip.id
        if clip_id in origins:
            original_id, copy_epoch = origins[clip_id]
            files_by_id.setdefault(original_id, []).append(FeatureFile(copy_epoch, record))
        else:
            # The original comes first even if its copies were listed before it: the manifest has
            # its length.
            variants = [
                FeatureFile(epoch + variant, record.at_epoch(variant))
                for variant in range(len(record.all_lengths))
            ]
            files_by_id[clip_id] = [*variants, *files_by_id.get(clip_id, [])]
    return [
        ManifestRow(sanitize_file_name(clip_id), texts_by_id[clip_id], tuple(files))
        for clip_id, files in files_by_id.items()
    ]


def _find_epoch_copies(texts_by_id: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, int]]:
    """Find the clips that are copies of another clip for an epoch.

    Args:
        texts_by_id: Clip ID → reference texts.

    Returns:
        ID of the copy → ID of the original clip, and epoch.
    """
    matches = {clip_id: _EPOCH_SUFFIX.fullmatch(clip_id) for clip_id in texts_by_id}
    origins = {
        clip_id: (match[1], int(match[2]))
        for clip_id, match in matches.items()
        if match and texts_by_id.get(match[1]) == texts_by_id[clip_id]
    }
    # A copy of a copy (`a@1@2`) stays a clip of its own.
    return {clip_id: origin for clip_id, origin in origins.items() if origin[0] not in origins}


def make_augmented_row(row: ManifestRow, epoch: int, num_copies: int) -> ManifestRow:
    """Return a row with augmented copies of its clip in place of its single file.

    Args:
        row: Row with a single file.
        epoch: Epoch folder of the first copy.
        num_copies: Number of copies.

    Raises:
        InputError: If the row already has copies.
    """
    if len(row.files) > 1:
        ids_text = " and ".join(dict.fromkeys(f"`{file.record.clip.id}`" for file in row.files[:2]))
        raise InputError(f"train already contains copies ({ids_text}); omit `--augment`")
    record = row.files[0].record
    # The augmentation counts from epoch 0, like a run, whatever the number of the first folder.
    return replace(
        row,
        files=tuple(
            FeatureFile(epoch + copy_index, record, augmentation_epoch=copy_index)
            for copy_index in range(num_copies)
        ),
    )


def check_manifest_rows(rows: Mapping[str, Sequence[ManifestRow]]) -> None:
    """Check that no two clips share a feature file and that every label fits into one field.

    Args:
        rows: Split → rows of its manifest.

    Raises:
        InputError: If a check fails; the message names the clips.
    """
    clip_id_by_path: dict[str, str] = {}
    for row in itertools.chain.from_iterable(rows.values()):
        for file in row.files:
            clip = file.record.clip
            path = get_feature_path(file.epoch, row.name)
            other_id = clip_id_by_path.setdefault(path, clip.id)
            if other_id != clip.id:
                raise InputError(
                    f"the clips `{other_id}` and `{clip.id}` would both be written to `{path}`;"
                    " give the rows distinct ids, or change the epoch of clips without one with"
                    " `--epoch`"
                )
        if any(character in row.label for character in "\t\n\r"):
            raise InputError(
                f"the text of `{row.name}` contains a tab or a line break, which a manifest cannot"
                " represent; remove it from the corpus"
            )
