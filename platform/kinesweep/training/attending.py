"""A clip translated, and what each token of its text looked at.

The clip is decoded as `evaluate` and `translate` decode it, then its tokens pass through the model
once more with attention in the open (`models.attention`). Both are of the model folder's recipe, so
the text is the one that the model says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kinesweep.batches.collate import Row, collate
from kinesweep.batches.context import Context, gold
from kinesweep.batches.examples import Example
from kinesweep.batches.limits import first_frames
from kinesweep.batches.prompt import Prompter
from kinesweep.batches.text import Text
from kinesweep.core.batch import Batch
from kinesweep.models.attention import Attention, attention
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store
from kinesweep.training.evaluate import prepared_sentences
from kinesweep.training.model_folder import ModelFolder

_BEGINS = ("▁", "Ġ")
"""What pieces begin with that follow a space: SentencePiece's and byte-level BPE's."""


@dataclass(frozen=True)
class Token:
    """One token that was written.

    Attributes:
        id: in the vocabulary.
        text: for people, with a space before it where it begins a word.
        forced: whether the decoder's prompt left no choice.
    """

    id: int
    text: str
    forced: bool


@dataclass(frozen=True)
class Attended:
    """A clip's text and how it came about.

    Attributes:
        text: as `translate` gives it.
        tokens: all that were written, up to the end of the sentence, which is among them.
        attention: a row for each of them.
    """

    text: str
    tokens: tuple[Token, ...]
    attention: Attention


def attend(loaded: ModelFolder, row: Row) -> Attended:
    """Translates a clip and looks at what the model looked at.

    Args:
        loaded: the model, with how it decodes.
        row: the clip's features, prompts and decoder prompt; its labels do not count.

    Raises:
        InputError: the language model does not show its attention, or the clip does not fit.
    """
    recipe, text = loaded.recipe, loaded.text
    row = replace(row, streams=first_frames(row.streams, recipe.taken_batch))
    blank = recipe.batch.ablation == "zeros"
    batch = collate([row], text.vocabulary.pad_id, blank).to(loaded.model.device)
    generation = recipe.generation
    ids = loaded.model.generate(
        **batch.generation_inputs(),
        forced_ids=batch.forced_ids_BF,
        forced_mask=batch.forced_mask_BF,
        num_beams=generation.num_beams,
        max_new_tokens=generation.max_new_tokens,
        length_penalty=generation.length_penalty,
    )[0].tolist()
    forced = row.tokens.forced
    said = text.decode(ids, forced, generation.truecase)
    ids = _until_the_end(ids, len(forced), text.vocabulary.eos_id)
    (found,) = attention(loaded.model, _teaching(batch, ids))
    return Attended(said, tuple(_tokens(text, ids, len(forced))), found)


def row_of(loaded: ModelFolder, store: Store, record: ClipRecord) -> Row:
    """A clip of a store as the model reads it in evaluation.

    Where the model reads its own sentences as context, the true ones stand before the clip, as
    while it is being taught.

    Raises:
        InputError: a prompt cannot be made, or the recipe's prepared sentences lack one.
    """
    recipe, split = loaded.recipe, record.clip.split
    context = Context(store.records(split), recipe.context)
    lines: Sequence[str] = ()
    if recipe.context.is_used and recipe.context.generation != "none":
        said = prepared_sentences(recipe.context, split) or gold(store.records(split))
        lines = context.lines(record, said)
    prompter = Prompter(loaded.text, recipe.asking)
    tokens = prompter.tokens(record.clip, Example.translation(record.clip), lines)
    return Row(record.clip.id, store.features(record), tokens)


def _until_the_end(ids: Sequence[int], forced: int, end: int) -> list[int]:
    """Without the padding behind the end, which may be the same token; a prompt is kept whole."""
    stop = next((place for place in range(forced, len(ids)) if ids[place] == end), len(ids) - 1)
    return list(ids[: stop + 1])


def _teaching(batch: Batch, ids: Sequence[int]) -> Batch:
    """The clip with its own tokens as labels."""
    return replace(batch, labels_BL=torch.tensor([ids], device=batch.labels_BL.device))


def _tokens(text: Text, ids: Sequence[int], forced: int) -> list[Token]:
    pieces = text.tokenizer.convert_ids_to_tokens(list(ids))
    return [
        Token(number, _shown(text, piece), place < forced)
        for place, (number, piece) in enumerate(zip(ids, pieces, strict=True))
    ]


def _shown(text: Text, piece: str) -> str:
    """A piece of a tokenizer for people."""
    words = str(text.tokenizer.convert_tokens_to_string([piece])).strip() or piece
    return f" {words}" if piece.startswith(_BEGINS) else words
