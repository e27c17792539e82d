"""Evaluation batches: a fixed list that does not depend on rank, seed or number of workers.

Clips are sorted by length, so there is almost no padding; results are keyed by clip id. If a model
uses its own sentences as context, clips are processed in waves: the first clip of every document,
then the second of each, and so on. Eight documents need as many steps as the longest has clips.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptSettings
from kinesweep.core.batch import Batch
from kinesweep.core.errors import StoreError
from kinesweep.data.bucketing import cut
from kinesweep.data.collate import Item, Tokens, collate
from kinesweep.data.context import Context, reference_texts
from kinesweep.data.length_limits import filter_by_length, num_frames, truncate
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.task_sampling import Example
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


class FixedBatches(Sequence[Batch]):
    """A sequence of batches that do not depend on each other.

    Args:
        batches: Batches, in order.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        return self._batches[index]

    @property
    def waves(self) -> Sequence[Sequence[int]]:
        """Indices of the batches that can be decoded together, one wave after the other."""
        return [range(len(self))]

    def after(self, index: int, said: Mapping[str, str]) -> Batch:
        """Return a batch, given the sentences of the preceding waves (clip id → text)."""
        return self[index]


@dataclass(frozen=True)
class _Clips:
    """The conversion of a split's clips to rows.

    Attributes:
        store: Store of the features.
        text: Tokenizer.
        prompter: Builder of the text around the frames.
        context: Preceding clips of each clip.
        said: Clip id → sentence that is used as context.
        own: Whether the model's own sentences replace `said` in generation.
        limits: Number of frames read from each stream, and the ablation.
    """

    store: Store
    text: TextTokenizer
    prompter: PromptBuilder
    context: Context
    said: Mapping[str, str]
    own: bool
    limits: BatchConfig | None

    def batch(self, group: Sequence[ClipRecord], said: Mapping[str, str]) -> Batch:
        """Collate clips, with these sentences (clip id → text) as context."""
        blank = self.limits is not None and self.limits.ablation == "zeros"
        return collate([self._row(r, said) for r in group], self.text.vocabulary.pad_id, blank)

    def tokens(self, record: ClipRecord, said: Mapping[str, str]) -> Tokens:
        """Tokenize a clip's prompts and labels; `said`, clip id → sentence, is the context."""
        lines = self.context.lines(record, said)
        return self.prompter.tokens(record.clip, Example.translation(record.clip), lines)

    def _row(self, record: ClipRecord, said: Mapping[str, str]) -> Item:
        """Return a clip's features and tokens."""
        streams = truncate(self.store.features(record), self.limits)
        return Item(record.clip.id, streams, self.tokens(record, said))


class EvalBatches(FixedBatches):
    """Batches that are created on access and not kept; use `eval_batches` to create them.

    Access by index uses reference sentences as context, even if generation uses the model's own:
    token losses are computed with teacher forcing.
    """

    def __init__(
        self, clips: _Clips, waves: Sequence[Sequence[Sequence[ClipRecord]]], rank: int, world: int
    ) -> None:
        self._clips = clips
        # Take every `world`-th group of all waves together, so that ranks get equal work.
        numbered = [(n, group) for n, wave in enumerate(waves) for group in wave]
        own = numbered[rank::world]
        self._groups = [group for _, group in own]
        self._waves = [[i for i, (n, _) in enumerate(own) if n == m] for m in range(len(waves))]

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        return self._clips.batch(self._groups[index], self._clips.said)

    def asked(self) -> Iterator[tuple[ClipRecord, Tokens]]:
        """Yield each clip of this rank with its tokens, with reference context; reads no frames."""
        for record in (record for group in self._groups for record in group):
            yield record, self._clips.tokens(record, self._clips.said)

    @property
    def waves(self) -> Sequence[Sequence[int]]:
        """Indices of this rank's batches in each wave; a rank may have none in some waves."""
        return self._waves

    def after(self, index: int, said: Mapping[str, str]) -> Batch:
        """Return a batch; the model's sentences `said` are its context if the model uses them."""
        taken = said if self._clips.own else self._clips.said
        return self._clips.batch(self._groups[index], taken)


