"""Model cost: number of trained parameters and decoding time per sentence."""

import time

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.evaluation.evaluate import EvalSet
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store

# Maximum number of clips decoded for the time measurement.
_MAX_TIMED_CLIPS = 32


def count_trainable_parameters(model: Translator) -> int:
    """Count the trainable parameters of a model."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def measure_decode_ms(model_folder: LoadedModel, store: Store) -> float:
    """Measure the decoding time in milliseconds per sentence on one worker.

    Decodes in batches with the recipe's generation settings. This is a collective call.

    Returns:
        Milliseconds per sentence; 0 if this rank has no clips.
    """
    recipe = model_folder.recipe
    eval_set = EvalSet(
        store,
        "validation",
        model_folder.text,
        recipe.evaluation,
        recipe.effective_batch,
        _MAX_TIMED_CLIPS,
        recipe.prompt_settings,
    )
    num_clips = sum(len(batch.clip_ids) for batch in eval_set.batches)
    model_folder.model.eval()
    # `decode_batches` builds each batch again, so the time includes reading the features.
    start_time = time.perf_counter()
    decode_batches(
        model_folder.model,
        eval_set.tokenizer,
        eval_set.batches,
        recipe.generation.num_beams,
        recipe.generation,
    )
    seconds = time.perf_counter() - start_time
    return 1000 * seconds / num_clips if num_clips else 0.0
