"""Decoding of batches to sentences, keyed by clip id.

Ranks hold different batches of one fixed list. Their outputs are gathered and put into the order of
the list, so scores do not depend on the number of workers.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.core.batch import Batch
from kinesweep.core.collectives import all_gather, get_rank_and_world_size
from kinesweep.data.evaluation import FixedBatches
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.models.generation import TextOptions
from kinesweep.models.logits.sampling import SamplingSettings
from kinesweep.models.translator import Translator


@dataclass
class DecodeTimer:
    """The decoding time of one rank, without waiting for other ranks.

    Attributes:
        seconds: Time for reading and decoding the batches of this rank.
        num_clips: Number of clips of this rank.
    """

    seconds: float = 0.0
    num_clips: int = 0


@torch.no_grad()
def decode_batches(
    model: Translator,
    tokenizer: TextTokenizer,
    batches: FixedBatches,
    num_beams: int,
    generation: GenerationConfig,
    timer: DecodeTimer | None = None,
    *,
    sampling_keys: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Decode the batches of all ranks into sentences; a collective call.

    Batches are decoded wave by wave, because the sentences of one wave may serve as context in the
    next one (see `data.evaluation`).

    Args:
        model: Translator in evaluation mode.
        tokenizer: Tokenizer that converts generated ids to text.
        batches: Batches of this rank.
        num_beams: Number of beams; overrides `generation.num_beams`.
        generation: Remaining generation settings.
        timer: Receives the clips and the time of this rank; None measures nothing.
        sampling_keys: Clip id → name of the clip in the draws of sampling; None: its id.

    Returns:
        Clip id → generated sentence for the clips of all ranks, the same on every rank.
    """
    hypotheses: dict[str, str] = {}
    for wave in batches.waves:
        rank_hypotheses: dict[str, str] = {}
        start_time = time.perf_counter()
        for index in wave:
            rank_hypotheses |= _decode_batch(
                model,
                tokenizer,
                batches.get_batch_with_context(index, hypotheses),
                num_beams,
                generation,
                sampling_keys,
            )
        if timer is not None:
            # Before the exchange below, which waits for the slowest rank.
            timer.seconds += time.perf_counter() - start_time
            timer.num_clips += len(rank_hypotheses)
        # Every rank needs the sentences of all ranks: the next wave may use them as context.
        for gathered_hypotheses in all_gather(rank_hypotheses):
            hypotheses |= gathered_hypotheses
    return hypotheses


def _decode_batch(
    model: Translator,
    tokenizer: TextTokenizer,
    batch: Batch,
    num_beams: int,
    generation: GenerationConfig,
    sampling_keys: Mapping[str, str] | None,
) -> dict[str, str]:
    """Decode one batch and return clip id → generated sentence."""
    device_batch = batch.to(model.device)
    keys = [(sampling_keys or {}).get(clip_id, clip_id) for clip_id in batch.clip_ids]
    ids_BL = model.generate(
        **device_batch.get_generate_kwargs(),
        forced_ids=device_batch.forced_ids_BF,
        forced_mask=device_batch.forced_mask_BF,
        **build_decoding_arguments(generation, num_beams, keys),
    ).tolist()
    hypotheses = {}
    for row, clip_id in enumerate(batch.clip_ids):
        forced_ids = batch.forced_ids_BF[row][batch.forced_mask_BF[row]].tolist()
        hypotheses[clip_id] = tokenizer.decode(ids_BL[row], forced_ids, generation.truecase)
    return hypotheses


def build_decoding_arguments(
    generation: GenerationConfig, num_beams: int, sampling_keys: Sequence[str]
) -> dict[str, Any]:
    """Build the arguments of `Translator.generate` that say how a batch is decoded.

    Args:
        generation: Generation settings.
        num_beams: Number of beams; overrides `generation.num_beams`.
        sampling_keys: Name of each clip of the batch in the draws of sampling.
    """
    sampling = SamplingSettings(
        seed=generation.seed or 0,
        keys=tuple(sampling_keys),
        temperature=generation.temperature or 1.0,
        top_k=generation.top_k,
        top_p=generation.top_p,
    )
    options = TextOptions(
        min_new_tokens=generation.min_new_tokens or 0,
        repetition_penalty=generation.repetition_penalty or 1.0,
        no_repeat_ngram_size=generation.no_repeat_ngram_size or 0,
        sampling=sampling if generation.do_sample else None,
        static_cache=generation.cache == "static",
    )
    return {
        "num_beams": num_beams,
        "max_new_tokens": generation.max_new_tokens,
        "length_penalty": generation.length_penalty,
        "options": options,
    }


@torch.no_grad()
def compute_token_scores(model: Translator, batches: Sequence[Batch]) -> dict[str, float]:
    """Compute the loss and accuracy of next-token prediction; a collective call.

    Args:
        model: Translator in evaluation mode.
        batches: Batches of this rank, with labels for teacher forcing.

    Returns:
        Scores over the batches of all ranks, without padding: `token_loss`, unsmoothed cross
        entropy per token in nats; `token_accuracy`, percentage of tokens that the model ranks
        first.
    """
    rank, world_size = get_rank_and_world_size()
    rank_sums = [
        # Batches are dealt out round-robin, so this is the position in the full list.
        (index * world_size + rank, model.compute_token_sums(batch.to(model.device)))
        for index, batch in enumerate(batches)
    ]
    # Floating-point addition depends on the order. Sort by position, so that the sums do not depend
    # on the number of workers.
    ordered_sums = sorted(
        position_and_sums for sums in all_gather(rank_sums) for position_and_sums in sums
    )
    num_tokens = max(1, sum(sums.num_tokens for _, sums in ordered_sums))
    loss = sum(sums.loss for _, sums in ordered_sums)
    num_correct = sum(sums.num_correct for _, sums in ordered_sums)
    return {"token_loss": loss / num_tokens, "token_accuracy": 100 * num_correct / num_tokens}
