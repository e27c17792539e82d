"""Recipe part `model.fusion`: how the streams of a clip become one input of the language model."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from kinesweep.core.config import Frozen


class _FusionConfig(Frozen):
    """What all ways of joining share."""

    stream_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="In training each stream of each clip is left out with this probability, never"
        " all streams of one clip.",
    )


class TimeFusionConfig(_FusionConfig):
    """Streams one after another."""

    kind: Literal["time"] = Field("time", description="How streams are joined.")
    separators: bool = Field(False, description="A learnt vector before each stream.")


class ChannelFusionConfig(_FusionConfig):
    """Streams side by side: all as long as one of them, joined by channel, projected."""

    kind: Literal["channel"] = Field("channel", description="How streams are joined.")
    resample: Literal["nearest", "linear"] = Field(
        "linear", description="How streams of another length are read over time."
    )
    length_of: str | None = Field(
        None,
        description="Stream whose number of vectors, behind its encoder, all get; default: the"
        " first.",
    )


def _kind_of(value: object) -> str:
    """The `kind` of a fusion; `time` where none is given."""
    kind = value.get("kind", "time") if isinstance(value, Mapping) else getattr(value, "kind", "")
    return str(kind)


FusionConfig = Annotated[
    Annotated[TimeFusionConfig, Tag("time")] | Annotated[ChannelFusionConfig, Tag("channel")],
    Discriminator(_kind_of),
]
