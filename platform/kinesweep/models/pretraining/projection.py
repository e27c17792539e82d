"""Projection of pooled vectors to the space in which videos and texts are compared."""

from torch import nn

from kinesweep.config.pretraining.text_tower import Projection
from kinesweep.core.errors import ConfigError


def build_projection(kind: Projection, width: int, output_width: int, key: str) -> nn.Module:
    """Build a projection without biases.

    The hidden width of `mlp` is the mean of both widths, as in OpenCLIP and SSVP-SLT.

    Args:
        kind: `mlp`, `linear` or `none`.
        width: Width of the pooled vectors.
        output_width: Width of the embedding.
        key: Dotted key of the projection in the recipe, for the error.

    Raises:
        ConfigError: If `none` would need equal widths.
    """
    if kind == "linear":
        return nn.Linear(width, output_width, bias=False)
    if kind == "mlp":
        hidden_width = (width + output_width) // 2
        return nn.Sequential(
            nn.Linear(width, hidden_width, bias=False),
            nn.GELU(),
            nn.Linear(hidden_width, output_width, bias=False),
        )
    # Nothing is projected, so the comparison needs the width of the other tower.
    if width != output_width:
        problem = (
            f"`none` needs vectors as wide as `objective.width` ({output_width}), but the encoder's"
            f" have {width} values; set `linear` or `mlp`, or `objective.width={width}`"
        )
        raise ConfigError("the objective", [(key, problem)])
    return nn.Identity()
