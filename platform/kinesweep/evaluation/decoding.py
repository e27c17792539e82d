"""Decoding of batches to sentences, keyed by clip id.

Ranks hold different batches of one fixed list. Their outputs are gathered and put into the order of
the list, so scores do not depend on the number of workers.
"""

from collections.abc import Sequence

import torch

from kinesweep.config.recipe.training import GenerationConfig
from kinesweep.core.batch import Batch
from kinesweep.core.collectives import gather, rank_and_world
from kinesweep.data.evaluation import FixedBatches
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.models.translator import Translator


@torch.no_grad()
def decode(
    model: Translator,
    text: TextTokenizer,
    batches: FixedBatches,
    num_beams: int,
    generation: GenerationConfig,
) -> dict[str, str]:
    """Decode the batches of all ranks, one wave after another.

    Args:
        model: Translator in evaluation mode.
        text: Tokenizer.
        batches: Batches of this rank.
        num_beams: Number of beams; overrides `generation.num_beams`.
        generation: Remaining generation settings.

    Returns:
        Clip id → text of all ranks, on every rank.
    """
    said: dict[str, str] = {}
    for wave in batches.waves:
        own: dict[str, str] = {}
        for index in wave:
            own |= _sentences(model, text, batches.after(index, said), num_beams, generation)
        # Every rank needs the sentences of all ranks: the next wave may use them as context.
        said |= {clip_id: line for part in gather(own) for clip_id, line in part.items()}
    return said


def _sentences(
    model: Translator,
    text: TextTokenizer,
    batch: Batch,
    num_beams: int,
    generation: GenerationConfig,
) -> dict[str, str]:
    """Decode one batch; clip id → text."""
    here = batch.to(model.device)
    ids_BL = model.generate(
        **here.generation_inputs(),
        forced_ids=here.forced_ids_BF,
        forced_mask=here.forced_mask_BF,
        num_beams=num_beams,
        max_new_tokens=generation.max_new_tokens,
        length_penalty=generation.length_penalty,
    ).tolist()
    found = {}
    for row, clip_id in enumerate(batch.clip_ids):
        forced = batch.forced_ids_BF[row][batch.forced_mask_BF[row]].tolist()
        found[clip_id] = text.decode(ids_BL[row], forced, generation.truecase)
    return found


@torch.no_grad()
def token_scores(model: Translator, batches: Sequence[Batch]) -> dict[str, float]:
    """Compute the loss and accuracy of next-token prediction with teacher forcing.

    Returns:
        Scores over the batches of all ranks, without padding: `token_loss`, unsmoothed cross
        entropy per token in nats; `token_accuracy`, percentage of tokens that the model ranks
        first.
    """
    rank, world = rank_and_world()
    own = [
        # Batches are dealt out round-robin, so this is the position in the full list.
        (index * world + rank, model.token_sums(batch.to(model.device)))
        for index, batch in enumerate(batches)
    ]
    # Floating-point addition depends on the order. Sort by position, so that the sums do not depend
    # on the number of workers.
    parts = sorted(part for parts in gather(own) for part in parts)
    num = max(1, sum(sums.num for _, sums in parts))
    loss = sum(sums.loss for _, sums in parts)
    right = sum(sums.right for _, sums in parts)
    return {"token_loss": loss / num, "token_accuracy": 100 * right / num}
