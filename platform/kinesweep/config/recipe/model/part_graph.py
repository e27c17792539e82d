"""Configuration of the encoder `part_graph`: one graph network for each part of the body."""

from typing import Literal

from pydantic import Field

from kinesweep.config.recipe.model.graph import GraphEncoderConfig


class PartGraphEncoderConfig(GraphEncoderConfig):
    """A graph network for body, hands and face each, as in Uni-Sign (arXiv 2501.15187).

    The defaults are the published sizes and steps, without standardization, bones and dropout.
    """

    kind: Literal["part_graph"] = Field("part_graph", description="Kind of encoder.")
    standardize: bool = Field(
        False,
        description="Subtract the mean of each coordinate over the training split and divide by its"
        " standard deviation; a point and its mirror image share both.",
    )
    bones: bool = Field(False, description="Add to each point the vector from its parent.")
    hops: int = Field(
        1, ge=1, description="Largest distance, in edges, of the points that a block aggregates."
    )
    kernel: int = Field(
        5, ge=1, description="Temporal kernel size of the temporal blocks, in frames; odd."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout probability in temporal blocks.")
    pooling: Literal["skeleton"] = Field(
        "skeleton", description="Points of a part are averaged; one vector per frame."
    )
    channels: int = Field(
        64,
        ge=1,
        description="Width of the projection and of the first spatial block; the second has twice,"
        " the third and all temporal blocks have four times this width.",
    )
    blocks: int = Field(3, ge=1, description="Number of temporal blocks, after 3 spatial ones.")
    share_hands: bool = Field(
        True, description="Use the same weights for both hands, which are not mirrored."
    )
    fuse_body: Literal["detached", "attached", "none"] = Field(
        "detached",
        description="Add the body's features to those of hands and face before the temporal blocks:"
        " those of the wrist to a hand, of the nose to the face. `detached` passes no gradient back"
        " into the body, `attached` does.",
    )
    downsample: int = Field(
        1, ge=1, description="Consecutive frames averaged into one output vector; 1: no averaging."
    )
