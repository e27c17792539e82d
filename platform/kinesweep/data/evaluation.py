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
from kinesweep.data.bucketing import split_into_batches
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.data.context import DocumentContext, get_first_references
from kinesweep.data.length_limits import count_clip_frames, filter_clips_by_length, truncate_streams
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

    def get_batch_with_context(self, index: int, predictions: Mapping[str, str]) -> Batch:
        """Return a batch with predictions of the preceding waves (clip id → text) as context.

        These batches have no context, so the predictions are ignored.
        """
        return self[index]


@dataclass(frozen=True)
class _ClipCollator:
    """A collator that loads, tokenizes and collates the clips of a split.

    Attributes:
        store: Store of the features.
        tokenizer: Tokenizer.
        prompt_builder: Builder of the text around the frames.
        context: Preceding clips of each clip.
        context_texts: Clip id → sentence that is used as context.
        uses_predictions: Whether the model's predictions replace `context_texts` in generation.
        limits: Number of frames read from each stream, and the ablation.
    """

    store: Store
    tokenizer: TextTokenizer
    prompt_builder: PromptBuilder
    context: DocumentContext
    context_texts: Mapping[str, str]
    uses_predictions: bool
    limits: BatchConfig | None

    def collate_clips(self, group: Sequence[ClipRecord], context_texts: Mapping[str, str]) -> Batch:
        """Collate clips into a batch, with these sentences (clip id → text) as context."""
        blank = self.limits is not None and self.limits.ablation == "zeros"
        return collate(
            [self._build_item(r, context_texts) for r in group],
            self.tokenizer.vocabulary.pad_id,
            blank,
        )

    def build_tokens(self, record: ClipRecord, context_texts: Mapping[str, str]) -> ClipTokens:
        """Build a clip's prompt and label tokens; `context_texts` is clip id → sentence."""
        sentences = self.context.get_sentences(record, context_texts)
        return self.prompt_builder.build_tokens(
            record.clip, Example.from_clip(record.clip), sentences
        )

    def _build_item(self, record: ClipRecord, context_texts: Mapping[str, str]) -> BatchItem:
        """Load the features of a clip and build its tokens."""
        streams = truncate_streams(self.store.get_features(record), self.limits)
        return BatchItem(record.clip.id, streams, self.build_tokens(record, context_texts))


class EvalBatches(FixedBatches):
    """Batches that are created on access and not kept; see `build_eval_batches`.

    Access by index uses reference sentences as context, even if generation uses the model's own:
    token losses are computed with teacher forcing.
    """

    def __init__(
        self,
        collator: _ClipCollator,
        waves: Sequence[Sequence[Sequence[ClipRecord]]],
        rank: int,
        world_size: int,
    ) -> None:
        self._collator = collator
        # Take every `world_size`-th group of all waves together, so that ranks get equal work.
        numbered = [(n, group) for n, wave in enumerate(waves) for group in wave]
        rank_groups = numbered[rank::world_size]
        self._groups = [group for _, group in rank_groups]
        self._waves = [
            [i for i, (n, _) in enumerate(rank_groups) if n == m] for m in range(len(waves))
        ]

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        return self._collator.collate_clips(self._groups[index], self._collator.context_texts)

    def iter_tokens(self) -> Iterator[tuple[ClipRecord, ClipTokens]]:
        """Iterate over this rank's clips with their tokens (reference context); reads no frames."""
        for record in (record for group in self._groups for record in group):
            yield record, self._collator.build_tokens(record, self._collator.context_texts)

    @property
    def waves(self) -> Sequence[Sequence[int]]:
        """Indices of this rank's batches in each wave; a rank may have none in some waves."""
        return self._waves

    def get_batch_with_context(self, index: int, predictions: Mapping[str, str]) -> Batch:
        """Return a batch; `predictions` are its context if the model uses its own sentences."""
        texts = predictions if self._collator.uses_predictions else self._collator.context_texts
        return self._collator.collate_clips(self._groups[index], texts)


