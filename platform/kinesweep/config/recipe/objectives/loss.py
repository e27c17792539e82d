"""Recipe key `training.loss`: the loss of a translation, ours or a part of another package."""

from typing import Annotated, Literal

from pydantic import Field

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import KindOrPart, LossPart


class CrossEntropyConfig(StrictConfig):
    """The cross entropy of the labels, smoothed by `training.label_smoothing_factor`."""

    kind: Literal["cross_entropy"] = Field("cross_entropy", description="Kind of loss.")


LossConfig = Annotated[CrossEntropyConfig | LossPart, KindOrPart("cross_entropy")]
