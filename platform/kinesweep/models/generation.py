"""Decoding with exactly the requested settings.

The folder of a pretrained model comes with its own generation settings (forced first tokens, beams,
n-gram bans), which Hugging Face merges into every call. Here the generation config is created from
scratch, so the number of beams requested is the number used. Decoder prompts of different lengths
are forced row by row within one batch; a predecessor generated such batches one clip at a time.

Shapes: B clips, K beams, N vectors, E width, L tokens, F forced tokens, V vocabulary.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import (
    EncoderDecoderCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
)
from transformers.modeling_outputs import BaseModelOutput

from kinesweep.models.logits.decoding_cache import build_beam_cache
from kinesweep.models.logits.sampling import SamplingLogitsProcessor, SamplingSettings
from kinesweep.models.logits.text_restrictions import (
    MinTextLengthLogitsProcessor,
    TextOnlyLogitsProcessor,
)


@dataclass(frozen=True)
class TextOptions:
    """The options of a text beyond plain greedy decoding and beam search.

    Attributes:
        min_new_tokens: Smallest number of tokens, without forced prompt and end of sentence.
        repetition_penalty: Factor by which the logits of tokens in the text are lowered; 1: none.
        no_repeat_ngram_size: Length of token sequences that occur at most once; 0: no limit.
        sampling: Settings of sampling, for a single beam; None: the most probable text.
        num_texts: Number of texts of each clip, the best beams in their order; at most the beams.
        static_cache: Whether the cache of keys and values has its final size from the start.
    """

    min_new_tokens: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    sampling: SamplingSettings | None = None
    num_texts: int = 1
    static_cache: bool = False


@dataclass(frozen=True)
class DecodingSettings:
    """The settings of decoding.

    Attributes:
        num_beams: Number of beams; 1 is greedy decoding.
        max_new_tokens: Maximum number of tokens, including the forced prompt and end of sentence.
        length_penalty: Exponent of the length; used by beam search only.
        num_tokens: Number of tokens of the tokenizer. Ids from here on are never generated: they
            are rows of the embeddings without a token.
        forced_ids_BF: Tokens that each text must begin with; None: no text is forced.
        forced_mask_BF: True for real forced tokens; padding is on the right.
        options: Smallest length, penalties on repetition, and sampling.
    """

    num_beams: int
    max_new_tokens: int
    length_penalty: float
    num_tokens: int
    forced_ids_BF: Tensor | None = None
    forced_mask_BF: Tensor | None = None
    options: TextOptions = field(default_factory=TextOptions)


class ForcedPromptLogitsProcessor(LogitsProcessor):
    """A logits processor that forces the tokens of each row's prompt.

    The beams of one clip are adjacent rows, so row r belongs to clip r // K.

    Args:
        ids_BF: Prompts, int64.
        mask_BF: True for real tokens, which are on the left.
        num_before: Tokens of a row that precede its prompt, such as an encoder-decoder's start
            token.
    """

    def __init__(self, ids_BF: Tensor, mask_BF: Tensor, num_before: int = 1) -> None:
        self._ids_BF = ids_BF
        self._num_before = num_before
        self._lengths_B = mask_BF.sum(dim=1)
        self._longest = int(self._lengths_B.max()) if mask_BF.numel() else 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set the score of a row's forced token to 0 and its other scores to minus infinity.

        Rows whose prompt is already complete keep their scores.
        """
        position = input_ids.shape[1] - self._num_before
        if position >= self._longest:
            return scores
        # The batch has B * K rows in beam search; K is not passed to a processor.
        num_beams = scores.shape[0] // self._ids_BF.shape[0]
        ids_R = self._ids_BF[:, position].repeat_interleave(num_beams)
        is_forced_R = (position < self._lengths_B).repeat_interleave(num_beams)
        forced_RV = torch.full_like(scores, -torch.inf).scatter_(1, ids_R[:, None], 0.0)
        return torch.where(is_forced_R[:, None], forced_RV, scores)


