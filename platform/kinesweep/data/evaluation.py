"""Evaluation batches: a fixed list that does not depend on rank, seed or number of workers.

Clips are sorted by length, so there is almost no padding; results are keyed by clip id. If a model
uses its own sentences as context, clips are processed in waves: the first clip of every document,
then every second one, and so on. Clips may lack streams, which then have no frames.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptSettings
from kinesweep.core.batch import Batch
from kinesweep.core.errors import StoreError
from kinesweep.data.bucketing import split_into_batches
from kinesweep.data.clip_collation import ClipCollator
from kinesweep.data.clip_selection import select_documents, select_evenly
from kinesweep.data.collate import ClipTokens
from kinesweep.data.context import DocumentContext, get_first_references
from kinesweep.data.length_limits import count_clip_frames, filter_clips_by_length
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


class FixedBatches(Sequence[Batch]):
    """A sequence of batches that do not depend on each other.

    Args:
        batches: Batches in the order of their indices.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        """Return the batch at an index."""
        return self._batches[index]

    @property
    def waves(self) -> Sequence[Sequence[int]]:
        """Return the batch indices of each wave; here all batches form a single wave.

        The batches of a wave do not depend on each other. Waves are decoded one after the other.
        """
        return [range(len(self))]

    def get_batch_with_context(self, index: int, predictions: Mapping[str, str]) -> Batch:
        """Return the batch at an index; the predictions are ignored.

        Args:
            index: Index of the batch.
            predictions: Clip id → generated sentence, for the clips of all preceding waves. A
                subclass may use them as context.
        """
        return self[index]


