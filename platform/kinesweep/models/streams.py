"""Checks of the stream names in a recipe against the streams of the feature store.

A recipe is written before its features exist, so a misspelled stream name is detected only when
the model is built: here, with all problems reported at once. Unchecked, it would configure an
encoder that no stream uses, and a sweep over it would vary nothing.
"""

from collections.abc import Mapping, Sequence

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.encoders import reads_skeleton
from kinesweep.config.recipe.model.fusion import ChannelFusionConfig
from kinesweep.config.recipe.model.vision_checks import format_standardize_problem
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.schema import StoreSchema
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import SKELETONS, Skeleton, find_skeleton


def check_stream_config(
    config: ModelConfig, widths: Mapping[str, int], frame_sizes: Mapping[str, int]
) -> None:
    """Check a recipe's stream names, reference motions and stream dropout against a store.

    The store must have the streams that the recipe names, `model.reference` must fit them, stream
    dropout needs at least two streams, and decoded frames need a vision model.

    Args:
        config: The recipe's `model` section.
        widths: Stream → width D, for the streams of the store.
        frame_sizes: Stream → height and width in pixels, for the streams of decoded frames.

    Raises:
        ConfigError: If there are problems; all are listed.
    """
    configured = [(f"model.encoders.{name}", name) for name in config.encoders]
    fusion = config.fusion
    if isinstance(fusion, ChannelFusionConfig) and fusion.length_of is not None:
        configured.append(("model.fusion.length_of", fusion.length_of))
    reference = config.reference
    if reference is not None:
        configured.append(("model.reference.stream", reference.stream))
    streams = list(widths)
    available = ", ".join(f"`{name}`" for name in streams)
    problems = [
        (
            path,
            f"no stream is called `{name}`{suggest_closest_word(name, streams)}; available:"
            f" {available}",
        )
        for path, name in configured
        if name not in streams
    ]
    problems += _find_reference_problems(config, widths)
    problems += _find_frame_problems(config, frame_sizes)
    input_streams = [
        f"`{stream}`" for stream in streams if reference is None or stream != reference.against
    ]
    if fusion.stream_dropout and len(input_streams) == 1:
        problem = f"needs at least two streams, but there is only {input_streams[0]}; set it to 0"
        problems.append(("model.fusion.stream_dropout", problem))
    if problems:
        raise ConfigError("the model", problems)


