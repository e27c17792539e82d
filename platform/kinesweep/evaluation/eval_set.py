"""The batches of a split that one rank evaluates, with the sentences that serve as context."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.prompt import ContextConfig, PromptSettings
from kinesweep.core.collectives import get_rank_and_world_size
from kinesweep.core.errors import InputError
from kinesweep.data.evaluation import FixedBatches, build_eval_batches, get_references
from kinesweep.data.tasks.task_batches import TaskData
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.metrics.source_texts import get_source_texts
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.evaluation.tokenization.protocol import resolve_evaluation
from kinesweep.evaluation.wordnet import check_wordnet_folder
from kinesweep.store.format.reader import Store


class EvalSet:
    """The batches of a split that one rank evaluates, planned once and reused.

    Creating it also reads METEOR's WordNet and the context sentences of `context.predictions`, so
    that missing files are reported before decoding.

    Args:
        store: Feature store.
        split: Name of the split.
        tokenizer: Tokenizer of the model.
        config: Frames per batch, scoring protocol and metrics.
        batch_config: Batch config with the length limits (never applied to test), the truncation
            of streams and the ablation; None applies none of them.
        max_clips: Maximum number of clips over all ranks; None for all.
        prompt_settings: Prompt text around the frames and context sentences before them.

    Attributes:
        batches: Batches of this rank.
        task_data: Clips and settings of questions about the split.
        tokenizer: Tokenizer of the model.
        config: Frames per batch, metrics, and the scoring protocol with the tokenizer that suits
            the texts of the store.

    Raises:
        InputError: If the WordNet folder or the predictions named in the recipe are missing or
            cannot be read, no clip is within the limits, a prompt cannot be built, or the texts
            are in several scripts that need different tokenizers.
        StoreError: If the store has no such split.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        tokenizer: TextTokenizer,
        config: EvaluationConfig,
        batch_config: BatchConfig | None = None,
        max_clips: int | None = None,
        *,
        prompt_settings: PromptSettings = PromptSettings(),
    ) -> None:
        # Checked before decoding, which takes long and which METEOR comes after.
        check_wordnet_folder(config)
        rank, world_size = get_rank_and_world_size()
        prompt_settings = replace(
            prompt_settings, prepared=load_context_sentences(prompt_settings.context, split)
        )
        self.task_data = TaskData(
            store, split, tokenizer, prompt_settings, config.max_frames, batch_config
        )
        self.batches: FixedBatches = build_eval_batches(
            store,
            split,
            tokenizer,
            config.max_frames,
            max_clips,
            batch_config,
            rank=rank,
            world_size=world_size,
            prompt_settings=prompt_settings,
        )
        self.tokenizer = tokenizer
        self.config = resolve_evaluation(config, store)
        self._store, self._split = store, split

    def get_source_texts(self) -> dict[str, str]:
        """Return clip id → source text for COMET; empty if the recipe does not use it.

        Raises:
            InputError: If the table of source texts cannot be read.
        """
        clips = [record.clip for record in self._store.get_records(self._split)]
        return get_source_texts(self.config.neural_metrics.comet, clips)

    def get_references(self, clip_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return clip id → reference sentences, for the given clips of the split."""
        return get_references(self._store, self._split, clip_ids)


def load_context_sentences(context: ContextConfig, split: str) -> dict[str, str]:
    """Load the sentences that `context.predictions` provides as decoding context for a split.

    Returns:
        Clip id → sentence; empty if the recipe takes its context from elsewhere or uses none.

    Raises:
        InputError: If the recipe names no predictions for this split or they cannot be read.
    """
    if context.decoding_context != "file" or not context.is_enabled:
        return {}
    path = {str(name): path for name, path in context.predictions.items()}.get(split)
    if path is None:
        raise InputError(
            f"`context.predictions` has no predictions for the split `{split}`; it has"
            f" {', '.join(context.predictions)}. Add them, or change `context.decoding_context`."
        )
    return {
        prediction.clip_id: prediction.hypothesis for prediction in read_predictions(Path(path))
    }
