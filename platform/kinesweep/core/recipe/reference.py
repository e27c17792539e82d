"""Recipe part `model.reference`: how a clip differs from the clip it is held against."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.core.config import Frozen


class ReferenceConfig(Frozen):
    """Two streams in step, frame by frame, read by one encoder and joined behind it."""

    mode: Literal["subtract", "concat", "both"] = Field(
        "both",
        description="What the language model reads of a vector x of the clip and r of its"
        " reference: x - r, a linear layer of [x, r], or one of [x, x - r].",
    )
    stream: str = Field("pose", description="The stream that differs.")
    against: str = Field(
        "reference",
        description="The stream of the reference, in step with it: frame t belongs to frame t. It"
        " has no encoder and no vectors of its own. Where the store has none, as while captions"
        " are learnt, each clip is its own reference.",
    )

    @model_validator(mode="after")
    def _two_streams(self) -> "ReferenceConfig":
        if self.stream == self.against:
            raise ValueError(f"`stream` and `against` are both `{self.stream}`; name two streams")
        return self
