"""The fixed batches that are scored: the same list whatever the rank, the seed or the workers.

Clips are sorted by length, so padding is near zero; results are keyed by clip id. Where a model
reads its own sentences as context, clips come in waves: first the first clip of every document,
then the second of each; so 8 documents take as many steps as their longest has clips.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kinesweep.batches.collate import Row, Tokens, collate
from kinesweep.batches.context import Context, gold
from kinesweep.batches.examples import Example
from kinesweep.batches.limits import first_frames, num_frames, within
from kinesweep.batches.plan import cut
from kinesweep.batches.prompt import Prompter
from kinesweep.batches.text import Text
from kinesweep.core.batch import Batch
from kinesweep.core.errors import StoreError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.core.recipe.prompt import Asking
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store


class FixedBatches(Sequence[Batch]):
    """Batches that need nothing of each other.

    Args:
        batches: in order.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        return self._batches[index]

    @property
    def waves(self) -> Sequence[Sequence[int]]:
        """Places of batches that are decoded together, one wave after the other."""
        return [range(len(self))]

    def after(self, index: int, said: Mapping[str, str]) -> Batch:
        """A batch, once the waves before it said their sentences (clip id → text)."""
        return self[index]


@dataclass(frozen=True)
class _Clips:
    """How clips of a split become rows.

    Attributes:
        store: the features.
        text: the tokenizer.
        prompter: puts words around the frames.
        context: who precedes whom.
        said: clip id → sentence, of those that may precede one.
        own: whether later the model's own sentences take the place of `said`.
        limits: frames that are read of a stream, and the ablation.
    """

    store: Store
    text: Text
    prompter: Prompter
    context: Context
    said: Mapping[str, str]
    own: bool
    limits: BatchConfig | None

    def batch(self, group: Sequence[ClipRecord], said: Mapping[str, str]) -> Batch:
        """Clips side by side, after these sentences."""
        blank = self.limits is not None and self.limits.ablation == "zeros"
        return collate([self._row(r, said) for r in group], self.text.vocabulary.pad_id, blank)

    def tokens(self, record: ClipRecord, said: Mapping[str, str]) -> Tokens:
        """What stands around a clip's frames, after these sentences."""
        lines = self.context.lines(record, said)
        return self.prompter.tokens(record.clip, Example.translation(record.clip), lines)

    def _row(self, record: ClipRecord, said: Mapping[str, str]) -> Row:
        streams = first_frames(self.store.features(record), self.limits)
        return Row(record.clip.id, streams, self.tokens(record, said))


class EvalBatches(FixedBatches):
    """Batches that are made when they are asked for, and not kept; `eval_batches` makes it.

    A batch taken by its place has true sentences as context, even where it will have the model's
    own: token losses are those of a model that is being taught.
    """

    def __init__(
        self, clips: _Clips, waves: Sequence[Sequence[Sequence[ClipRecord]]], rank: int, world: int
    ) -> None:
        self._clips = clips
        numbered = [(n, group) for n, wave in enumerate(waves) for group in wave]
        own = numbered[rank::world]
        self._groups = [group for _, group in own]
        self._waves = [[i for i, (n, _) in enumerate(own) if n == m] for m in range(len(waves))]

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        return self._clips.batch(self._groups[index], self._clips.said)

    def asked(self) -> Iterator[tuple[ClipRecord, Tokens]]:
        """Each clip of this rank, with the true sentences before it; no frames are read."""
        for record in (record for group in self._groups for record in group):
            yield record, self._clips.tokens(record, self._clips.said)

    @property
    def waves(self) -> Sequence[Sequence[int]]:
        """Those of the whole list; in some of them a rank may have no batch."""
        return self._waves

    def after(self, index: int, said: Mapping[str, str]) -> Batch:
        """A batch, with sentences of `said` as context where the model reads its own."""
        taken = said if self._clips.own else self._clips.said
        return self._clips.batch(self._groups[index], taken)


def eval_batches(  # noqa: PLR0913 (what is scored, how it is cut, for which rank, how it is asked)
    store: Store,
    split: str,
    text: Text,
    max_frames: int,
    max_clips: int | None = None,
    limits: BatchConfig | None = None,
    rank: int = 0,
    world: int = 1,
    asking: Asking = Asking(),
) -> EvalBatches:
    """One rank's batches of a split: every `world`-th of one fixed list.

    Args:
        store: the features.
        split: which part.
        text: the tokenizer.
        max_frames: frames a batch, padding included; a longer clip is a batch of its own.
        max_clips: take only so many, spread evenly over the split; of whole documents where a
            model reads its own sentences.
        limits: lengths out of bounds (never in test), frames read of a stream, and the ablation.
        rank: of this process.
        world: how many processes there are.
        asking: the words around the frames, and the sentences before them.

    Raises:
        StoreError: the store has no such split.
        InputError: the limits leave nothing, or a prompt cannot be made.
    """
    if split not in store.splits:
        known = ", ".join(store.splits)
        raise StoreError(f"the store has no split `{split}`; it has {known}")
    listed = store.records(split)
    records, _ = within(listed, limits, split)
    mode = asking.context.generation if asking.context.is_used else "none"
    own = mode == "on_the_fly"
    written = records  # by an earlier run, which scored all of them
    if max_clips is not None and len(records) > max_clips:
        records = (_some_documents if own else _spread)(records, max_clips)
    every: dict[str, list[ClipRecord]] = {"none": [], "gold": listed, "prepared": written}
    neighbours = every.get(mode, records)
    context = Context(neighbours, asking.context)
    said = asking.prepared if mode == "prepared" else gold(neighbours)
    clips = _Clips(store, text, Prompter(text, asking), context, said, own, limits)
    waves: dict[int, list[ClipRecord]] = defaultdict(list)
    for record in records:
        waves[context.place(record) if own else 0].append(record)
    groups = [_groups(waves[number], max_frames, limits) for number in sorted(waves)]
    return EvalBatches(clips, groups, rank, world)


def references(store: Store, split: str, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Sentences that each clip may be translated by, in the order asked for."""
    texts = {record.clip.id: record.clip.texts for record in store.records(split)}
    return {clip_id: texts[clip_id] for clip_id in clip_ids}


def _groups(
    records: Sequence[ClipRecord], max_frames: int, limits: BatchConfig | None
) -> list[list[ClipRecord]]:
    """Clips of each batch, by length."""
    lengths = [num_frames(record, limits) for record in records]
    order = sorted(range(len(records)), key=lambda i: (lengths[i], records[i].clip.id))
    groups = cut(order, lengths, BatchConfig(max_frames=max_frames))
    return [[records[i] for i in group] for group in groups]


def _spread(records: Sequence[ClipRecord], count: int) -> list[ClipRecord]:
    """So many clips, evenly."""
    return [records[i * len(records) // count] for i in range(count)]


def _some_documents(records: Sequence[ClipRecord], count: int) -> list[ClipRecord]:
    """Whole documents, evenly, of about so many clips; a clip without a document is one."""
    documents: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
    for record in records:
        clip = record.clip
        name = clip.document or f"\x1f{clip.id}"
        documents[clip.corpus, name].append(record)
    every = list(documents.values())
    number = max(1, round(len(every) * count / len(records)))
    chosen = [every[i * len(every) // number] for i in range(number)]
    return [record for document in chosen for record in document]
