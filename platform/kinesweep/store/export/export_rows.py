"""The rows of SSVP-SLT manifests: names of the clips, and the feature files of each epoch.

The name of a clip is its id, with `_` in place of slashes, backslashes, control characters and a
leading dot; two clips that would get the same name are an error. A clip of train with the id
`name@3` beside a clip `name` with the same texts is that clip's copy of epoch 3.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kinesweep.core.errors import InputError
from kinesweep.sources.precomputed.feature_manifest import get_feature_path
from kinesweep.store.format.index import ClipRecord

_UNSAFE_CHARACTERS = re.compile(r"[/\\\x00-\x1f\x7f]|^\.")
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
        files: Feature files of the row; the manifest gives the length of the first.
    """

    name: str
    texts: tuple[str, ...]
    files: tuple[FeatureFile, ...]

    @property
    def label(self) -> str:
        """Return the text used as the training target; empty if the clip has none."""
        return self.texts[0] if self.texts else ""


def build_manifest_rows(records: Sequence[ClipRecord], split: str, epoch: int) -> list[ManifestRow]:
    """Build the rows of a split in order; copies in train are grouped with their original clip.

    Args:
        records: Clips of the split.
        split: Name of the split.
        epoch: Epoch of clips whose ids contain no epoch.
    """
    texts = {record.clip.id: record.clip.texts for record in records}
    epochs = _find_epoch_copies(texts) if split == "train" else {}
    files: dict[str, list[FeatureFile]] = {}
    for record in records:
        clip_id = record.clip.id
        if clip_id in epochs:
            original_id, number = epochs[clip_id]
            files.setdefault(original_id, []).append(FeatureFile(number, record))
        else:
            # The original comes first even if its copies were listed before it: the manifest has
            # its length.
            files.setdefault(clip_id, []).insert(0, FeatureFile(epoch, record))
    return [
        ManifestRow(sanitize_name(name), texts[name], tuple(row_files))
        for name, row_files in files.items()
    ]


def _find_epoch_copies(texts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, int]]:
    """Find the clips that are copies for an epoch; return copy id → original id and epoch."""
    matches = {clip_id: _EPOCH_SUFFIX.fullmatch(clip_id) for clip_id in texts}
    copies = {
        clip_id: (match[1], int(match[2]))
        for clip_id, match in matches.items()
        if match and texts.get(match[1]) == texts[clip_id]
    }
    # A copy of a copy (`a@1@2`) stays a clip of its own.
    return {clip_id: origin for clip_id, origin in copies.items() if origin[0] not in copies}


def make_augmented_row(row: ManifestRow, epoch: int, num_copies: int) -> ManifestRow:
    """Replace the file of a row by augmented copies, and return the new row.

    Args:
        row: Row with a single file.
        epoch: Epoch folder of the first copy.
        num_copies: Number of copies.

    Raises:
        InputError: If the row already has copies.
    """
    if len(row.files) > 1:
        ids = " and ".join(f"`{file.record.clip.id}`" for file in row.files[:2])
        raise InputError(f"train already contains copies ({ids}); omit `--augment`")
    record = row.files[0].record
    # The augmentation counts from epoch 0, like a run, whatever the number of the first folder.
    return replace(
        row,
        files=tuple(
            FeatureFile(epoch + n, record, augmentation_epoch=n) for n in range(num_copies)
        ),
    )


def check_manifest_rows(rows: Mapping[str, Sequence[ManifestRow]]) -> None:
    """Check that no two clips share a file and that every text fits on one line.

    Raises:
        InputError: If a check fails; the message names the clips.
    """
    clip_id_by_path: dict[str, str] = {}
    for row in (row for split_rows in rows.values() for row in split_rows):
        for file in row.files:
            clip = file.record.clip
            path = get_feature_path(file.epoch, row.name)
            other_id = clip_id_by_path.setdefault(path, clip.id)
            if other_id != clip.id:
                raise InputError(
                    f"the clips `{other_id}` and `{clip.id}` would both be written to `{path}`;"
                    " give"
                    " the rows distinct ids, or change the epoch of clips without one with"
                    " `--epoch`"
                )
        if any(character in row.label for character in "\t\n\r"):
            raise InputError(
                f"the text of `{row.name}` contains a tab or a line break, which a manifest cannot"
                " represent; remove it from the corpus"
            )


def sanitize_name(name: str) -> str:
    """Replace path separators, control characters and a leading dot by `_`, for file names."""
    return _UNSAFE_CHARACTERS.sub("_", name.strip())
