"""What a model costs: trained weights, and milliseconds to decode a sentence."""

import time

from kinesweep.models.translator import Translator
from kinesweep.store.reader import Store
from kinesweep.training.decoding import decode
from kinesweep.training.evaluate import EvalSet
from kinesweep.training.model_folder import ModelFolder

_CLIPS = 32
"""Decoded to take the time."""


def num_trained(model: Translator) -> int:
    """Weights that training moves."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def decode_ms(loaded: ModelFolder, store: Store) -> float:
    """Milliseconds a sentence on one worker, in batches, as the recipe decodes; a collective.

    0 where this rank has no clips.
    """
    recipe = loaded.recipe
    data = EvalSet(
        store,
        "validation",
        loaded.text,
        recipe.evaluation,
        recipe.taken_batch,
        _CLIPS,
        recipe.asking,
    )
    num_clips = sum(len(batch.clip_ids) for batch in data.batches)
    loaded.model.eval()
    started = time.perf_counter()
    decode(loaded.model, data.text, data.batches, recipe.generation.num_beams, recipe.generation)
    seconds = time.perf_counter() - started
    return 1000 * seconds / num_clips if num_clips else 0.0
