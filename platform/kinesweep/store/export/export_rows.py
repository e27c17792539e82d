"""The rows of an export: names in the manifests, and the epochs for which each row has a file.

The name of a clip is its id, with `_` in place of slashes, backslashes, control characters and a
leading dot; two clips that would get the same name are an error. A clip of train with the id
`name@3` beside a clip `name` with the same texts is that clip's copy of epoch 3.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kinesweep.core.errors import InputError
from kinesweep.sources.precomputed.feature_manifest import file_of
from kinesweep.store.format.index import ClipRecord

_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.")
_EPOCH = re.compile(r"(.+)@(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Copy:
    """A feature file of the export.

    Attributes:
        epoch: Epoch folder that contains the file.
        record: Clip whose features the file holds.
        varied: Epoch passed to the augmentation; None if the features are exported unchanged.
    """

    epoch: int
    record: ClipRecord
    varied: int | None = None


@dataclass(frozen=True)
class Row:
    """A row of a manifest.

    Attributes:
        name: Name of the clip in the manifest.
        texts: Reference texts.
        copies: Files of the row; the manifest gives the length of the first.
    """

    name: str
    texts: tuple[str, ...]
    copies: tuple[Copy, ...]

    @property
    def label(self) -> str:
        """Return the text used as the training target; empty if the clip has none."""
        return self.texts[0] if self.texts else ""


def rows_of(records: Sequence[ClipRecord], split: str, epoch: int) -> list[Row]:
    """Return the rows of a split in order; copies in train are grouped with their original clip.

    Args:
        records: Clips of the split.
        split: Name of the split.
        epoch: Epoch of clips whose ids name none.
    """
    texts = {record.clip.id: record.clip.texts for record in records}
    epochs = _epochs(texts) if split == "train" else {}
    copies: dict[str, list[Copy]] = {}
    for record in records:
        clip_id = record.clip.id
        if clip_id in epochs:
            first, number = epochs[clip_id]
            copies.setdefault(first, []).append(Copy(number, record))
        else:
            # The original comes first even if its copies were listed before it: the manifest has
            # its length.
            copies.setdefault(clip_id, []).insert(0, Copy(epoch, record))
    return [Row(sanitize_name(name), texts[name], tuple(own)) for name, own in copies.items()]


def _epochs(texts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, int]]:
    """Return the id of each copy → its original clip and its epoch."""
    matches = {clip_id: _EPOCH.fullmatch(clip_id) for clip_id in texts}
    found = {
        clip_id: (match[1], int(match[2]))
        for clip_id, match in matches.items()
        if match and texts.get(match[1]) == texts[clip_id]
    }
    # A copy of a copy (`a@1@2`) stays a clip of its own.
    return {clip_id: of for clip_id, of in found.items() if of[0] not in found}


def varied(row: Row, epoch: int, count: int) -> Row:
    """Return a row whose files are augmented copies of its clip.

    Args:
        row: Row with a single file.
        epoch: Epoch folder of the first copy.
        count: Number of copies.

    Raises:
        InputError: If the row already has copies.
    """
    if len(row.copies) > 1:
        ids = " and ".join(f"`{copy.record.clip.id}`" for copy in row.copies[:2])
        raise InputError(f"train already contains copies ({ids}); omit `--augment`")
    record = row.copies[0].record
    # The augmentation counts from epoch 0, like a run, whatever the number of the first folder.
    return replace(row, copies=tuple(Copy(epoch + n, record, varied=n) for n in range(count)))


def check_rows(rows: Mapping[str, Sequence[Row]]) -> None:
    """Check that no two clips share a file and that every text fits on one line.

    Raises:
        InputError: If a check fails; the message names the clips.
    """
    owner: dict[str, str] = {}
    for row in (row for own in rows.values() for row in own):
        for copy in row.copies:
            clip = copy.record.clip
            path = file_of(copy.epoch, row.name)
            other = owner.setdefault(path, clip.id)
            if other != clip.id:
                raise InputError(
                    f"the clips `{other}` and `{clip.id}` would both be written to `{path}`; give"
                    " the rows distinct ids, or change the epoch of clips without one with"
                    " `--epoch`"
                )
        if any(mark in row.label for mark in "\t\n\r"):
            raise InputError(
                f"the text of `{row.name}` contains a tab or a line break, which a manifest cannot"
                " represent; remove it from the corpus"
            )


def sanitize_name(name: str) -> str:
    """Replace path separators, control characters and a leading dot by `_`, for file names."""
    return _UNSAFE.sub("_", name.strip())
