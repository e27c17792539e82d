"""Translation of one clip together with the attention of each generated token.

The clip is decoded as in `evaluate` and `translate`. Its tokens then pass through the model once
more with attention weights returned (`models.attention_maps`). Both passes use the recipe of the
model folder, so the text is the one that the model generates in normal use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.core.batch import Batch
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.collate import BatchItem, collate
from kinesweep.data.context import DocumentContext, get_first_references
from kinesweep.data.length_limits import truncate_streams
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.tasks.questions import Example
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.decoding import build_decoding_arguments
from kinesweep.evaluation.eval_set import load_context_sentences
from kinesweep.models.attention_maps import AttentionMap, compute_attention_maps
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

# Prefixes of pieces that follow a space, in SentencePiece and in byte-level BPE.
_WORD_START_PREFIXES = ("▁", "Ġ")


@dataclass(frozen=True)
class GeneratedToken:
    """One generated token.

    Attributes:
        id: Id of the token in the vocabulary.
        text: Readable form, with a leading space where the token starts a word.
        forced: Whether the decoder prompt fixed this token.
    """

    id: int
    text: str
    forced: bool


@dataclass(frozen=True)
class TranslationWithAttention:
    """The translation of a clip with its attention weights.

    Attributes:
        text: Translation, identical to the output of `translate`.
        tokens: All generated tokens, up to and including the end of the sentence.
        attention: Attention weights, with one row for each token.
    """

    text: str
    tokens: tuple[GeneratedToken, ...]
    attention: AttentionMap


def translate_with_attention(
    loaded_model: LoadedModel, item: BatchItem
) -> TranslationWithAttention:
    """Translate a clip and compute the attention of each generated token.

    Truncation and ablation of the recipe are applied to the features first.

    Args:
        loaded_model: Model with its tokenizer and recipe, including the decoding settings.
        item: Features, prompts and decoder prompt of the clip; labels are ignored.

    Raises:
        InputError: If the language model does not return its attention or the clip does not fit
            into its positions.
    """
    recipe, tokenizer = loaded_model.recipe, loaded_model.tokenizer
    # Apply the recipe's truncation and ablation, so that the model sees what it sees in evaluation.
    item = replace(item, streams=truncate_streams(item.streams, recipe.effective_batch))
    zero_features = recipe.batch.ablation == "zeros"
    batch = collate([item], tokenizer.vocabulary.pad_id, zero_features).to(
        loaded_model.model.device
    )
    generation = recipe.generation
    token_ids = loaded_model.model.generate(
        **batch.get_generate_kwargs(),
        forced_ids=batch.forced_ids_BF,
        forced_mask=batch.forced_mask_BF,
        **build_decoding_arguments(generation, generation.num_beams, batch.clip_ids),
    )[0].tolist()
    forced_ids = item.tokens.forced
    translation = tokenizer.decode(token_ids, forced_ids, generation.truecase)
    # Trim only after `tokenizer.decode`, which reads the untrimmed ids as `evaluate` does.
    token_ids = _trim_after_end(token_ids, len(forced_ids), tokenizer.vocabulary.eos_id)
    # Teacher forcing on the generated ids gives the attention of every token in one forward pass.
    (attention_map,) = compute_attention_maps(loaded_model.model, _set_labels(batch, token_ids))
    tokens = _build_tokens(tokenizer, token_ids, len(forced_ids))
    return TranslationWithAttention(translation, tuple(tokens), attention_map)


def build_item(loaded_model: LoadedModel, store: Store, record: ClipRecord) -> BatchItem:
    """Build the model input of a clip of the store, as evaluation does.

    If the model normally reads its own sentences as context, the references of the preceding clips
    are used instead, as in teacher forcing.

    Args:
        loaded_model: Model with its tokenizer and recipe.
        store: Store that contains the clip.
        record: Clip.

    Raises:
        InputError: If a prompt cannot be built, or the predictions that the recipe uses as context
            cannot be read or lack a preceding clip.
    """
    recipe, split = loaded_model.recipe, record.clip.split
    context = DocumentContext(store.get_records(split), recipe.context)
    context_sentences: Sequence[str] = ()
    if recipe.context.is_enabled and recipe.context.decoding_context != "none":
        sentences = load_context_sentences(recipe.context, split) or get_first_references(
            store.get_records(split)
        )
        context_sentences = context.get_sentences(record, sentences)
    prompt_builder = PromptBuilder(loaded_model.tokenizer, recipe.prompt_settings)
    tokens = prompt_builder.build_tokens(
        record.clip, Example.from_clip(record.clip), context_sentences
    )
    streams = fill_absent_streams(store.get_features(record), store.schema.streams)
    return BatchItem(record.clip.id, streams, tokens)


def _trim_after_end(ids: Sequence[int], num_forced: int, eos_id: int) -> list[int]:
    """Return the ids up to and including the first end token after the decoder prompt.

    The padding token may be the same as the end token (Llama), so the first one ends the sentence.

    Args:
        ids: Token ids of the decoder prompt, the sentence and the padding.
        num_forced: Number of ids of the decoder prompt, which are all kept.
        eos_id: Id of the end token.
    """
    # Search only after the decoder prompt, which may itself contain the end token.
    last_index = next(
        (index for index in range(num_forced, len(ids)) if ids[index] == eos_id), len(ids) - 1
    )
    return list(ids[: last_index + 1])


def _set_labels(batch: Batch, ids: Sequence[int]) -> Batch:
    """Return a batch of one clip with the generated token ids as labels, for teacher forcing."""
    return replace(batch, labels_BL=torch.tensor([ids], device=batch.labels_BL.device))


def _build_tokens(
    tokenizer: TextTokenizer, ids: Sequence[int], num_forced: int
) -> list[GeneratedToken]:
    """Build a `GeneratedToken` for each id; the first `num_forced` ids are the decoder prompt."""
    pieces = tokenizer.tokenizer.convert_ids_to_tokens(list(ids))
    return [
        GeneratedToken(token_id, _format_piece(tokenizer, piece), index < num_forced)
        for index, (token_id, piece) in enumerate(zip(ids, pieces, strict=True))
    ]


def _format_piece(tokenizer: TextTokenizer, piece: str) -> str:
    """Return a tokenizer piece as readable text, with a leading space where it starts a word."""
    # A piece that is only whitespace decodes to an empty text; show the raw piece instead.
    readable_text = str(tokenizer.tokenizer.convert_tokens_to_string([piece])).strip() or piece
    return f" {readable_text}" if piece.startswith(_WORD_START_PREFIXES) else readable_text
