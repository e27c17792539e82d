"""Decoding: what is asked for and nothing else.

The folder of a pretrained model brings its own habits (forced first tokens, beams, n-gram bans) and
Hugging Face merges them into every call; here the configuration is made anew, so the beams asked
for are the beams used. Decoder prompts of different lengths are forced row by row in one batch; a
predecessor generated such batches one clip at a time.

Shapes: B clips, K beams, N vectors, E width, L tokens, F forced tokens, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)


@dataclass(frozen=True)
class Decoding:
    """How text is decoded.

    Attributes:
        num_beams: 1 is greedy.
        max_new_tokens: at the most, forced prompt and end of sentence included.
        length_penalty: exponent of the length; only beams use it.
        num_tokens: ids from here on are never written: rows of the embeddings without a token.
        forced_ids_BF: first tokens of each row.
        forced_mask_BF: which of them are real; padding on the right.
    """

    num_beams: int
    max_new_tokens: int
    length_penalty: float
    num_tokens: int
    forced_ids_BF: Tensor | None = None
    forced_mask_BF: Tensor | None = None


class ForcedPrompt(LogitsProcessor):
    """Leaves each row one choice while its prompt lasts.

    Rows of one clip's beams stand together, so row r belongs to clip r // K.

    Args:
        ids_BF: prompts, int64.
        mask_BF: bool, True on the left only.
        num_before: tokens of a row that precede its prompt: the start token of an encoder-decoder.
    """

    def __init__(self, ids_BF: Tensor, mask_BF: Tensor, num_before: int = 1) -> None:
        self._ids_BF = ids_BF
        self._num_before = num_before
        self._lengths_B = mask_BF.sum(dim=1)
        self._longest = int(self._lengths_B.max()) if mask_BF.numel() else 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores with the forced token at 0 and every other at minus infinity."""
        position = input_ids.shape[1] - self._num_before
        if position >= self._longest:
            return scores
        beams = scores.shape[0] // self._ids_BF.shape[0]
        ids_R = self._ids_BF[:, position].repeat_interleave(beams)
        is_forced_R = (position < self._lengths_B).repeat_interleave(beams)
        forced_RV = torch.full_like(scores, -torch.inf).scatter_(1, ids_R[:, None], 0.0)
        return torch.where(is_forced_R[:, None], forced_RV, scores)


class OnlyTokens(LogitsProcessor):
    """Forbids ids that no token stands for.

    Args:
        num_tokens: the first such id.
    """

    def __init__(self, num_tokens: int) -> None:
        self._num_tokens = num_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores with those ids at minus infinity."""
        scores[:, self._num_tokens :] = -torch.inf
        return scores


class BeamCache(EncoderDecoderCache):
    """Keys and values during decoding.

    All beams of a clip look at the same encoder output, so following a beam moves only the
    decoder's own part.
    """

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Lets each row go on from the row `beam_idx` names."""
        self.self_attention_cache.reorder_cache(beam_idx)


def decode(model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: Decoding) -> Tensor:
    """Token ids without the start token, padded after the end. Returns (B, L).

    Args:
        model: a Hugging Face encoder-decoder.
        x_BNE: the encoder's input.
        mask_BN: bool.
        decoding: how.
    """
    config = model.config
    ids_BL = _generate(
        model,
        x_BNE,
        mask_BN,
        decoding,
        num_before=1,
        past_key_values=BeamCache(DynamicCache(config=config), DynamicCache(config=config)),
    )
    return _padded_after_end(ids_BL[:, 1:], config.eos_token_id, config.pad_token_id)


def continue_text(
    model: PreTrainedModel, x_BNE: Tensor, mask_BN: Tensor, decoding: Decoding
) -> Tensor:
    """Token ids that follow the vectors, padded after the end. Returns (B, L).

    Args:
        model: a Hugging Face causal language model.
        x_BNE: what precedes the text, padded on the left.
        mask_BN: bool.
        decoding: how.
    """
    ids_BL = _generate(model, x_BNE, mask_BN, decoding, num_before=0)
    return _padded_after_end(ids_BL, model.config.eos_token_id, _pad_id(model))


def _generate(
    model: PreTrainedModel,
    x_BNE: Tensor,
    mask_BN: Tensor,
    decoding: Decoding,
    num_before: int,
    **cache: EncoderDecoderCache,
) -> Tensor:
    """Hugging Face's search, told all and only what is asked."""
    processors = LogitsProcessorList()
    if decoding.num_tokens < model.config.vocab_size:
        processors.append(OnlyTokens(decoding.num_tokens))
    if decoding.forced_ids_BF is not None and decoding.forced_mask_BF is not None:
        processors.append(ForcedPrompt(decoding.forced_ids_BF, decoding.forced_mask_BF, num_before))
    # The model's own configuration would be merged into ours; ours is whole.
    model.generation_config = GenerationConfig()
    return model.generate(
        inputs_embeds=x_BNE,
        attention_mask=mask_BN.long(),
        generation_config=_generation_config(model, decoding),
        logits_processor=processors,
        **cache,
    )


def _pad_id(model: PreTrainedModel) -> int:
    """Padding; the end of a sentence where it stands in for it."""
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    return int(end if pad is None else pad)


def _generation_config(model: PreTrainedModel, decoding: Decoding) -> GenerationConfig:
    """Hugging Face's words for it."""
    beam_keys = {"length_penalty": decoding.length_penalty} if decoding.num_beams > 1 else {}
    return GenerationConfig(
        num_beams=decoding.num_beams,
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        pad_token_id=_pad_id(model),
        bos_token_id=model.config.bos_token_id,
        eos_token_id=model.config.eos_token_id,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        **beam_keys,
    )


def _padded_after_end(ids_BL: Tensor, eos_id: int, pad_id: int) -> Tensor:
    """Padding behind the first end of sentence; beam search fills with other ids when pad is 0."""
    ended_BL = (ids_BL == eos_id).cumsum(dim=1)
    return ids_BL.masked_fill((ended_BL - (ids_BL == eos_id).long()) > 0, pad_id)
