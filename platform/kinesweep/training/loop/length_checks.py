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

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.collate import ClipTokens
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.evaluate import load_context_sentences
from kinesweep.models.translator import Translator
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

TokenizedClip = tuple[str, ClipRecord, ClipTokens]
"""The name of a split, the record of one of its clips, and the tokens of this clip."""


def iter_tokenized_clips(
    recipe: Recipe, store: Store, tokenizer: TextTokenizer, train_dataset: TrainDataset
) -> Iterator[TokenizedClip]:
    """Yield the clips of all splits with their tokens, including the test split.

    Clips outside the length limits are skipped. The test split is skipped if `context.predictions`
    has no entry for it, because it cannot be scored then.

    Args:
        recipe: Recipe of the run.
        store: Feature store.
        tokenizer: Tokenizer of the run.
        train_dataset: Training data of this rank.

    Yields:
        Name of the split, record of the clip, and its tokens.
    """
    for record, tokens in train_dataset.iter_tokens():
        yield "train", record, tokens
    context, max_frames = recipe.context, recipe.evaluation.max_frames
    for split in (split for split in store.splits if split != "train"):
        if split == "test" and context.predictions and split not in context.predictions:
            continue
        prompt_settings = replace(
            recipe.prompt_settings, prepared=load_context_sentences(context, split)
        )
        batches = build_eval_batches(
            store,
            split,
            tokenizer,
            max_frames,
            limits=recipe.effective_batch,
            prompt_settings=prompt_settings,
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
        num_end_vectors: Number of vectors after the frames.
        reference_stream: Stream of reference clips, which adds no vectors.
        is_channel_fusion: Whether channel fusion joins all streams into one.
        num_separators: Number of separator vectors before streams.
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
        recipe, positions = model.config.get_model_config(), model.position_limit
        # With separate positions, the text is limited by the backbone's output, not by the reserve.
        reserved = recipe.reserved_text_tokens if positions.shared else None
        return cls(
            max_text_tokens=model.output_limit if reserved is None else reserved,
            max_positions=positions.limit,
            reserved_text_tokens=recipe.reserved_text_tokens,
            shares_positions=positions.shared,
            num_end_vectors=int(recipe.should_append_eos),
            reference_stream=None if recipe.reference is None else recipe.reference.against,
            is_channel_fusion=recipe.fusion.kind == "channel",
            num_separators=len(getattr(model.fusion, "separators", ())),
        )

    def compute_min_positions(self, tokens: ClipTokens, record: ClipRecord) -> int:
        """Compute the minimum number of positions of a clip, with one vector for each stream."""
        num_fixed_vectors = (
            len(tokens.prompt) + len(tokens.suffix) + self.num_end_vectors + self.num_separators
        )
        lengths = record.lengths.items()
        num_streams = sum(frames > 0 for name, frames in lengths if name != self.reference_stream)
        # The last label is generated but never fed back, so it needs no position.
        num_text_tokens = (
            tokens.max_num_labels - 1
            if self.reserved_text_tokens is None
            else self.reserved_text_tokens
        )
        return (
            num_fixed_vectors
            + (min(1, num_streams) if self.is_channel_fusion else num_streams)
            + self.shares_positions * num_text_tokens
        )

    @property
    def _is_limited_by_reserve(self) -> bool:
        """Return whether `model.reserved_text_tokens` is what limits the text."""
        return self.shares_positions and self.reserved_text_tokens is not None

    @property
    def text_limit_description(self) -> str:
        """Return the part of the error message that names the limit of the text."""
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
        """Return the part of the error message that names the positions occupied by the text."""
        if not self.shares_positions:
            return ""
        if self.reserved_text_tokens is None:
            return ", with its text"
        return f", with {self.reserved_text_tokens} for the text (`model.reserved_text_tokens`)"


class _OverflowCounter:
    """A counter of clips that exceed a limit, by split; it also keeps the worst clip."""

    def __init__(self) -> None:
        self.worst_clip: tuple[str, Clip] | None = None
        self.worst_length = 0
        self._counts: Counter[str] = Counter()

    def count_if_too_long(self, length: int, limit: int | None, split: str, clip: Clip) -> None:
        """Count a clip if its length exceeds the limit.

        Args:
            length: Number of tokens or positions that the clip needs.
            limit: Limit; None for no limit.
            split: Split of the clip.
            clip: Clip to check.
        """
        if limit is None or length <= limit:
            return
        self._counts[split] += 1
        if length > self.worst_length:
            self.worst_clip, self.worst_length = (split, clip), length

    @property
    def description(self) -> str:
        """Return the part of the error message that names the worst clip and the counts."""
        assert self.worst_clip is not None
        split, clip = self.worst_clip
        row = f", {clip.row}" if clip.row else ""
        counts = ", ".join(f"{count} of {name}" for name, count in self._counts.items())
        return f"Texts or prompts of clips do not fit ({counts}). Clip `{clip.id}` ({split}{row})"
