"""What cannot fit into a language model, found before a run's first step.

A text of more tokens than `model.reserve_tokens`, or a prompt that leaves frames no room, ends a
run when its batch comes: hours in, or after its end, when test is scored. So the tokens of all
splits are counted first, in one pass (30,000 sentences of 17 words in 4 s on one core); training
makes its batches of the same tokens. Where a backbone has no limit nothing is counted. What is only
known later is not foreseen: frames without a reserve, and sentences that the model itself writes as
context.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from kinesweep.batches.collate import Tokens
from kinesweep.batches.evaluation import eval_batches
from kinesweep.batches.stream import TrainStream
from kinesweep.batches.text import Text
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.recipe import Recipe
from kinesweep.models.translator import Translator
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store
from kinesweep.training.evaluate import prepared_sentences

Asked = tuple[str, ClipRecord, Tokens]
"""A split, a clip of it, and what stands around its frames."""


def every_text(recipe: Recipe, store: Store, text: Text, stream: TrainStream) -> Iterator[Asked]:
    """Each clip of each split with its tokens; those of test too, which is scored in the end.

    Left out are clips that limits leave out, and test where `context.predictions` has none of it:
    it cannot be scored then.
    """
    for record, tokens in stream.asked():
        yield "train", record, tokens
    context, frames = recipe.context, recipe.evaluation.max_frames
    for split in (split for split in store.splits if split != "train"):
        if split == "test" and context.predictions and split not in context.predictions:
            continue
        asking = replace(recipe.asking, prepared=prepared_sentences(context, split))
        batches = eval_batches(store, split, text, frames, limits=recipe.taken_batch, asking=asking)
        for record, tokens in batches.asked():
            yield split, record, tokens


def check_fit(model: Translator, asked: Iterable[Asked]) -> None:
    """Refuses clips whose text, or whose prompt and text, the language model has no room for.

    Args:
        model: whose positions, and whose `model.reserve_tokens`.
        asked: all clips; not even begun where nothing is limited.

    Raises:
        InputError: the worst clip, how many there are, and what to do.
    """
    limits = _Limits.of(model)
    if limits.text is None and limits.all is None:
        return
    long, wide = _Misfits(), _Misfits()
    for split, record, tokens in asked:
        long.see(tokens.most_labels, limits.text, split, record.clip)
        wide.see(limits.least(tokens, record), limits.all, split, record.clip)
    if long.worst is not None:
        raise InputError(
            f"{long.said} has a text of {long.most} tokens, its decoder prompt and the end of the"
            f" sentence included, but {limits.who} for {limits.text}. {limits.way(long.most)}"
        )
    if wide.worst is not None:
        raise InputError(
            f"{wide.said} takes {wide.most} of the backbone's {limits.all} positions, even if but"
            f" one vector is kept of each stream{limits.kept}. Shorten the prompt or its context"
            " (`context.max_tokens`), lower `model.reserve_tokens`, or take a backbone with more"
            " positions."
        )


@dataclass(frozen=True)
class _Limits:
    """What a model has room for.

    Attributes:
        text: tokens of a text; None: any number.
        all: positions of what `least` counts; None: any number.
        reserve: `model.reserve_tokens`.
        shared: text and input have the same positions.
        end: vectors behind the frames.
        against: the stream of references, which has no vectors.
        channel: streams are one, side by side.
        separators: vectors before streams.
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
        recipe, positions = model.config.recipe_part(), model.positions
        reserved = recipe.reserve_tokens if positions.shared else None
        return cls(
            text=model.output_limit if reserved is None else reserved,
            all=positions.limit,
            reserve=recipe.reserve_tokens,
            shared=positions.shared,
            end=int(recipe.ends_input),
            against=None if recipe.reference is None else recipe.reference.against,
            channel=recipe.fusion.kind == "channel",
            separators=len(getattr(model.fusion, "separators", ())),
        )

    def least(self, tokens: Tokens, record: ClipRecord) -> int:
        """Positions that a clip takes at the least, one vector of each stream."""
        words = len(tokens.prompt) + len(tokens.after) + self.end + self.separators
        lengths = record.lengths.items()
        streams = sum(frames > 0 for name, frames in lengths if name != self.against)
        # A row's last label is written, but not read.
        text = tokens.most_labels - 1 if self.reserve is None else self.reserve
        return words + (min(1, streams) if self.channel else streams) + self.shared * text

    @property
    def _reserves(self) -> bool:
        return self.shared and self.reserve is not None

    @property
    def who(self) -> str:
        """What limits a text."""
        return "`model.reserve_tokens` has room" if self._reserves else "the backbone has positions"

    def way(self, most: int) -> str:
        """What to do about a text of so many tokens."""
        if self._reserves:
            return f"Set it to {most} or more, or leave such clips out of the corpus."
        return (
            "Leave such clips out of the corpus, take a tokenizer of larger pieces, or a backbone"
            f" with {most} positions or more."
        )

    @property
    def kept(self) -> str:
        """What else is in the positions."""
        if not self.shared:
            return ""
        if self.reserve is None:
            return ", with its text"
        return f", with {self.reserve} for the text (`model.reserve_tokens`)"


class _Misfits:
    """Clips that take more than there is: the worst, and how many of each split."""

    def __init__(self) -> None:
        self.worst: tuple[str, Clip] | None = None
        self.most = 0
        self._counts: Counter[str] = Counter()

    def see(self, got: int, limit: int | None, split: str, clip: Clip) -> None:
        """Counts a clip that does not fit."""
        if limit is None or got <= limit:
            return
        self._counts[split] += 1
        if got > self.most:
            self.worst, self.most = (split, clip), got

    @property
    def said(self) -> str:
        """Which clip it is, and how many there are."""
        assert self.worst is not None
        split, clip = self.worst
        row = f", {clip.row}" if clip.row else ""
        counts = ", ".join(f"{count} of {name}" for name, count in self._counts.items())
        return f"Texts or prompts of clips do not fit ({counts}). Clip `{clip.id}` ({split}{row})"