class UnusedTokenLogitsProcessor(LogitsProcessor):
    """A logits processor that forbids ids without a token.

    Args:
        num_tokens: Smallest forbidden id.
    """

    def __init__(self, num_tokens: int) -> None:
        self._num_tokens = num_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set the scores of ids without a token to minus infinity, in place."""
        scores[:, self._num_tokens :] = -torch.inf
        return scores


def decode_seq2seq(
    model: PreTrainedModel,
    x_BNE: Tensor,
    mask_BN: Tensor,
    decoding: DecodingSettings,
    *,
    is_encoded: bool = False,
) -> Tensor:
    """Generate with an encoder-decoder.

    Args:
        model: Hugging Face encoder-decoder; its own generation config is emptied.
        x_BNE: Input vectors of the encoder.
        mask_BN: True for real vectors.
        decoding: Decoding settings.
        is_encoded: Whether the vectors are the encoder's output, which the decoder attends to.

    Returns:
        Token ids (B, L) without the start token, padded after the end of sentence.
    """
    config = model.config
    ids_BL = _run_generation(
        model,
        x_BNE,
        mask_BN,
        decoding,
        num_before=1,
        is_encoded=is_encoded,
        past_key_values=build_beam_cache(
            config, decoding.options.static_cache, decoding.max_new_tokens, x_BNE.shape[1]
        ),
    )
    # The first id is the start token of the decoder, which is not part of the text.
    return _pad_after_eos(ids_BL[:, 1:], config.eos_token_id, config.pad_token_id)


def decode_causal(
    model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: DecodingSettings
) -> Tensor:
    """Generate the continuation of the input vectors with a causal language model.

    Args:
        model: Hugging Face causal language model; its own generation config is emptied.
        x_BNE: Input vectors, padded on the left.
        mask_BN: True for real vectors.
        decoding: Decoding settings.

    Returns:
        Token ids (B, L) that follow the vectors, padded after the end of sentence.
    """
    # With `inputs_embeds` alone Hugging Face returns the new tokens only, so none precede them.
    ids_BL = _run_generation(model, x_BNE, mask_BN, decoding, num_before=0)
    return _pad_after_eos(ids_BL, model.config.eos_token_id, _get_pad_id(model))


def _run_generation(
    model: PreTrainedModel,
    x_BNE: Tensor,
    mask_BN: Tensor,
    decoding: DecodingSettings,
    num_before: int,
    *,
    is_encoded: bool = False,
    **cache: EncoderDecoderCache,
) -> Tensor:
    """Run Hugging Face's `generate` with exactly these settings.

    Args:
        model: Hugging Face model; its own generation config is replaced by an empty one.
        x_BNE: Input vectors.
        mask_BN: True for real vectors.
        decoding: Decoding settings.
        num_before: Number of tokens that precede the forced prompt in each row.
        is_encoded: Whether the vectors are the output of an encoder-decoder's encoder.
        **cache: `past_key_values`, if Hugging Face's own cache is not to be used.

    Returns:
        Token ids, including the tokens that precede the prompt.
    """
    # Hugging Face merges the model's own generation config into ours, so empty it first.
    model.generation_config = GenerationConfig()
    inputs: dict[str, Any] = {"inputs_embeds": x_BNE}
    if is_encoded:
        inputs = {"encoder_outputs": BaseModelOutput(x_BNE)}
    return model.generate(
        **inputs,
        attention_mask=mask_BN.long(),
        generation_config=_build_generation_config(model, decoding),
        logits_processor=_build_processors(model, decoding, num_before),
        **cache,
    )


def _build_processors(
    model: PreTrainedModel, decoding: DecodingSettings, num_before: int
) -> LogitsProcessorList:
    """Build the processors of the next token's scores, in the order in which they are applied."""
    processors, options = LogitsProcessorList(), decoding.options
    # Embedding tables can have more rows than the tokenizer has tokens.
    if decoding.num_tokens < model.config.vocab_size:
        processors.append(UnusedTokenLogitsProcessor(decoding.num_tokens))
    if options.repetition_penalty != 1:
        penalty = RepetitionPenaltyLogitsProcessor(options.repetition_penalty)
        processors.append(TextOnlyLogitsProcessor(penalty, num_before))
    if options.no_repeat_ngram_size:
        ban = NoRepeatNGramLogitsProcessor(options.no_repeat_ngram_size)
        processors.append(TextOnlyLogitsProcessor(ban, num_before))
    if options.min_new_tokens:
        eos_id, mask_BF = model.config.eos_token_id, decoding.forced_mask_BF
        processors.append(
            MinTextLengthLogitsProcessor(options.min_new_tokens, eos_id, num_before, mask_BF)
        )
    # After the restrictions, because a prompt is forced even if it contains the end of sentence.
    if decoding.forced_ids_BF is not None and decoding.forced_mask_BF is not None:
        processors.append(
            ForcedPromptLogitsProcessor(decoding.forced_ids_BF, decoding.forced_mask_BF, num_before)
        )
    if options.sampling is not None:
        processors.append(SamplingLogitsProcessor(options.sampling, num_before))
    return processors


def _get_pad_id(model: PreTrainedModel) -> int:
    """Return the id of the padding token, or of the end of sentence if the model has none."""
    pad_id, eos_id = model.config.pad_token_id, model.config.eos_token_id
    return int(eos_id if pad_id is None else pad_id)


def _build_generation_config(
    model: PreTrainedModel, decoding: DecodingSettings
) -> GenerationConfig:
    """Build Hugging Face's generation config from the settings and the model's special tokens."""
    # Hugging Face warns about beam settings in greedy decoding.
    beam_keys = {"length_penalty": decoding.length_penalty} if decoding.num_beams > 1 else {}
    # The cache of an encoder-decoder is passed to `generate`, where it counts instead.
    is_static = decoding.options.static_cache and not model.config.is_encoder_decoder
    cache_keys = {"cache_implementation": "static"} if is_static else {}
    return GenerationConfig(
        num_beams=decoding.num_beams,
        num_return_sequences=decoding.options.num_texts,
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        pad_token_id=_get_pad_id(model),
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        **beam_keys,
        **cache_keys,
    )


def _pad_after_eos(ids_BL: Tensor, eos_id: int, pad_id: int) -> Tensor:
    """Replace everything after the first end of sentence with padding.

    Beam search fills finished rows with other ids if the padding id is 0.
    """
    eos_count_BL = (ids_BL == eos_id).cumsum(dim=1)
    # Subtracting its own flag keeps the first end of sentence.
    return ids_BL.masked_fill((eos_count_BL - (ids_BL == eos_id).long()) > 0, pad_id)
