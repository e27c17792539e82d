"""Checks of the model against the settings of generated text.

Each raises a `ValueError` with the reason, which a recipe reports as a problem of the whole file.
"""

from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.config.recipe.model import ModelConfig


def check_truecasing(generation: GenerationConfig, model: ModelConfig) -> None:
    """Check that the tokenizer lowercases texts if `generation.truecase` restores their case.

    Raises:
        ValueError: If texts are truecased that were not lowercased.
    """
    if generation.truecase and not model.tokenizer.lowercase:
        raise ValueError("`generation.truecase` needs `model.tokenizer.lowercase`")


def check_reserved_text_tokens(generation: GenerationConfig, model: ModelConfig) -> None:
    """Check that the positions reserved for the text are enough for the longest generated text.

    Raises:
        ValueError: If fewer positions are reserved than tokens may be generated.
    """
    # Generation may write all of its tokens, which need the reserved positions.
    reserved_tokens, max_new_tokens = model.reserved_text_tokens, generation.max_new_tokens
    if reserved_tokens is not None and reserved_tokens < max_new_tokens:
        raise ValueError(
            f"`model.reserved_text_tokens` ({reserved_tokens}) must be at least"
            f" `generation.max_new_tokens` ({max_new_tokens})"
        )
