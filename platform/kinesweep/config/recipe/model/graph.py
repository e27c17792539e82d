"""Configurations of the graph encoders `stgcn` and `stagcn`, which use the bones of a skeleton.

They need a stream whose layout has a known skeleton (`core.skeleton`). The defaults are the
published sizes, which are large for a CPU (`stagcn`: 225 GFLOP per step of 4 clips with 64 frames).
A search on a CPU should therefore start with smaller sizes.
"""

from typing import Literal

from pydantic import Field, field_validator

from kinesweep.config.loading import StrictConfig


class EncoderLoraConfig(StrictConfig):
    """Low-rank adapters for an encoder whose own matrices stay as an earlier run trained them.

    Temporal convolutions, edge masks and norms stay frozen too; the output layer is trained whole.
    """

    rank: int = Field(32, ge=1, description="Rank of the adapters.")
    alpha: float = Field(32, gt=0, description="Adapter outputs are scaled by alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout on the adapter inputs.")


class GraphEncoderConfig(StrictConfig):
    """Settings shared by graph encoders: bones → spatial-temporal blocks → pooling → linear."""

    standardize: bool = Field(
        True,
        description="Subtract the mean of each coordinate over the training split and divide by its"
        " standard deviation; a point and its mirror image share both.",
    )
    bones: bool = Field(True, description="Add to each point the vector from its parent.")
    velocity: bool = Field(
        False, description="Add to each value its difference from the previous frame."
    )
    hops: int = Field(
        3, ge=1, description="Largest distance, in bones, of the points that a block aggregates."
    )
    kernel: int = Field(9, ge=1, description="Temporal kernel size of each block, in frames; odd.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout probability in each block.")
    pooling: Literal["skeleton", "time", "both"] = Field(
        "skeleton",
        description="Dimension to average over: `skeleton` averages points and gives one vector per"
        " frame, `time` averages frames and gives one vector per point, `both` gives the vectors of"
        " the points followed by those of the frames.",
    )
    lora: EncoderLoraConfig | None = Field(
        None, description="Low-rank adapters, trained instead of the encoder's own weights."
    )

    @field_validator("kernel")
    @classmethod
    def _check_odd(cls, value: int) -> int:
        """Check that the temporal kernel size is odd."""
        if value % 2 == 0:  # an odd kernel keeps the number of frames under symmetric padding
            raise ValueError("must be odd: 1, 3, 5 …")
        return value


class StgcnEncoderConfig(GraphEncoderConfig):
    """Spatial temporal graph convolutional network (Yan et al., 2018), a sequence of blocks."""

    kind: Literal["stgcn"] = Field("stgcn", description="Kind of encoder.")
    channels: int = Field(
        64,
        ge=1,
        description="Width of the first blocks; the middle blocks have twice, the last four times"
        " this width.",
    )
    blocks: int = Field(10, ge=1, description="Number of blocks.")


class StagcnEncoderConfig(GraphEncoderConfig):
    """Spatial temporal attention graph convolutional network (Shiraki et al., 2020).

    An attention branch computes graphs and point weights that a perception branch uses. The
    defaults are those of CoachMe (7.11 million weights on 22 points).
    """

    kind: Literal["stagcn"] = Field("stagcn", description="Kind of encoder.")
    features: tuple[int, ...] = Field(
        (32, 32, 64, 64, 128),
        min_length=1,
        description="Widths of the shared blocks before the two branches.",
    )
    attention: tuple[int, ...] = Field(
        (128, 128, 256, 256, 256), min_length=1, description="Widths of the attention branch."
    )
    perception: tuple[int, ...] = Field(
        (128, 128, 256, 256, 256), min_length=1, description="Widths of the perception branch."
    )
    head: int = Field(
        1024, ge=1, description="Hidden width of the head that computes the attention."
    )
    graphs: int = Field(4, ge=1, description="Number of attention graphs per clip.")
    perceive_skeleton: bool = Field(
        False,
        description="Use the attention graphs in addition to the skeleton's graphs in the"
        " perception branch, as Shiraki et al. do; false: use them instead, as CoachMe does.",
    )

    @field_validator("features", "attention", "perception")
    @classmethod
    def _check_positive(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        """Check that all widths of a list are at least 1."""
        if min(value) < 1:
            raise ValueError("contains a width below 1")
        return value
