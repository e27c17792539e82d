"""Recipe section `training.sign_contrastive`: a loss that any stage can add."""

from pydantic import Field

from kinesweep.config.loading import StrictConfig


class SignContrastiveConfig(StrictConfig):
    """The sign contrastive loss (SignCL) on the output of each stream's encoder.

    Ye et al. 2024, arXiv 2405.14312: neighboring vectors of a clip are pulled together, vectors
    farther apart in time than a margin are pushed apart. The defaults are those of the authors'
    code.
    """

    weight: float = Field(
        # The smallest of the authors' values, because they divide by the number of clips once more.
        0.01,
        gt=0,
        description="Weight of the loss beside the loss of the stage. The authors use 0.01 to 0.06,"
        " and divide by the number of clips of a batch once more.",
    )
    max_distance: float = Field(
        32.0,
        gt=0,
        description="L1 distance of two vectors around which neighbors are pulled below it and"
        " distant pairs are pushed above it. It grows with the width of the vectors; the authors'"
        " have 1,024 values.",
    )
    min_margin: int = Field(
        20,
        ge=1,
        description="Smallest distance in time, in vectors, above which two vectors of a clip are a"
        " negative pair.",
    )
    margin_per_token: float = Field(
        4.6,
        ge=0,
        description="Growth of this margin with the length of a sign: the margin is at least this"
        " many times the number of vectors per token of the text, plus one.",
    )
    min_negatives: int = Field(
        30,
        ge=1,
        description="Number of vectors that the margin leaves as negatives of a vector in the"
        " middle of a clip; it limits the margin of short clips.",
    )
