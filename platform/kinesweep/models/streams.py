"""Checks of the stream names in a recipe against the streams of the feature store.

A recipe is written before its features exist, so a misspelled stream name is detected only when
the model is built: here, with all problems reported at once. Unchecked, it would configure an
encoder that no stream uses, and a sweep over it would vary nothing.
"""

from collections.abc import Mapping, Sequence

from kinesweep.config.loading import did_you_mean
from kinesweep.config.recipe.fusion import ChannelFusionConfig
from kinesweep.config.recipe.graph import GraphEncoderConfig
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.pose import PointLayout
from kinesweep.core.schema import StoreSchema
from kinesweep.core.skeleton.skeleton import SKELETONS, Skeleton, skeleton_of


def check_streams(config: ModelConfig, widths: Mapping[str, int]) -> None:
    """Check the stream names in a recipe, and that stream dropout has streams to drop.

    Args:
        config: The recipe's `model` section.
        widths: Stream → width D, for the streams of the store.

    Raises:
        ConfigError: If there are problems; all are listed.
    """
    named = [(f"model.encoders.{name}", name) for name in config.encoders]
    fusion = config.fusion
    if isinstance(fusion, ChannelFusionConfig) and fusion.length_of is not None:
        named.append(("model.fusion.length_of", fusion.length_of))
    reference = config.reference
    if reference is not None:
        named.append(("model.reference.stream", reference.stream))
    streams = list(widths)
    there = ", ".join(f"`{name}`" for name in streams)
    problems = [
        (path, f"no stream is called `{name}`{did_you_mean(name, streams)}; available: {there}")
        for path, name in named
        if name not in streams
    ]
    problems += _reference_problems(config, widths)
    joined = [f"`{one}`" for one in streams if reference is None or one != reference.against]
    if fusion.stream_dropout and len(joined) == 1:
        text = f"needs at least two streams, but there is only {joined[0]}; set it to 0"
        problems.append(("model.fusion.stream_dropout", text))
    if problems:
        raise ConfigError("the model", problems)


def _reference_problems(config: ModelConfig, widths: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the problems of `model.reference` as pairs of path and text."""
    reference = config.reference
    if reference is None:
        return []
    against, stream = reference.against, reference.stream
    problems = []
    if against in config.encoders:
        text = f"`{against}` is read by the encoder of `{stream}`; remove this entry"
        problems.append((f"model.encoders.{against}", text))
    if getattr(config.fusion, "length_of", None) == against:
        text = f"`{against}` has no vectors of its own; use `{stream}`"
        problems.append(("model.fusion.length_of", text))
    path = "model.reference.against"
    if against not in widths:
        # A missing reference can be intended: an earlier training stage may have none. Then each
        # clip is its own reference, which only `subtract` cannot use.
        near = did_you_mean(against, [name for name in widths if name != stream])
        if near:
            problems.append((path, f"no stream is called `{against}`{near}"))
        elif reference.mode == "subtract":
            text = (
                f"there is no stream `{against}`, and `subtract` of a clip from itself is zero;"
                " use `both` or `concat`, or remove `model.reference` from this stage"
            )
            problems.append(("model.reference.mode", text))
    elif stream in widths and widths[against] != widths[stream]:
        text = (
            f"`{against}` has {widths[against]} values per frame, but `{stream}` has"
            f" {widths[stream]}; one encoder reads both"
        )
        problems.append((path, text))
    return problems


def skeletons_of(config: ModelConfig, schema: StoreSchema) -> dict[str, Skeleton]:
    """Return the skeleton of each stream of a store that a graph encoder reads.

    Args:
        config: The recipe's `model` section.
        schema: Streams of the store.

    Raises:
        ConfigError: If a skeleton is unknown or does not fit; the message lists the points.
    """
    layouts = {name: stream.layout for name, stream in schema.streams.items()}
    # Equal widths do not imply equal points, and one encoder reads both streams.
    if config.reference is not None:
        name, against = config.reference.stream, config.reference.against
        ours, theirs = layouts.get(name), layouts.get(against)
        if ours is not None and theirs is not None and ours != theirs:
            text = f"`{against}` has other points than `{name}`; one encoder reads both"
            raise ConfigError("the model", [("model.reference.against", text)])
    known = {name: skeleton_of(layout) for name, layout in layouts.items()}
    return check_skeletons(config, schema.widths, known, layouts)


def check_skeletons(
    config: ModelConfig,
    widths: Mapping[str, int],
    skeletons: Mapping[str, Skeleton | None],
    layouts: Mapping[str, PointLayout | None] | None = None,
) -> dict[str, Skeleton]:
    """Check that each stream read by a graph encoder has a skeleton of the right size.

    Args:
        config: The recipe's `model` section.
        widths: Stream → width D.
        skeletons: Stream → skeleton, or None if unknown.
        layouts: Stream → its points, for error messages.

    Returns:
        Stream → skeleton, for the streams that graph encoders read.

    Raises:
        ConfigError: If there are problems; all are listed.
    """
    against = None if config.reference is None else config.reference.against
    read = [
        name
        for name in widths
        if name != against and isinstance(config.encoder_of(name), GraphEncoderConfig)
    ]
    problems = []
    for name in read:
        path = f"model.encoders.{name}.kind" if name in config.encoders else "model.encoder.kind"
        layout = (layouts or {}).get(name)
        kind, stream = config.encoder_of(name).kind, f"stream `{name}`"
        problem = skeleton_problem(kind, stream, widths[name], skeletons.get(name), layout)
        problems += [(path, problem)] if problem else []
    if problems:
        raise ConfigError("the model", problems)
    return {name: found for name in read if (found := skeletons[name]) is not None}


def skeleton_problem(
    kind: str,
    stream: str,
    width: int,
    skeleton: Skeleton | None,
    layout: PointLayout | None = None,
) -> str | None:
    """Return why a graph encoder cannot read a stream, as a sentence; None if it can."""
    if skeleton is not None:
        points = skeleton.num_points
        if width % points == 0:
            return None
        return (
            f"`{kind}` reads coordinates of the {points} points of `{skeleton.name}`, but {stream}"
            f" has {width} values per frame, which is not a multiple of that"
        )
    held = "no named points"
    if layout is not None:
        parts = (f"`{part}` ({_few(points)})" for part, points in layout.components)
        held = f"the points {', '.join(parts)}"
    known = ", ".join(f"`{one.name}` ({one.num_points})" for one in SKELETONS.values())
    return (
        f"`{kind}` needs to know which points are joined by bones, but {stream} ({width} values"
        f" per frame) has {held}. Known skeletons: {known}. Use another encoder, or features"
        " with such points"
    )


def _few(points: Sequence[str]) -> str:
    """Return the number of points and the names of the first three."""
    return f"{len(points)}: {', '.join(points[:3])}{' …' if len(points) > 3 else ''}"


def check_widths(got: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    """Check that a batch has the streams and widths that the model was built for.

    Args:
        got: Stream → width D of the batch.
        wanted: Stream → width D of the model.

    Raises:
        InputError: If they differ; the message lists both.
    """
    if got != wanted:
        raise InputError(
            f"The model reads streams {_listed(wanted)}, but got {_listed(got)}. Use a feature"
            " store with the features that the model was trained on."
        )


def _listed(widths: Mapping[str, int]) -> str:
    """Format streams for a message, such as "`pose` (534)"."""
    return ", ".join(f"`{name}` ({width})" for name, width in widths.items()) or "none"
