"""What a recipe says of streams by name, held against the streams that there are.

A recipe is written before its features are known, so a misspelt stream shows only when the model
is built: here, with every problem at once. Left to itself it would be an encoder that no stream
has, and a sweep over nothing.
"""

from collections.abc import Collection, Mapping

from kinesweep.core.config import near_miss
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.recipe.fusion import ChannelFusionConfig
from kinesweep.core.recipe.model import ModelConfig


def check_streams(config: ModelConfig, streams: Collection[str]) -> None:
    """Refuses names of streams that are not there, and dropout that has nothing to leave out.

    Args:
        config: the recipe's part.
        streams: those of the store.

    Raises:
        ConfigError: with every problem.
    """
    named = [(f"model.encoders.{name}", name) for name in config.encoders]
    fusion = config.fusion
    if isinstance(fusion, ChannelFusionConfig) and fusion.length_of is not None:
        named.append(("model.fusion.length_of", fusion.length_of))
    there = ", ".join(f"`{name}`" for name in streams)
    problems = [
        (path, f"no stream is called `{name}`{near_miss(name, list(streams))}; there are: {there}")
        for path, name in named
        if name not in streams
    ]
    if fusion.stream_dropout and len(streams) == 1:
        text = f"needs two streams or more, but there is one: {there}; set it to 0"
        problems.append(("model.fusion.stream_dropout", text))
    if problems:
        raise ConfigError("the model", problems)


def check_widths(got: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    """Refuses streams of other names or widths than those that a model was built for.

    Args:
        got: stream → D of a batch.
        wanted: stream → D of the model.

    Raises:
        InputError: with both.
    """
    if got != wanted:
        raise InputError(
            f"The model reads streams {_listed(wanted)}, but got {_listed(got)}. Use a feature"
            " store with the features it was trained on."
        )


def _listed(widths: Mapping[str, int]) -> str:
    """Streams for people: `pose` (534)."""
    return ", ".join(f"`{name}` ({width})" for name, width in widths.items()) or "none"
