"""Checks that all clips fit into the language model, before the first step of a run.

A text with more tokens than `model.reserved_text_tokens`, or a prompt that leaves no room for
frames, would end a run when its batch comes: hours after the start, or even after training, when
test is scored. All splits are therefore tokenized first, in one pass (30,000 sentences of 17 words
in 4 s on one core); training reuses these tokens for its batches. Backbones without a limit skip
the check. Two cases cannot be checked in advance: frames without reserved text tokens, and
sentences that the model itself generates as context.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.collate import Tokens
from kinesweep.data.evaluation import eval_batches
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.evaluation.evaluate import prepared_sentences
from kinesweep.models.translator import Translator
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

Asked = tuple[str, ClipRecord, Tokens]
"""A split, one of its clips, and the tokens around the frames of this clip."""


def every_text(
    recipe: Recipe, store: Store, text: TextTokenizer, stream: TrainDataset
) -> Iterator[Asked]:
    """Iterate over the clips of all splits with their tokens, including the test split.

    Clips outside the length limits are skipped. The test split is skipped if `context.predictions`
    has no entry for it, because it cannot be scored then.

    Args:
        recipe: Recipe of the run.
        store: Feature store.
        text: Tokenizer.
        stream: Training data of this rank.
    """
    for record, tokens in stream.asked():
        yield "train", record, tokens
    context, frames = recipe.context, recipe.evaluation.max_frames
    for split in (split for split in store.splits if split != "train"):
        if split == "test" and context.predictions and split not in context.predictions:
            continue
        prompt_settings = replace(
            recipe.prompt_settings, prepared=prepared_sentences(context, split)
        )
        batches = eval_batches(
            store,
            split,
            text,
            frames,
            limits=recipe.effective_batch,
            prompt_settings=prompt_settings,
        )
        for record, tokens in batches.asked():
            yield split, record, tokens


def check_fit(model: Translator, asked: Iterable[Asked]) -> None:
    """Raise an error for clips that do not fit into the positions of the language model.

    Args:
        model: Translator with its position limits and `model.reserved_text_tokens`.
        asked: Clips to check; not consumed if the model has no limit.

    Raises:
        InputError: If a clip does not fit; names the worst one, the number of such clips and a
            remedy.
    """
    limits = _Limits.of(model)
    if limits.text is None and limits.all is None:
        return
    # Two limits: `long` collects texts that are too long by themselves, `wide` collects clips whose
    # text and prompt leave no room for frames.
    long, wide = _Misfits(), _Misfits()
    for split, record, tokens in asked:
        long.see(tokens.most_labels, limits.text, split, record.clip)
        wide.see(limits.least(tokens, record), limits.all, split, record.clip)
    if long.worst is not None:
        raise InputError(
            f"{long.said} has a text of {long.most} tokens, including its decoder prompt and the"
            f" end of the sentence, but {limits.who} for {limits.text}. {limits.way(long.most)}"
        )
    if wide.worst is not None:
        raise InputError(
            f"{wide.said} takes {wide.most} of the backbone's {limits.all} positions, even if only"
            f" one vector of each stream is kept{limits.kept}. Shorten the prompt or its context"
            " (`context.max_tokens`), lower `model.reserved_text_tokens`, or use a backbone with"
            " more positions."
        )


@dataclass(frozen=True)
class _Limits:
    """The position limits of a model.

    Attributes:
        text: Maximum number of text tokens; None for no limit.
        all: Maximum number of positions counted by `least`; None for no limit.
        reserve: Value of `model.reserved_text_tokens`.
        shared: Whether text and input share the same positions.
        end: Number of vectors after the frames.
        against: Stream of reference clips, which adds no vectors.
        channel: Whether channel fusion joins all streams into one.
        separators: Number of separator vectors before streams.
    """

    text: int | None
    all: int | None
    reserve: int | None
    shared: bool
    end: int
    against: str | None
    channel: bool
    separators: int

    @classmethod
    def of(cls, model: Translator) -> "_Limits":
        """Read the limits of a model."""
        recipe, positions = model.config.recipe_part(), model.positions
        # With separate positions, the text is limited by the backbone's output, not by the reserve.
        reserved = recipe.reserved_text_tokens if positions.shared else None
        return cls(
            text=model.output_limit if reserved is None else reserved,
            all=positions.limit,
            reserve=recipe.reserved_text_tokens,
            shared=positions.shared,
            end=int(recipe.ends_input),
            against=None if recipe.reference is None else recipe.reference.against,
            channel=recipe.fusion.kind == "channel",
            separators=len(getattr(model.fusion, "separators", ())),
        )

    def least(self, tokens: Tokens, record: ClipRecord) -> int:
        """Return the minimum number of positions of a clip, with one vector for each stream."""
        words = len(tokens.prompt) + len(tokens.after) + self.end + self.separators
        lengths = record.lengths.items()
        streams = sum(frames > 0 for name, frames in lengths if name != self.against)
        # The last label is generated but never fed back, so it needs no position.
        text = tokens.most_labels - 1 if self.reserve is None else self.reserve
        return words + (min(1, streams) if self.channel else streams) + self.shared * text

    @property
    def _reserves(self) -> bool:
        """Return whether `model.reserved_text_tokens` is what limits the text."""
        return self.shared and self.reserve is not None

    @property
    def who(self) -> str:
        """Return the part of the message that names the limit of the text."""
        return (
            "`model.reserved_text_tokens` has room"
            if self._reserves
            else "the backbone has positions"
        )

    def way(self, most: int) -> str:
        """Return the remedy for a text of `most` tokens."""
        if self._reserves:
            return f"Set it to {most} or more, or remove such clips from the corpus."
        return (
            "Remove such clips from the corpus, or use a tokenizer with a larger vocabulary or a"
            f" backbone with {most} positions or more."
        )

    @property
    def kept(self) -> str:
        """Return the part of the message that names what else occupies the positions."""
        if not self.shared:
            return ""
        if self.reserve is None:
            return ", with its text"
        return f", with {self.reserve} for the text (`model.reserved_text_tokens`)"


class _Misfits:
    """A record of clips that exceed a limit: the worst one and the count for each split."""

    def __init__(self) -> None:
        self.worst: tuple[str, Clip] | None = None
        self.most = 0
        self._counts: Counter[str] = Counter()

    def see(self, got: int, limit: int | None, split: str, clip: Clip) -> None:
        """Record a clip if it exceeds the limit.

        Args:
            got: Number of tokens or positions that the clip needs.
            limit: Limit; None for no limit.
            split: Split of the clip.
            clip: Clip to check.
        """
        if limit is None or got <= limit:
            return
        self._counts[split] += 1
        if got > self.most:
            self.worst, self.most = (split, clip), got

    @property
    def said(self) -> str:
        """Return the part of the message that names the worst clip and the counts."""
        assert self.worst is not None
        split, clip = self.worst
        row = f", {clip.row}" if clip.row else ""
        counts = ", ".join(f"{count} of {name}" for name, count in self._counts.items())
        return f"Texts or prompts of clips do not fit ({counts}). Clip `{clip.id}` ({split}{row})"