def _find_frame_problems(
    config: ModelConfig, frame_sizes: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Find what is wrong with `model.vision`, as pairs of a dotted path and a problem.

    Args:
        config: The recipe's `model` section.
        frame_sizes: Stream → height and width in pixels, for the streams of decoded frames.
    """
    names = ", ".join(f"`{name}` ({size} pixels)" for name, size in frame_sizes.items())
    if config.vision is None:
        text = f"is missing, but only a vision model reads the decoded frames of {names}"
        return [("model.vision", text)] if frame_sizes else []
    if not frame_sizes:
        text = "reads decoded frames, but no stream of the store holds any; use `kind: frames`"
        return [("model.vision", text)]
    if len(set(frame_sizes.values())) > 1:
        return [("model.vision", f"one model reads all frames, but their sizes differ: {names}")]
    return [
        (f"model.encoders.{name}", format_standardize_problem(config, name))
        for name in frame_sizes
        if getattr(config.get_encoder_config(name), "standardize", False)
    ]


def _find_reference_problems(
    config: ModelConfig, widths: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Find what is wrong with `model.reference`, as pairs of a dotted path and a problem.

    Args:
        config: The recipe's `model` section.
        widths: Stream → width D, for the streams of the store.
    """
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
        # A missing stream of reference motions can be intended: an earlier training stage may have
        # none. Then each clip is its own reference motion, which only `subtract` cannot use.
        suggestion = suggest_closest_word(against, [name for name in widths if name != stream])
        if suggestion:
            problems.append((path, f"no stream is called `{against}`{suggestion}"))
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


def find_skeletons(config: ModelConfig, schema: StoreSchema) -> dict[str, Skeleton]:
    """Find the skeleton of each stream of a store that a graph encoder reads.

    Args:
        config: The recipe's `model` section.
        schema: Streams of the store.

    Returns:
        Stream → skeleton, for the streams that graph encoders read.

    Raises:
        ConfigError: If a skeleton is unknown or does not fit, which the message explains with the
            points of the stream, or if a stream and its reference motions have other points.
    """
    layouts = {name: stream.layout for name, stream in schema.streams.items()}
    # Equal widths do not imply equal points, and one encoder reads both streams.
    if config.reference is not None:
        name, against = config.reference.stream, config.reference.against
        layout, reference_layout = layouts.get(name), layouts.get(against)
        if layout is not None and reference_layout is not None and layout != reference_layout:
            text = f"`{against}` has other points than `{name}`; one encoder reads both"
            raise ConfigError("the model", [("model.reference.against", text)])
    skeletons = {name: find_skeleton(layout) for name, layout in layouts.items()}
    return check_skeletons(config, schema.widths, skeletons, layouts)


def check_skeletons(
    config: ModelConfig,
    widths: Mapping[str, int],
    skeletons: Mapping[str, Skeleton | None],
    layouts: Mapping[str, PointLayout | None] | None = None,
) -> dict[str, Skeleton]:
    """Return the skeletons of all streams read by graph encoders, after checking their sizes.

    Each of these streams must have a skeleton, whose number of points divides the stream's width.

    Args:
        config: The recipe's `model` section.
        widths: Stream → width D.
        skeletons: Stream → skeleton, or None if unknown.
        layouts: Stream → its points, for error messages.

    Returns:
        Stream → skeleton, for the streams that graph encoders read, in the order of `widths`.

    Raises:
        ConfigError: If there are problems; all are listed.
    """
    against = None if config.reference is None else config.reference.against
    graph_streams = [
        name
        for name in widths
        if name != against and reads_skeleton(config.get_encoder_config(name))
    ]
    problems = []
    for name in graph_streams:
        path = f"model.encoders.{name}.kind" if name in config.encoders else "model.encoder.kind"
        layout = (layouts or {}).get(name)
        kind, description = config.get_encoder_config(name).kind, f"stream `{name}`"
        problem = find_skeleton_problem(
            kind, description, widths[name], skeletons.get(name), layout
        )
        problems += [(path, problem)] if problem else []
    if problems:
        raise ConfigError("the model", problems)
    return {name: skeleton for name in graph_streams if (skeleton := skeletons[name]) is not None}


def find_skeleton_problem(
    kind: str,
    stream_description: str,
    width: int,
    skeleton: Skeleton | None,
    layout: PointLayout | None = None,
) -> str | None:
    """Find the reason why a graph encoder cannot read a stream; None if it can.

    Args:
        kind: Kind of the encoder, for the message.
        stream_description: Description of the stream in the message, such as "stream `pose`".
        width: Values per frame, D.
        skeleton: Skeleton of the stream's points; None if it is unknown.
        layout: Points of the stream, for the message; None if they have no names.
    """
    if skeleton is not None:
        num_points = skeleton.num_points
        if kind == "part_graph" and len(skeleton.layout.components) == 1:
            return (
                f"`{kind}` needs points in several components, such as a body and hands, but"
                f" {stream_description} has only `{skeleton.layout.components[0][0]}`"
                f" ({num_points} points); use `stgcn`"
            )
        if width % num_points == 0:
            return None
        return (
            f"`{kind}` reads coordinates of the {num_points} points of `{skeleton.name}`, but"
            f" {stream_description} has {width} values per frame, which is not a multiple of that"
        )
    available = "no named points"
    if layout is not None:
        components = (
            f"`{component}` ({_format_points(points)})" for component, points in layout.components
        )
        available = f"the points {', '.join(components)}"
    known_skeletons = ", ".join(
        f"`{known.name}` ({known.num_points})" for known in SKELETONS.values()
    )
    return (
        f"`{kind}` needs to know which points are joined by bones, but {stream_description}"
        f" ({width} values"
        f" per frame) has {available}. Known skeletons: {known_skeletons}. Use another encoder, or"
        " features with such points"
    )


def _format_points(points: Sequence[str]) -> str:
    """Format the number of points and the names of the first three: "33: NOSE, LEFT_EYE, …"."""
    return f"{len(points)}: {', '.join(points[:3])}{' …' if len(points) > 3 else ''}"


def check_stream_widths(actual: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Check that a batch has the streams and widths that the model was built for.

    Args:
        actual: Stream → width D of the batch.
        expected: Stream → width D of the model.

    Raises:
        InputError: If they differ; the message lists both.
    """
    if actual != expected:
        raise InputError(
            f"The model reads streams {_format_widths(expected)}, but got {_format_widths(actual)}."
            " Use a feature store with the features that the model was trained on."
        )


def _format_widths(widths: Mapping[str, int]) -> str:
    """Format streams and their widths for a message: "`pose` (534)"; "none" without streams."""
    return ", ".join(f"`{name}` ({width})" for name, width in widths.items()) or "none"
