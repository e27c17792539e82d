"""Which files a hand-over has: rows of manifests, and the epochs that each row is there in.

A clip's name is its id with `_` for slashes, backslashes, control characters and a dot at its
beginning; what two clips would both be is an error. A clip of train `name@3` beside a clip `name`
with the same texts is that clip's copy of epoch 3.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kinesweep.core.errors import InputError
from kinesweep.sources.feature_manifest import file_of
from kinesweep.store.index import ClipRecord

_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.")
_EPOCH = re.compile(r"(.+)@(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Copy:
    """A file: its epoch, the clip that it holds, and the epoch in which that is varied."""

    epoch: int
    record: ClipRecord
    varied: int | None = None


@dataclass(frozen=True)
class Row:
    """A row of a manifest: a name and its files, the first of which has its length."""

    name: str
    texts: tuple[str, ...]
    copies: tuple[Copy, ...]

    @property
    def label(self) -> str:
        """The text that it is trained on."""
        return self.texts[0] if self.texts else ""


def rows_of(records: Sequence[ClipRecord], split: str, epoch: int) -> list[Row]:
    """The rows of a split, in its order; copies of train stand with the clip that they are of.

    Args:
        records: its clips.
        split: which.
        epoch: of clips whose ids name none.
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
            copies.setdefault(clip_id, []).insert(0, Copy(epoch, record))
    return [Row(safe_name(name), texts[name], tuple(own)) for name, own in copies.items()]


def _epochs(texts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, int]]:
    """Id of a copy → the clip that it is of, and its epoch."""
    matches = {clip_id: _EPOCH.fullmatch(clip_id) for clip_id in texts}
    found = {
        clip_id: (match[1], int(match[2]))
        for clip_id, match in matches.items()
        if match and texts.get(match[1]) == texts[clip_id]
    }
    return {clip_id: of for clip_id, of in found.items() if of[0] not in found}


def varied(row: Row, epoch: int, count: int) -> Row:
    """A row whose files are varied copies of its clip.

    Raises:
        InputError: it has copies already.
    """
    if len(row.copies) > 1:
        ids = " and ".join(f"`{copy.record.clip.id}`" for copy in row.copies[:2])
        raise InputError(f"train has copies already ({ids}); leave out `--augment`")
    record = row.copies[0].record
    return replace(row, copies=tuple(Copy(epoch + n, record, varied=n) for n in range(count)))


def check_rows(rows: Mapping[str, Sequence[Row]]) -> None:
    """Every file has one clip, and every text a line.

    Raises:
        InputError: names the clips.
    """
    owner: dict[str, str] = {}
    for row in (row for own in rows.values() for row in own):
        for copy in row.copies:
            clip = copy.record.clip
            path = file_of(copy.epoch, row.name)
            other = owner.setdefault(path, clip.id)
            if other != clip.id:
                raise InputError(
                    f"the clips `{other}` and `{clip.id}` would both be `{path}`; give the rows"
                    " ids of their own, or clips without an epoch another one with `--epoch`"
                )
        if any(mark in row.label for mark in "\t\n\r"):
            raise InputError(f"the text of `{row.name}` holds a tab or a line break")


def safe_name(clip_id: str) -> str:
    """What a clip is called in manifests and files."""
    return _UNSAFE.sub("_", clip_id.strip())
