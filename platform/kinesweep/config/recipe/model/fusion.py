"""Recipe section `model.fusion`: fusion of a clip's streams into one language model input."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

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


def _get_kind(value: object) -> str:
    """Return the `kind` of a fusion, given as a mapping or as a config.

    A mapping without a `kind` gives `time`, any other value without one an empty text.
    """
    # A mapping comes from YAML; a model instance comes from a default or a copied recipe.
    kind = value.get("kind", "time") if isinstance(value, Mapping) else getattr(value, "kind", "")
    return str(kind)


# A callable discriminator lets `kind` be omitted; pydantic's own would require it in the input.
FusionConfig = Annotated[
    Annotated[TimeFusionConfig, Tag("time")] | Annotated[ChannelFusionConfig, Tag("channel")],
    Discriminator(_get_kind),
]