def build_eval_batches(  # noqa: PLR0913 (store, limits, rank and prompt are independent)
    store: Store,
    split: str,
    tokenizer: TextTokenizer,
    max_frames: int,
    max_clips: int | None = None,
    limits: BatchConfig | None = None,
    rank: int = 0,
    world_size: int = 1,
    prompt_settings: PromptSettings = PromptSettings(),
) -> EvalBatches:
    """Build one rank's evaluation batches: every `world_size`-th of a fixed list.

    Args:
        store: Store of the features.
        split: Name of the split.
        tokenizer: Tokenizer.
        max_frames: Frames per batch, including padding; a longer clip forms its own batch.
        max_clips: Maximum number of clips, spread evenly over the split. If a model uses its own
            sentences as context, whole documents are chosen.
        limits: Length limits (never applied to test), frames read from each stream, and the
            ablation.
        rank: Rank of this process.
        world_size: Number of processes.
        prompt_settings: Prompt and context settings.

    Raises:
        StoreError: If the store has no such split.
        InputError: If no clip is within the limits, or a prompt cannot be built.
    """
    if split not in store.splits:
        available = ", ".join(store.splits)
        raise StoreError(f"the store has no split `{split}`; it has {available}")
    all_records = store.get_records(split)
    records, _ = filter_clips_by_length(all_records, limits, split)
    mode = (
        prompt_settings.context.decoding_context if prompt_settings.context.is_enabled else "none"
    )
    uses_predictions = mode == "model"
    scored_records = records  # the clips that an earlier run has scored: all within the limits
    if max_clips is not None and len(records) > max_clips:
        records = (_select_documents if uses_predictions else _select_evenly)(records, max_clips)
    # References are available for every clip of the split, predictions only for scored clips, and
    # own sentences only for the clips of this evaluation.
    records_by_mode: dict[str, list[ClipRecord]] = {
        "none": [],
        "references": all_records,
        "file": scored_records,
    }
    context_records = records_by_mode.get(mode, records)
    context = DocumentContext(context_records, prompt_settings.context)
    context_texts = (
        prompt_settings.prepared if mode == "file" else get_first_references(context_records)
    )
    collator = _ClipCollator(
        store,
        tokenizer,
        PromptBuilder(tokenizer, prompt_settings),
        context,
        context_texts,
        uses_predictions,
        limits,
    )
    waves: dict[int, list[ClipRecord]] = defaultdict(list)
    # Without own context there is a single wave.
    for record in records:
        waves[context.get_position(record) if uses_predictions else 0].append(record)
    groups = [_group_by_length(waves[number], max_frames, limits) for number in sorted(waves)]
    return EvalBatches(collator, groups, rank, world_size)


def get_references(store: Store, split: str, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return clip id → all reference texts, in the order of `clip_ids`."""
    texts = {record.clip.id: record.clip.texts for record in store.get_records(split)}
    return {clip_id: texts[clip_id] for clip_id in clip_ids}


def _group_by_length(
    records: Sequence[ClipRecord], max_frames: int, limits: BatchConfig | None
) -> list[list[ClipRecord]]:
    """Group clips of similar length into batches within the frame budget."""
    lengths = [count_clip_frames(record, limits) for record in records]
    # The id breaks ties, so the list is the same in every process.
    order = sorted(range(len(records)), key=lambda i: (lengths[i], records[i].clip.id))
    groups = split_into_batches(order, lengths, BatchConfig(max_frames=max_frames))
    return [[records[i] for i in group] for group in groups]


def _select_evenly(records: Sequence[ClipRecord], count: int) -> list[ClipRecord]:
    """Select `count` clips, spread evenly over the split."""
    return [records[i * len(records) // count] for i in range(count)]


def _select_documents(records: Sequence[ClipRecord], count: int) -> list[ClipRecord]:
    """Select whole documents, spread evenly, with about `count` clips in total.

    A clip without a document counts as a document of its own.
    """
    documents: dict[tuple[str, str], list[ClipRecord]] = defaultdict(list)
    for record in records:
        clip = record.clip
        # The control character keeps clip ids apart from the names of documents.
        name = clip.document or f"\x1f{clip.id}"
        documents[clip.corpus, name].append(record)
    all_documents = list(documents.values())
    num_documents = max(1, round(len(all_documents) * count / len(records)))
    selected = [
        all_documents[i * len(all_documents) // num_documents] for i in range(num_documents)
    ]
    return [record for document in selected for record in document]
