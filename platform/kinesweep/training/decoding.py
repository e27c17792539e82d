"""From batches to sentences, keyed by clip id.

Ranks hold different batches of one fixed list; what they say is gathered and put in the list's
order, so scores do not depend on how many workers took part.
"""

from collections.abc import Sequence

import torch

from kinesweep.batches.evaluation import FixedBatches
from kinesweep.batches.text import Text
from kinesweep.core.batch import Batch
from kinesweep.core.recipe.training import GenerationConfig
from kinesweep.models.translator import Translator
from kinesweep.training.ranks import gather, rank_and_world


@torch.no_grad()
def decode(
    model: Translator,
    text: Text,
    batches: FixedBatches,
    num_beams: int,
    generation: GenerationConfig,
) -> dict[str, str]:
    """Sentences of all ranks' batches, clip id → text, on every rank; wave after wave."""
    said: dict[str, str] = {}
    for wave in batches.waves:
        own: dict[str, str] = {}
        for index in wave:
            own |= _sentences(model, text, batches.after(index, said), num_beams, generation)
        said |= {clip_id: line for part in gather(own) for clip_id, line in part.items()}
    return said


def _sentences(
    model: Translator, text: Text, batch: Batch, num_beams: int, generation: GenerationConfig
) -> dict[str, str]:
    """Sentences of one batch."""
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
    """How well a model guesses each token when given the true ones before it.

    Sums are added in the order of the whole list: float addition depends on it.

    Returns:
        Over all ranks' batches, padding left out: `token_loss`, unsmoothed cross entropy a token in
        nats; `token_accuracy`, per cent of tokens that the model would have chosen.
    """
    rank, world = rank_and_world()
    own = [
        (index * world + rank, model.token_sums(batch.to(model.device)))
        for index, batch in enumerate(batches)
    ]
    parts = sorted(part for parts in gather(own) for part in parts)
    num = max(1, sum(sums.num for _, sums in parts))
    loss = sum(sums.loss for _, sums in parts)
    right = sum(sums.right for _, sums in parts)
    return {"token_loss": loss / num, "token_accuracy": 100 * right / num}
