"""Recipe section `model.reference`: the comparison of a motion with a reference motion."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig


class MotionReferenceConfig(StrictConfig):
    """Two streams aligned frame by frame, encoded by one encoder and combined afterwards."""

    mode: Literal["subtract", "concat", "both"] = Field(
        "both",
        description="Combination of the encoded clip x and the encoded reference r: `subtract`"
        " passes x - r to the language model, `concat` a linear layer of [x, r], `both` a linear"
        " layer of [x, x - r].",
    )
    stream: str = Field("pose", description="Stream that is compared with the reference.")
    against: str = Field(
        "reference",
        description="Stream of the reference, aligned frame by frame with `stream`. It has neither"
        " an encoder nor output vectors of its own. If the store lacks it, for example during"
        " caption pretraining, each clip is its own reference.",
    )

    @model_validator(mode="after")
    def _check_streams_differ(self) -> "MotionReferenceConfig":
        """Check that the stream and the stream of its reference motion are not the same."""
        if self.stream == self.against:
            raise ValueError(f"`stream` and `against` are both `{self.stream}`; name two streams")
        return self
