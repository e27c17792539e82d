"""Recipe section `model.fusion`: fusion of a clip's streams into one language model input."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from kinesweep.config.kinds import make_kind_getter
from kinesweep.config.loading import StrictConfig


class _FusionConfig(StrictConfig):
    """Settings shared by all kinds of fusion."""

    stream_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability with which each stream of a training clip is dropped; at least one"
        " stream of a clip always stays.",
    )


class TimeFusionConfig(_FusionConfig):
    """Concatenation of the streams along time."""

    kind: Literal["time"] = Field("time", description="Kind of fusion.")
    separators: bool = Field(False, description="Insert a learned vector before each stream.")


class ChannelFusionConfig(_FusionConfig):
    """Concatenation of the streams by channel, after resampling to one length; then projection."""

    kind: Literal["channel"] = Field("channel", description="Kind of fusion.")
    resample: Literal["nearest", "linear"] = Field(
        "linear", description="Interpolation over time of streams with another length."
    )
    length_of: str | None = Field(
        None,
        description="Stream whose encoded length all streams are resampled to; default: the first.",
    )


# A callable discriminator lets `kind` be omitted; pydantic's own would require it in the input.
FusionConfig = Annotated[
    Annotated[TimeFusionConfig, Tag("time")] | Annotated[ChannelFusionConfig, Tag("channel")],
    Discriminator(make_kind_getter("time")),
]
