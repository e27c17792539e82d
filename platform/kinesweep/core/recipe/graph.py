"""Recipe parts of the encoders that know which points of a stream are joined: `stgcn`, `stagcn`.

They need a stream whose layout has a known skeleton (`core.skeleton`). Defaults are the published
sizes; they are large for a CPU (225 GFLOP a step of 4 clips of 64 frames with `stagcn`), so smaller
ones are the first thing to search over.
"""

from typing import Literal

from pydantic import Field, field_validator

from kinesweep.core.config import Frozen


class EncoderLoraConfig(Frozen):
    """Low-rank adapters beside an encoder's own matrices, which stay as an earlier run left them.

    Its convolutions over time, edge masks and norms stay too; what leads out of it learns whole.
    """

    rank: int = Field(32, ge=1, description="Width of an adapter.")
    alpha: float = Field(32, gt=0, description="What adapters add is scaled by alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Of what enters an adapter.")


class GraphEncoderConfig(Frozen):
    """What graph encoders share: bones → blocks of graph and time → pooling → linear."""

    standardize: bool = Field(
        True,
        description="Subtract each coordinate's mean over train, divide by its deviation; both are"
        " shared by a point and its mirror image.",
    )
    bones: bool = Field(True, description="Beside each point the vector from its parent.")
    velocity: bool = Field(
        False, description="Beside each value its difference from the frame before."
    )
    hops: int = Field(
        3, ge=1, description="Bones between a point and the furthest that it sees in one block."
    )
    kernel: int = Field(9, ge=1, description="Frames that each block sees; odd.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of values dropped in each block.")
    pooling: Literal["skeleton", "time", "both"] = Field(
        "skeleton",
        description="What is averaged: points (a vector for each frame), frames (one for each"
        " point), or each in turn (points' vectors, then frames').",
    )
    lora: EncoderLoraConfig | None = Field(
        None, description="Adapters, which learn instead of the encoder's own weights."
    )

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd: 1, 3, 5 …")
        return value


class StgcnEncoderConfig(GraphEncoderConfig):
    """Spatial temporal graph convolution (Yan et al., 2018): blocks one after another."""

    kind: Literal["stgcn"] = Field("stgcn", description="Encoder of a stream.")
    channels: int = Field(
        64, ge=1, description="Width of the first blocks; the middle ones have 2, the last 4 times."
    )
    blocks: int = Field(10, ge=1, description="How many.")


class StagcnEncoderConfig(GraphEncoderConfig):
    """Blocks with an attention branch, whose graphs and weights a second branch works with.

    Shiraki et al. (2020). The defaults are CoachMe's (7.11 million weights on 22 points).
    """

    kind: Literal["stagcn"] = Field("stagcn", description="Encoder of a stream.")
    features: tuple[int, ...] = Field(
        (32, 32, 64, 64, 128), min_length=1, description="Widths of the blocks before both."
    )
    attention: tuple[int, ...] = Field(
        (128, 128, 256, 256, 256), min_length=1, description="Widths of the attention branch."
    )
    perception: tuple[int, ...] = Field(
        (128, 128, 256, 256, 256), min_length=1, description="Widths of the perception branch."
    )
    head: int = Field(
        1024, ge=1, description="Width between the attention branch and what is attended to."
    )
    graphs: int = Field(4, ge=1, description="Attention graphs of each clip.")
    perceive_skeleton: bool = Field(
        False,
        description="Add attention graphs to the skeleton's own in the perception branch, as"
        " Shiraki et al.; false: they take its place, as in CoachMe.",
    )

    @field_validator("features", "attention", "perception")
    @classmethod
    def _positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 1:
            raise ValueError("holds a width below 1")
        return value
