"""Model cost: number of trained parameters and decoding time per sentence."""

import time

from kinesweep.checkpoints.model_dir import ModelFolder
from kinesweep.evaluation.decoding import decode
from kinesweep.evaluation.evaluate import EvalSet
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store

# Number of clips decoded for the time measurement.
_CLIPS = 32


def num_trained(model: Translator) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def decode_ms(loaded: ModelFolder, store: Store) -> float:
    """Measure the decoding time in milliseconds per sentence on one worker.

    Decodes in batches with the recipe's generation settings. This is a collective call.

    Returns:
        Milliseconds per sentence; 0 if this rank has no clips.
    """
    recipe = loaded.recipe
    data = EvalSet(
        store,
        "validation",
        loaded.text,
        recipe.evaluation,
        recipe.effective_batch,
        _CLIPS,
        recipe.prompt_settings,
    )
    num_clips = sum(len(batch.clip_ids) for batch in data.batches)
    loaded.model.eval()
    # `decode` builds each batch again, so the time includes reading the features.
    started = time.perf_counter()
    decode(loaded.model, data.text, data.batches, recipe.generation.num_beams, recipe.generation)
    seconds = time.perf_counter() - started
    return 1000 * seconds / num_clips if num_clips else 0.0
