"""Checks that all clips fit into the language model, before the first step of a run.

A text with more tokens than `model.reserved_text_tokens`, or a prompt that leaves no room for
frames, would end a run only when its batch is reached: hours after the start, or even after
training, when the test split is scored. All splits are therefore tokenized first, in one pass
(30,000 sentences of 17 words in 4 s on one core); training reuses these tokens for its batches.
Backbones without a limit skip the check. Two cases cannot be checked in advance: frames without
reserved text tokens, and sentences that the model itself generates as context.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptSettings
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.collate import ClipTokens
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.eval_set import load_context_sentences
from kinesweep.models.translator import Translator
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

TokenizedClip = tuple[str, ClipRecord, ClipTokens]
"""The name of a split, the record of one of its clips, and the tokens of this clip."""


def iter_tokenized_clips(
    store: Store,
    tokenizer: TextTokenizer,
    train_dataset: TrainDataset,
    prompt_settings: PromptSettings,
    batch_config: BatchConfig,
    max_eval_frames: int,
) -> Iterator[TokenizedClip]:
    """Yield the clips of all splits with their tokens: first train, then all other splits.

    A training clip is yielded once for each of the texts that it may be trained on. Clips outside
    the length limits are skipped. The test split is skipped if `context.predictions` has entries
    for other splits only, because it cannot be scored then.

    Args:
        store: Feature store.
        tokenizer: Tokenizer of the run.
        train_dataset: Training data of this rank; it yields the tokens of all training clips.
        prompt_settings: Prompt and context settings.
        batch_config: The effective `batch` section, with the length limits.
        max_eval_frames: Maximum number of frames in a batch of an evaluation
            (`evaluation.max_frames`).

    Yields:
        Name of the split, record of the clip, and its tokens.

    Raises:
        InputError: If no clip of a split is within the length limits, a prompt cannot be built, or
            the predictions that the recipe uses as context are missing or cannot be read.
    """
    for record, tokens in train_dataset.iter_tokens():
        yield "train", record, tokens
    context = prompt_settings.context
    for split in (split for split in store.splits if split != "train"):
        # `load_context_sentences` would raise here, although a run need not score the test split.
        if split == "test" and context.predictions and split not in context.predictions:
            continue
        split_settings = replace(prompt_settings, prepared=load_context_sentences(context, split))
        batches = build_eval_batches(
            store,
            split,
            tokenizer,
            max_eval_frames,
            batch_config=batch_config,
            prompt_settings=split_settings,
        )
        for record, tokens in batches.iter_tokens():
            yield split, record, tokens


def check_clips_fit_model(model: Translator, clips: Iterable[TokenizedClip]) -> None:
    """Check that all clips fit into the positions of the language model.

    Args:
        model: Translator with its position limits and `model.reserved_text_tokens`.
        clips: Clips to check with their tokens; not consumed if the model has no limit.

    Raises:
        InputError: If a clip does not fit; names the worst one, the number of such clips and a
            remedy.
    """
    limits = _PositionLimits.from_model(model)
    if limits.max_text_tokens is None and limits.max_positions is None:
        return
    # Two limits: `text_overflow` counts texts that are too long by themselves, `input_overflow`
    # counts clips whose text and prompt leave no room for frames.
    text_overflow, input_overflow = _OverflowCounter(), _OverflowCounter()
    for split, record, tokens in clips:
        text_overflow.count_if_too_long(
            tokens.max_num_labels, limits.max_text_tokens, split, record.clip
        )
        input_overflow.count_if_too_long(
            limits.compute_min_positions(tokens, record), limits.max_positions, split, record.clip
        )
    if text_overflow.worst_clip is not None:
        raise InputError(
            f"{text_overflow.description} has a text of {text_overflow.worst_length} tokens,"
            " including its decoder prompt and the"
            f" end of the sentence, but {limits.text_limit_description} for"
            f" {limits.max_text_tokens}. {limits.suggest_remedy(text_overflow.worst_length)}"
        )
    if input_overflow.worst_clip is not None:
        raise InputError(
            f"{input_overflow.description} takes {input_overflow.worst_length} of the backbone's"
            f" {limits.max_positions} positions, even if only"
            f" one vector of each stream is kept{limits.text_reserve_description}. Shorten the"
            " prompt or its context"
            " (`context.max_tokens`), lower `model.reserved_text_tokens`, or use a backbone with"
            " more positions."
        )


@dataclass(frozen=True)
class _PositionLimits:
    """The position limits of a model.

    Attributes:
        max_text_tokens: Maximum number of text tokens; None for no limit.
        max_positions: Maximum number of positions of text and input together, as counted by
            `compute_min_positions`; None for no limit.
        reserved_text_tokens: Value of `model.reserved_text_tokens`.
        shares_positions: Whether text and input share the same positions.
        num_end_vectors: Number of end-of-sentence vectors after the frames, 0 or 1.
        reference_stream: Feature stream of the reference motions, which adds no vectors; None
            without one.
        is_channel_fusion: Whether channel fusion joins all streams into one.
        num_separators: Number of separator vectors before feature streams.
    """

    max_text_tokens: int | None
    max_positions: int | None
    reserved_text_tokens: int | None
    shares_positions: bool
    num_end_vectors: int
    reference_stream: str | None
    is_channel_fusion: bool
    num_separators: int

    @classmethod
    def from_model(cls, model: Translator) -> "_PositionLimits":
        """Create the limits from the configuration and the backbone of a model."""
        model_config, positions = model.config.get_model_config(), model.position_limit
        # With separate positions, the text is limited by the backbone's output, not by the reserve.
        reserved = model_config.reserved_text_tokens if positions.shared_with_text else None
        return cls(
            max_text_tokens=model.output_limit if reserved is None else reserved,
            max_positions=positions.limit,
            reserved_text_tokens=model_config.reserved_text_tokens,
            shares_positions=positions.shared_with_text,
            num_end_vectors=int(model_config.should_append_eos),
            reference_stream=(
                None if model_config.reference is None else model_config.reference.against
            ),
            is_channel_fusion=model_config.fusion.kind == "channel",
            num_separators=len(getattr(model.fusion, "separators", ())),
        )

    def compute_min_positions(self, tokens: ClipTokens, record: ClipRecord) -> int:
        """Compute the number of positions that a clip takes with one vector for each stream.

        Args:
            tokens: Tokens of the clip: prompt, suffix and labels.
            record: Record of the clip, with the number of frames of each feature stream.

        Returns:
            Number of positions, including those of the text if text and input share positions.
        """
        num_fixed_vectors = len(tokens.prompt) + len(tokens.suffix) + self.num_end_vectors
        # One vector for each stream that has frames: truncation leaves at least that many.
        num_streams = sum(
            num_frames > 0
            for name, num_frames in record.lengths.items()
            if name != self.reference_stream
        )
        # The last label is generated but never fed back, so it needs no position.
        num_text_tokens = (
            tokens.max_num_labels - 1
            if self.reserved_text_tokens is None
            else self.reserved_text_tokens
        )
        return (
            num_fixed_vectors
            # A stream that the clip lacks has no separator.
            + min(self.num_separators, num_streams)
            # Channel fusion merges all streams into one sequence of vectors.
            + (min(1, num_streams) if self.is_channel_fusion else num_streams)
            + self.shares_positions * num_text_tokens
        )

    @property
    def _is_limited_by_reserve(self) -> bool:
        """Return whether `model.reserved_text_tokens` is what limits the text."""
        return self.shares_positions and self.reserved_text_tokens is not None

    @property
    def text_limit_description(self) -> str:
        """Return the start of a clause, up to its number, that names the limit of the text."""
        return (
            "`model.reserved_text_tokens` has room"
            if self._is_limited_by_reserve
            else "the backbone has positions"
        )

    def suggest_remedy(self, num_tokens: int) -> str:
        """Return a sentence that suggests a remedy for a text of `num_tokens` tokens."""
        if self._is_limited_by_reserve:
            return f"Set it to {num_tokens} or more, or remove such clips from the corpus."
        return (
            "Remove such clips from the corpus, or use a tokenizer with a larger vocabulary or a"
            f" backbone with {num_tokens} positions or more."
        )

    @property
    def text_reserve_description(self) -> str:
        """Return a clause that states how many positions the text occupies.

        The clause is empty if text and input have separate positions.
        """
        if not self.shares_positions:
            return ""
        if self.reserved_text_tokens is None:
            return ", with its text"
        return f", with {self.reserved_text_tokens} for the text (`model.reserved_text_tokens`)"


class _OverflowCounter:
    """A counter of clips that exceed a limit, by split, which remembers the worst clip.

    Attributes:
        worst_clip: Split and clip with the largest excess; None if no clip exceeds the limit.
        worst_length: Number of tokens or positions that the worst clip needs; 0 without one.
    """

    def __init__(self) -> None:
        self.worst_clip: tuple[str, Clip] | None = None
        self.worst_length = 0
        self._counts: Counter[str] = Counter()

    def count_if_too_long(self, length: int, limit: int | None, split: str, clip: Clip) -> None:
        """Count a clip if its length exceeds the limit, and remember it if it is the longest.

        Args:
            length: Number of tokens or positions that the clip needs.
            limit: Largest allowed length; None for no limit.
            split: Split of the clip.
            clip: Clip that has this length.
        """
        if limit is None or length <= limit:
            return
        self._counts[split] += 1
        if length > self.worst_length:
            self.worst_clip, self.worst_length = (split, clip), length

    @property
    def description(self) -> str:
        """Return the start of the error message: the counts by split, and the worst clip.

        At least one clip must have been counted.
        """
        assert self.worst_clip is not None
        split, clip = self.worst_clip
        row = f", {clip.row}" if clip.row else ""
        counts = ", ".join(f"{count} of {name}" for name, count in self._counts.items())
        return f"Texts or prompts of clips do not fit ({counts}). Clip `{clip.id}` ({split}{row})"
