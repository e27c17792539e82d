"""Translation of one clip together with the attention of each generated token.

The clip is decoded as in `evaluate` and `translate`. Its tokens then pass through the model once
more with attention weights returned (`models.attention_maps`). Both passes use the recipe of the
model folder, so the text is the one that the model generates in normal use.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.collate import BatchItem
from kinesweep.data.context import DocumentContext, get_first_references
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.tasks.questions import Example
from kinesweep.evaluation.embedding.single_clip import GeneratedToken, decode_item
from kinesweep.evaluation.eval_set import load_context_sentences
from kinesweep.models.attention_maps import AttentionMap, compute_attention_maps
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store

__all__ = ["GeneratedToken", "TranslationWithAttention", "build_item", "translate_with_attention"]


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
    decoded = decode_item(loaded_model, item)
    # Teacher forcing on the generated ids gives the attention of every token in one forward pass.
    (attention_map,) = compute_attention_maps(loaded_model.model, decoded.batch)
    return TranslationWithAttention(decoded.text, decoded.tokens, attention_map)


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
