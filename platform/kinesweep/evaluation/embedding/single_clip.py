"""Decoding of a single clip, with its tokens as labels for a second pass through the model.

The clip is decoded as in `evaluate` and `translate`. Teacher forcing on the generated tokens then
gives what the model computed for each of them, such as its attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.core.batch import Batch
from kinesweep.core.errors import InputError
from kinesweep.data.collate import BatchItem, collate
from kinesweep.data.length_limits import truncate_streams
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.evaluation.decoding import build_decoding_arguments

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
class DecodedClip:
    """A clip that was translated alone.

    Attributes:
        text: Translation, identical to the output of `translate`.
        tokens: All generated tokens, up to and including the end of the sentence.
        batch: Batch of the clip, with the tokens as its labels.
    """

    text: str
    tokens: tuple[GeneratedToken, ...]
    batch: Batch


def decode_item(
    loaded_model: LoadedModel, item: BatchItem, sampling_key: str | None = None
) -> DecodedClip:
    """Decode a clip alone, with truncation and ablation as in an evaluation.

    Args:
        loaded_model: Model with its tokenizer and recipe, including the decoding settings.
        item: Features, prompts and decoder prompt of the clip; labels are ignored.
        sampling_key: Name of the clip in the draws of sampling; None: its id.

    Raises:
        InputError: If the clip does not fit into the positions of the language model.
    """
    tokenizer, generation = loaded_model.tokenizer, loaded_model.recipe.generation
    batch = _collate_clip(loaded_model, item)
    (token_ids,) = _generate(loaded_model, batch, sampling_key or item.clip_id)
    forced_ids = item.tokens.forced
    translation = tokenizer.decode(token_ids, forced_ids, generation.truecase)
    # Trim only after `tokenizer.decode`, which reads the untrimmed ids as `evaluate` does.
    token_ids = _trim_after_end(token_ids, len(forced_ids), tokenizer.vocabulary.eos_id)
    tokens = _build_tokens(tokenizer, token_ids, len(forced_ids))
    return DecodedClip(translation, tuple(tokens), _set_labels(batch, token_ids))


@dataclass(frozen=True)
class AlternativeText:
    """One of the best texts of a clip.

    Attributes:
        text: Text as `translate` formats it.
        score: Mean log-probability of its tokens, natural logarithm, with those of the decoder
            prompt and of the end of the sentence.
    """

    text: str
    score: float


def decode_alternatives(
    loaded_model: LoadedModel, item: BatchItem, num_texts: int, sampling_key: str | None = None
) -> list[AlternativeText]:
    """Decode the best texts of a clip, in the order of beam search; the first is its translation.

    A length penalty can make the order differ from that of the scores.

    Args:
        loaded_model: Model with its tokenizer and recipe, including the decoding settings.
        item: Features, prompts and decoder prompt of the clip; labels are ignored.
        num_texts: Number of texts, at most the number of beams. Fewer are returned if some are
            equal.
        sampling_key: Name of the clip in the draws of sampling; None: its id.

    Raises:
        InputError: If more texts than beams are requested, or the clip does not fit into the
            positions of the language model.
    """
    generation, tokenizer = loaded_model.recipe.generation, loaded_model.tokenizer
    if not 1 <= num_texts <= generation.num_beams:
        raise InputError(
            f"`alternatives` is {num_texts}, but must be from 1 to the number of beams"
            f" ({generation.num_beams}); set `num_beams` too"
        )
    batch = _collate_clip(loaded_model, item)
    forced_ids = item.tokens.forced
    alternatives: dict[str, AlternativeText] = {}
    for token_ids in _generate(loaded_model, batch, sampling_key or item.clip_id, num_texts):
        text = tokenizer.decode(token_ids, forced_ids, generation.truecase)
        token_ids = _trim_after_end(token_ids, len(forced_ids), tokenizer.vocabulary.eos_id)
        sums = loaded_model.model.compute_token_sums(_set_labels(batch, token_ids))
        score = -sums.loss / max(1, sums.num_tokens)
        alternatives.setdefault(text, AlternativeText(text, score))
    return list(alternatives.values())


def _collate_clip(loaded_model: LoadedModel, item: BatchItem) -> Batch:
    """Collate a clip to a batch on the device of the model.

    Truncation and ablation of the recipe are applied, so that the model sees what it sees in
    evaluation.

    Args:
        loaded_model: Model with its tokenizer and recipe.
        item: Features, prompts and decoder prompt of the clip.
    """
    recipe = loaded_model.recipe
    item = replace(item, streams=truncate_streams(item.streams, recipe.effective_batch))
    pad_id = loaded_model.tokenizer.vocabulary.pad_id
    return collate([item], pad_id, recipe.batch.ablation == "zeros").to(loaded_model.model.device)


def _generate(
    loaded_model: LoadedModel, batch: Batch, sampling_key: str, num_texts: int = 1
) -> list[list[int]]:
    """Generate the token ids of the best texts of a batch of one clip, the best first.

    Args:
        loaded_model: Model with its recipe, whose decoding settings are used.
        batch: Batch of one clip on the device of the model.
        sampling_key: Name of the clip in the draws of sampling.
        num_texts: Number of texts, at most the number of beams.

    Returns:
        Ids of each text, padded to the longest.

    Raises:
        InputError: If the clip does not fit into the positions of the language model.
    """
    generation = loaded_model.recipe.generation
    arguments = build_decoding_arguments(generation, generation.num_beams, [sampling_key])
    arguments["options"] = replace(arguments["options"], num_texts=num_texts)
    return loaded_model.model.generate(
        **batch.get_generate_kwargs(),
        forced_ids=batch.forced_ids_BF,
        forced_mask=batch.forced_mask_BF,
        **arguments,
    ).tolist()


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
