"""Model cost: number of trainable parameters and decoding time per sentence."""

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.evaluation.decoding import DecodeTimer, decode_batches
from kinesweep.evaluation.eval_set import EvalSet
from kinesweep.models.translator import Translator
from kinesweep.store.format.reader import Store

# Maximum number of clips decoded for the time measurement.
_MAX_TIMED_CLIPS = 32


def count_trainable_parameters(model: Translator) -> int:
    """Count the trainable parameters of a model, each element of a tensor as one."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def measure_decode_ms_per_sentence(loaded_model: LoadedModel, store: Store) -> float:
    """Measure the decoding time in milliseconds per sentence of the validation split.

    Up to 32 clips over all ranks are decoded in batches with the recipe's generation settings. The
    time includes reading the features, but not waiting for other ranks. This is a collective call.

    Args:
        loaded_model: Model with its tokenizer and recipe; left in evaluation mode.
        store: Store with features like those of training.

    Returns:
        Time of this rank divided by the number of its clips; 0 if it has none.

    Raises:
        InputError: If no clip is within the length limits, or a file named in the recipe cannot be
            read.
        StoreError: If the store has no validation split.
    """
    recipe = loaded_model.recipe
    eval_set = EvalSet(
        store,
        "validation",
        loaded_model.tokenizer,
        recipe.evaluation,
        recipe.effective_batch,
        _MAX_TIMED_CLIPS,
        prompt_settings=recipe.prompt_settings,
    )
    loaded_model.model.eval()
    timer = DecodeTimer()
    decode_batches(
        loaded_model.model,
        eval_set.tokenizer,
        eval_set.batches,
        recipe.generation.num_beams,
        recipe.generation,
        timer,
    )
    return 1000 * timer.seconds / timer.num_clips if timer.num_clips else 0.0
