"""Translation of one clip together with the attention of each generated token.

The clip is decoded as in `evaluate` and `translate`. Its tokens then pass through the model once
more with attention weights returned (`models.attention`). Both passes use the recipe of the model
folder, so the text is the one that the model generates in normal use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kinesweep.checkpoints.model_dir import ModelFolder
from kinesweep.core.batch import Batch
from kinesweep.data.collate import Item, collate
from kinesweep.data.context import Context, reference_texts
from kinesweep.data.length_limits import truncate
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.task_sampling import Example
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.evaluate import prepared_sentences
from kinesweep.models.attention_maps import Attention, attention
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

# Prefixes of pieces that follow a space, in SentencePiece and in byte-level BPE.
_BEGINS = ("▁", "Ġ")


@dataclass(frozen=True)
class Token:
    """One generated token.

    Attributes:
        id: Id in the vocabulary.
        text: Readable form, with a leading space where the token starts a word.
        forced: Whether the decoder prompt fixed this token.
    """

    id: int
    text: str
    forced: bool


@dataclass(frozen=True)
class Attended:
    """The translation of a clip with its attention weights.

    Attributes:
        text: Translation, identical to the output of `translate`.
        tokens: All generated tokens, up to and including the end of the sentence.
        attention: Attention weights, with one row for each token.
    """

    text: str
    tokens: tuple[Token, ...]
    attention: Attention


def attend(loaded: ModelFolder, row: Item) -> Attended:
    """Translate a clip and return the attention of each generated token.

    Args:
        loaded: Model folder, including its decoding settings.
        row: Features, prompts and decoder prompt of the clip; labels are ignored.

    Raises:
        InputError: If the language model does not return its attention or the clip does not fit.
    """
    recipe, text = loaded.recipe, loaded.text
    # Apply the recipe's truncation and ablation, so that the model sees what it sees in evaluation.
    row = replace(row, streams=truncate(row.streams, recipe.effective_batch))
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
    # Trim only after `text.decode`, which reads the untrimmed ids as `evaluate` does.
    ids = _until_the_end(ids, len(forced), text.vocabulary.eos_id)
    # Teacher forcing on the generated ids gives the attention of every token in one forward pass.
    (found,) = attention(loaded.model, _teaching(batch, ids))
    return Attended(said, tuple(_tokens(text, ids, len(forced))), found)


def row_of(loaded: ModelFolder, store: Store, record: ClipRecord) -> Item:
    """Return a clip of the store in the form in which evaluation feeds it to the model.

    If the model normally reads its own sentences as context, the references of the preceding clips
    are used instead, as in teacher forcing.

    Raises:
        InputError: If a prompt cannot be built or the recipe's prepared sentences lack one.
    """
    recipe, split = loaded.recipe, record.clip.split
    context = Context(store.records(split), recipe.context)
    lines: Sequence[str] = ()
    if recipe.context.is_used and recipe.context.decoding_context != "none":
        said = prepared_sentences(recipe.context, split) or reference_texts(store.records(split))
        lines = context.lines(record, said)
    prompter = PromptBuilder(loaded.text, recipe.prompt_settings)
    tokens = prompter.tokens(record.clip, Example.translation(record.clip), lines)
    return Item(record.clip.id, store.features(record), tokens)


def _until_the_end(ids: Sequence[int], forced: int, end: int) -> list[int]:
    """Return `ids` without the padding after the end token; a decoder prompt is kept whole.

    The padding token may be the same as the end token (Llama), so the first one ends the sentence.
    """
    # Search only after the decoder prompt, which may itself contain the end token.
    stop = next((place for place in range(forced, len(ids)) if ids[place] == end), len(ids) - 1)
    return list(ids[: stop + 1])


def _teaching(batch: Batch, ids: Sequence[int]) -> Batch:
    """Return the batch with the generated tokens as labels."""
    return replace(batch, labels_BL=torch.tensor([ids], device=batch.labels_BL.device))


def _tokens(text: TextTokenizer, ids: Sequence[int], forced: int) -> list[Token]:
    """Convert token ids to `Token` objects; the first `forced` ids belong to the decoder prompt."""
    pieces = text.tokenizer.convert_ids_to_tokens(list(ids))
    return [
        Token(number, _shown(text, piece), place < forced)
        for place, (number, piece) in enumerate(zip(ids, pieces, strict=True))
    ]


def _shown(text: TextTokenizer, piece: str) -> str:
    """Return a tokenizer piece in readable form."""
    # A piece that is only whitespace decodes to an empty text; show the raw piece instead.
    words = str(text.tokenizer.convert_tokens_to_string([piece])).strip() or piece
    return f" {words}" if piece.startswith(_BEGINS) else words
