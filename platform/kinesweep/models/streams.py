"""What a recipe says of streams by name, held against the streams that there are.

A recipe is written before its features are known, so a misspelt stream shows only when the model
is built: here, with every problem at once. Left to itself it would be an encoder that no stream
has, and a sweep over nothing.
"""

from collections.abc import Mapping, Sequence

from kinesweep.core.config import near_miss
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.pose import PointLayout
from kinesweep.core.recipe.fusion import ChannelFusionConfig
from kinesweep.core.recipe.graph import GraphEncoderConfig
from kinesweep.core.recipe.model import ModelConfig
from kinesweep.core.schema import StoreSchema
from kinesweep.core.skeleton import SKELETONS, Skeleton, skeleton_of


def check_streams(config: ModelConfig, widths: Mapping[str, int]) -> None:
    """Refuses names of streams that are not there, and dropout that has nothing to leave out.

    Args:
        config: the recipe's part.
        widths: stream → D, of those of the store.

    Raises:
        ConfigError: with every problem.
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
        (path, f"no stream is called `{name}`{near_miss(name, streams)}; there are: {there}")
        for path, name in named
        if name not in streams
    ]
    problems += _reference_problems(config, widths)
    joined = [f"`{one}`" for one in streams if reference is None or one != reference.against]
    if fusion.stream_dropout and len(joined) == 1:
        text = f"needs two streams or more, but there is one: {joined[0]}; set it to 0"
        problems.append(("model.fusion.stream_dropout", text))
    if problems:
        raise ConfigError("the model", problems)


def _reference_problems(config: ModelConfig, widths: Mapping[str, int]) -> list[tuple[str, str]]:
    """What is wrong with the stream that another one is held against."""
    reference = config.reference
    if reference is None:
        return []
    against, stream = reference.against, reference.stream
    problems = []
    if against in config.encoders:
        text = f"`{against}` is read by the encoder of `{stream}`; leave it out"
        problems.append((f"model.encoders.{against}", text))
    if getattr(config.fusion, "length_of", None) == against:
        text = f"`{against}` has no vectors of its own; take `{stream}`"
        problems.append(("model.fusion.length_of", text))
    path = "model.reference.against"
    if against not in widths:
        near = near_miss(against, [name for name in widths if name != stream])
        if near:
            problems.append((path, f"no stream is called `{against}`{near}"))
        elif reference.mode == "subtract":
            text = (
                f"`subtract` of a clip from itself is zero, and no stream is called `{against}`:"
                " take `both` or `concat`, or leave `model.reference` out of this stage"
            )
            problems.append(("model.reference.mode", text))
    elif stream in widths and widths[against] != widths[stream]:
        text = (
            f"`{against}` has {widths[against]} values a frame, but `{stream}` {widths[stream]};"
            " one encoder reads both"
        )
        problems.append((path, text))
    return problems


def skeletons_of(config: ModelConfig, schema: StoreSchema) -> dict[str, Skeleton]:
    """The skeleton of each stream of a store that a graph encoder reads.

    Raises:
        ConfigError: one is not known, or does not fit; names the stream's points.
    """
    layouts = {name: stream.layout for name, stream in schema.streams.items()}
    if config.reference is not None:
        name, against = config.reference.stream, config.reference.against
        ours, theirs = layouts.get(name), layouts.get(against)
        if ours is not None and theirs is not None and ours != theirs:
            text = f"`{against}` holds other points than `{name}`; one encoder reads both"
            raise ConfigError("the model", [("model.reference.against", text)])
    known = {name: skeleton_of(layout) for name, layout in layouts.items()}
    return check_skeletons(config, schema.widths, known, layouts)


def check_skeletons(
    config: ModelConfig,
    widths: Mapping[str, int],
    skeletons: Mapping[str, Skeleton | None],
    layouts: Mapping[str, PointLayout | None] | None = None,
) -> dict[str, Skeleton]:
    """Refuses graph encoders of streams without a skeleton, or with one of other points.

    Args:
        config: the recipe's part.
        widths: stream → D.
        skeletons: of the streams, where one is known.
        layouts: their points, for messages.

    Returns:
        Those that graph encoders read.

    Raises:
        ConfigError: with every problem.
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
    """Why a graph encoder cannot read a stream, for people; None: it can."""
    if skeleton is not None:
        points = skeleton.num_points
        if width % points == 0:
            return None
        return (
            f"`{kind}` reads coordinates of the {points} points of `{skeleton.name}`, but {stream}"
            f" has {width} values a frame, which is no multiple of that"
        )
    held = "no points that are named"
    if layout is not None:
        parts = (f"`{part}` ({_few(points)})" for part, points in layout.components)
        held = f"the points {', '.join(parts)}"
    known = ", ".join(f"`{one.name}` ({one.num_points})" for one in SKELETONS.values())
    return (
        f"`{kind}` must know which points are joined by bones, but {stream} ({width} values a"
        f" frame) has {held}; known skeletons: {known}. Take another encoder, or features with"
        " such points"
    )


def _few(points: Sequence[str]) -> str:
    """How many points, and the first of them."""
    return f"{len(points)}: {', '.join(points[:3])}{' …' if len(points) > 3 else ''}"


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
