"""The fixed batches that are scored: the same list whatever the rank, the seed or the workers.

Clips are sorted by length, so padding is near zero; results are keyed by clip id.
"""

from collections.abc import Sequence

from kinesweep.batches.collate import Row, Tokens, collate
from kinesweep.batches.limits import num_frames, within
from kinesweep.batches.plan import cut
from kinesweep.batches.text import Text
from kinesweep.core.batch import Batch
from kinesweep.core.errors import StoreError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store


class EvalBatches(Sequence[Batch]):
    """Batches that are made when they are asked for, and not kept."""

    def __init__(
        self, store: Store, text: Text, groups: Sequence[Sequence[ClipRecord]], blank: bool
    ) -> None:
        self._store, self._text, self._groups, self._blank = store, text, groups, blank

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        rows = [
            Row(record.clip.id, self._store.features(record), Tokens.of(record.clip, self._text))
            for record in self._groups[index]
        ]
        return collate(rows, self._text.vocabulary.pad_id, self._blank)


def eval_batches(
    store: Store,
    split: str,
    text: Text,
    max_frames: int,
    max_clips: int | None = None,
    limits: BatchConfig | None = None,
    rank: int = 0,
    world: int = 1,
) -> Sequence[Batch]:
    """One rank's batches of a split: every `world`-th of one fixed list.

    Args:
        store: the features.
        split: which part.
        text: the tokenizer.
        max_frames: frames a batch, padding included; a longer clip is a batch of its own.
        max_clips: take only so many, spread evenly over the split.
        limits: lengths out of bounds (never in test), and the ablation.
        rank: of this process.
        world: how many processes there are.

    Raises:
        StoreError: the store has no such split.
        InputError: the limits leave nothing.
    """
    if split not in store.splits:
        known = ", ".join(store.splits)
        raise StoreError(f"the store has no split `{split}`; it has {known}")
    records, _ = within(store.records(split), limits, split)
    if max_clips is not None and len(records) > max_clips:
        records = [records[i * len(records) // max_clips] for i in range(max_clips)]
    lengths = [num_frames(record) for record in records]
    order = sorted(range(len(records)), key=lambda i: (lengths[i], records[i].clip.id))
    groups = cut(order, lengths, BatchConfig(max_frames=max_frames))
    own = [[records[i] for i in group] for group in groups[rank::world]]
    return EvalBatches(store, text, own, limits is not None and limits.ablation == "zeros")


def references(store: Store, split: str, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Sentences that each clip may be translated by, in the order asked for."""
    texts = {record.clip.id: record.clip.texts for record in store.records(split)}
    return {clip_id: texts[clip_id] for clip_id in clip_ids}
