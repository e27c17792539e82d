"""The collator of evaluation batches: features and tokens of clips, in one place.

A clip is translated unless a question is asked about it. The question of the task `reversed` comes
with the frames in the order that it asks about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.batch import Batch
from kinesweep.core.clip import Clip
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.data.context import DocumentContext
from kinesweep.data.length_limits import truncate_streams
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.tasks.questions import Example
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class ClipCollator:
    """A collator that loads, tokenizes and collates the clips of a split.

    Attributes:
        store: Store of the features.
        tokenizer: Tokenizer.
        prompt_builder: Builder of the text around the frames.
        context: Documents of the clips, which give the preceding clips of each clip.
        context_texts: Clip id → sentence that is used as context.
        uses_predictions: Whether the model's predictions replace `context_texts` in generation.
        batch_config: Batch config with the number of frames read from each stream and the
            ablation; None reads all frames.
        examples: Clip id → question that is asked about the clip; clips without one are translated.
    """

    store: Store
    tokenizer: TextTokenizer
    prompt_builder: PromptBuilder
    context: DocumentContext
    context_texts: Mapping[str, str]
    uses_predictions: bool
    batch_config: BatchConfig | None
    examples: Mapping[str, Example] = field(default_factory=dict)

    def collate_clips(
        self, records: Sequence[ClipRecord], context_texts: Mapping[str, str]
    ) -> Batch:
        """Load, tokenize and collate clips into one batch.

        Args:
            records: Clips of the batch.
            context_texts: Clip id → sentence that is used as context.
        """
        # Zeroed at the end, so the ablated model sees the same lengths and padding.
        zero_features = self.batch_config is not None and self.batch_config.ablation == "zeros"
        return collate(
            [self._build_item(record, context_texts) for record in records],
            self.tokenizer.vocabulary.pad_id,
            zero_features,
        )

    def build_tokens(self, record: ClipRecord, context_texts: Mapping[str, str]) -> ClipTokens:
        """Build the prompt and label tokens of a clip's question, or of its translation.

        Args:
            record: Clip.
            context_texts: Clip id → sentence that is used as context.
        """
        sentences = self.context.get_sentences(record, context_texts)
        return self.prompt_builder.build_tokens(
            record.clip, self._get_example(record.clip), sentences
        )

    def _get_example(self, clip: Clip) -> Example:
        """Return the question that is asked about a clip, by default its translation."""
        # Without questions, an evaluation is one of translations.
        return self.examples.get(clip.id) or Example.from_clip(clip)

    def _build_item(self, record: ClipRecord, context_texts: Mapping[str, str]) -> BatchItem:
        """Build the batch item of a clip: load and truncate its features and build its tokens."""
        streams = truncate_streams(self.store.get_features(record), self.batch_config)
        if self._get_example(record.clip).is_reversed:
            # After truncation, as in training: both see the same frames of a long clip.
            streams = {name: x_TD[::-1] for name, x_TD in streams.items()}
        # A model has an encoder for each stream of the store, also for those that this clip lacks.
        streams = fill_absent_streams(streams, self.store.schema.streams)
        return BatchItem(record.clip.id, streams, self.build_tokens(record, context_texts))
