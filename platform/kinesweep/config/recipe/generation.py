"""Recipe section `generation`: decoding of text."""

from pydantic import Field

from kinesweep.config.loading import StrictConfig


class GenerationConfig(StrictConfig):
    """Settings of text decoding."""

    num_beams: int = Field(5, ge=1, description="Beam size; 1 is greedy search.")
    max_new_tokens: int = Field(
        100, ge=1, description="Largest number of generated tokens, including the forced prompt."
    )
    length_penalty: float = Field(
        1.0, description="Exponent of the length in beam scores; above 0 favors longer texts."
    )
    truecase: bool = Field(
        False,
        description="Restore the case that words have in the training texts; for"
        " `model.tokenizer.lowercase`.",
    )