class EvalBatches(FixedBatches):
    """The evaluation batches of one rank, created on access and not kept.

    If generation uses the model's own sentences as context, access by index uses reference
    sentences instead, because token losses are computed with teacher forcing. `build_eval_batches`
    creates the batches.

    Args:
        collator: Collator of the clips.
        waves: Clips of each batch of each wave, over all ranks.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        collator: ClipCollator,
        waves: Sequence[Sequence[Sequence[ClipRecord]]],
        rank: int,
        world_size: int,
    ) -> None:
        self._collator = collator
        # Take every `world_size`-th batch of all waves together, so that ranks get equal work.
        all_groups = [(wave, group) for wave, groups in enumerate(waves) for group in groups]
        rank_groups = all_groups[rank::world_size]
        # The clips of each batch of this rank, and the batch indices of each wave.
        self._groups = [group for _, group in rank_groups]
        self._waves: list[list[int]] = [[] for _ in waves]
        for index, (wave, _) in enumerate(rank_groups):
            self._waves[wave].append(index)

    def __len__(self) -> int:
        """Return the number of batches of this rank."""
        return len(self._groups)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        """Return the batch at an index, with reference sentences or those of a file as context."""
        return self._collator.collate_clips(self._groups[index], self._collator.context_texts)

    def iter_tokens(self) -> Iterator[tuple[ClipRecord, ClipTokens]]:
        """Iterate over this rank's clips with their tokens, without reading features.

        Context sentences are those of `__getitem__`: references or those of a file.
        """
        for record in (record for group in self._groups for record in group):
            yield record, self._collator.build_tokens(record, self._collator.context_texts)

    @property
    def waves(self) -> Sequence[Sequence[int]]:
        """Return the batch indices of each wave, for the batches of this rank.

        Waves are decoded one after the other. Every rank has the same number of waves, so a wave
        can be empty on a rank. Without clips there are no waves.
        """
        return self._waves

    def get_batch_with_context(self, index: int, predictions: Mapping[str, str]) -> Batch:
        """Return the batch at an index with the context that generation uses.

        Args:
            index: Index of the batch.
            predictions: Clip id → generated sentence, for the clips of all preceding waves. They
                are the context if the model uses its own sentences, and are ignored otherwise.
        """
        texts = predictions if self._collator.uses_predictions else self._collator.context_texts
        return self._collator.collate_clips(self._groups[index], texts)


def build_eval_batches(  # noqa: PLR0913 (store, batch config, rank and prompt are independent)
    store: Store,
    split: str,
    tokenizer: TextTokenizer,
    max_frames: int,
    max_clips: int | None = None,
    batch_config: BatchConfig | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
    prompt_settings: PromptSettings = PromptSettings(),
) -> EvalBatches:
    """Build one rank's evaluation batches, every `world_size`-th of a list without rank or seed.

    Args:
        store: Store of the features.
        split: Name of the split.
        tokenizer: Tokenizer.
        max_frames: Frames per batch, including padding; a longer clip forms its own batch.
        max_clips: Maximum number of clips, spread evenly over the split; about that number, in
            whole documents, if a model uses its own sentences as context.
        batch_config: Length limits (never applied to the test split), number of frames read from
            each stream, and ablation; None applies none of them.
        rank: Rank of this process.
        world_size: Number of processes.
        prompt_settings: Prompt and context settings.

    Raises:
        StoreError: If the store has no such split.
        InputError: If no clip is within the length limits, a limited stream is missing, or the
            prompt settings do not fit the tokenizer.
    """
    if split not in store.splits:
        raise StoreError(f"the store has no split `{split}`; it has {', '.join(store.splits)}")
    all_records = store.get_records(split)
    records = scored_records = filter_clips_by_length(all_records, batch_config, split)[0]
    context_source = get_context_source(prompt_settings)
    uses_predictions = context_source == "model"
    if max_clips is not None and len(records) > max_clips:
        records = (select_documents if uses_predictions else select_evenly)(records, max_clips)
    # References are available for every clip of the split, sentences of a file only for the clips
    # that an earlier run has scored (all within the limits), and the model's own sentences only for
    # the clips of this evaluation.
    context_records = {
        "none": [],
        "references": all_records,
        "file": scored_records,
        "model": records,
    }[context_source]
    context = DocumentContext(context_records, prompt_settings.context)
    collator = ClipCollator(
        store,
        tokenizer,
        PromptBuilder(tokenizer, prompt_settings),
        context,
        prompt_settings.prepared
        if context_source == "file"
        else get_first_references(context_records),
        uses_predictions,
        batch_config,
    )
    # Without the model's own sentences as context there is a single wave, or none without clips.
    single_wave = [records] if records else []
    waves = _split_into_waves(records, context) if uses_predictions else single_wave
    groups = [group_by_length(wave, max_frames, batch_config) for wave in waves]
    return EvalBatches(collator, groups, rank, world_size)


def get_context_source(prompt_settings: PromptSettings) -> str:
    """Return the source of context sentences: `none`, `references`, `file` or `model`."""
    context = prompt_settings.context
    return context.decoding_context if context.is_enabled else "none"


def _split_into_waves(
    records: Sequence[ClipRecord], context: DocumentContext
) -> list[list[ClipRecord]]:
    """Split clips into waves: the first clip of every document, then every second clip, and so on.

    Clips without a document are in the first wave.
    """
    waves: dict[int, list[ClipRecord]] = defaultdict(list)
    for record in records:
        waves[context.get_position(record)].append(record)
    return [clips for _, clips in sorted(waves.items())]


def get_references(store: Store, split: str, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return clip id → all reference translations, for the given clips of a split, in their order.

    Raises:
        KeyError: If the split does not contain a clip.
    """
    texts = {record.clip.id: record.clip.texts for record in store.get_records(split)}
    return {clip_id: texts[clip_id] for clip_id in clip_ids}


def group_by_length(
    records: Sequence[ClipRecord], max_frames: int, batch_config: BatchConfig | None
) -> list[list[ClipRecord]]:
    """Group clips of similar length into batches of at most `max_frames` frames with padding.

    The groups are sorted by length. A clip with more frames forms its own group.
    """
    lengths = [count_clip_frames(record, batch_config) for record in records]
    # The id breaks ties, so the list is the same in every process.
    indices_by_length = sorted(range(len(records)), key=lambda i: (lengths[i], records[i].clip.id))
    groups = split_into_batches(indices_by_length, lengths, BatchConfig(max_frames=max_frames))
    return [[records[i] for i in group] for group in groups]