def eval_batches(  # noqa: PLR0913 (what is scored, how it is cut, for which rank, how it is asked)
    store: Store,
    split: str,
    text: TextTokenizer,
    max_frames: int,
    max_clips: int | None = None,
    limits: BatchConfig | None = None,
    rank: int = 0,
    world: int = 1,
    prompt_settings: PromptSettings = PromptSettings(),
) -> EvalBatches:
    """Return one rank's evaluation batches: every `world`-th of a fixed list.

    Args:
        store: Store of the features.
        split: Name of the split.
        text: Tokenizer.
        max_frames: Frames per batch, including padding; a longer clip forms its own batch.
        max_clips: Maximum number of clips, spread evenly over the split. If a model uses its own
            sentences as context, whole documents are chosen.
        limits: Length limits (never applied to test), frames read from each stream, and the
            ablation.
        rank: Rank of this process.
        world: Number of processes.
        prompt_settings: Prompt and context settings.

    Raises:
        StoreError: If the store has no such split.
        InputError: If no clip is within the limits, or a prompt cannot be built.
    """
    if split not in store.splits:
        known = ", ".join(store.splits)
        raise StoreError(f"the store has no split `{split}`; it has {known}")
    listed = store.records(split)
    records, _ = filter_by_length(listed, limits, split)
    mode = prompt_settings.context.decoding_context if prompt_settings.context.is_used else "none"
    own = mode == "model"
    written = records  # the clips that an earlier run has scored: all within the limits
    if max_clips is not None and len(records) > max_clips:
        records = (_some_documents if own else _spread)(records, max_clips)
    # References are available for every clip of the split, predictions only for scored clips, and
    # own sentences only for the clips of this evaluation.
    every: dict[str, list[ClipRecord]] = {"none": [], "references": listed, "file": written}
    neighbours = every.get(mode, records)
    context = Context(neighbours, prompt_settings.context)
    said = prompt_settings.prepared if mode == "file" else reference_texts(neighbours)
    clips = _Clips(store, text, PromptBuilder(text, prompt_settings), context, said, own, limits)
    waves: dict[int, list[ClipRecord]] = defaultdict(list)
    # Without own context there is a single wave.
    for record in records:
        waves[context.place(record) if own else 0].append(record)
    groups = [_groups(waves[number], max_frames, limits) for number in sorted(waves)]
    return EvalBatches(clips, groups, rank, world)


def references(store: Store, split: str, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return all references of each clip, in the given order of ids."""
    texts = {record.clip.id: record.clip.texts for record in store.records(split)}
    return {clip_id: texts[clip_id] for clip_id in clip_ids}


def _groups(
    records: Sequence[ClipRecord], max_frames: int, limits: BatchConfig | None
) -> list[list[ClipRecord]]:
    """Return the clips of each batch, sorted by length."""
    lengths = [num_frames(record, limits) for record in records]
    # The id breaks ties, so the list is the same in every process.
    order = sorted(range(len(records)), key=lambda i: (lengths[i], records[i].clip.id))
    groups = cut(order, lengths, BatchConfig(max_frames=max_frames))
    return [[records[i] for i in group] for group in groups]


def _spread(records: Sequence[ClipRecord], count: int) -> list[ClipRecord]:
    """Return `count` clips, spread evenly."""
    return [records[i * len(records) // count] for i in range(count)]


def _some_documents(records: Sequence[ClipRecord], count: int) -> list[ClipRecord]:
    """Return whole documents, spread evenly, with about `count` clips in total.

    A clip without a document counts as a document of its own.
    """
    documents: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
    for record in records:
        clip = record.clip
        # The control character keeps clip ids apart from the names of documents.
        name = clip.document or f"\x1f{clip.id}"
        documents[clip.corpus, name].append(record)
    every = list(documents.values())
    number = max(1, round(len(every) * count / len(records)))
    chosen = [every[i * len(every) // number] for i in range(number)]
    return [record for document in chosen for record in document]
