"""Agreement of the clips of a store: all must have the same width and points in each stream.

The variant that most clips have is right; the others are dropped and counted, so that too many of
them stop the extraction like any other reason. Without this, one file of another estimator would
give a model with an input that means something else.
"""

from collections.abc import Mapping, Sequence

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.store.extraction.clip_processor import StreamStatus

Variant = tuple[int, PointLayout | None]
"""Values per frame, and points, of a stream of a clip."""

_ADVICE = (
    "All clips of a store must agree; select points with `features.points`, or split the corpus"
)


def find_disagreeing_clips(
    clips: Sequence[tuple[Clip, Mapping[str, StreamStatus]]], streams: Sequence[str]
) -> list[InvalidRow]:
    """Find the clips whose width or points differ from those of most clips in some stream.

    If several variants have equally many clips, that of the first clip counts as right.

    Args:
        clips: Usable clips with their streams, in the order of the corpus.
        streams: Names of the streams.

    Returns:
        One invalid row per clip, in the order of the corpus, with the reason `wrong_width` or
        `wrong_layout`.
    """
    invalid_rows: dict[str, InvalidRow] = {}
    for stream in streams if clips else ():
        clips_by_variant: dict[Variant, list[Clip]] = {}
        for clip, statuses in clips:
            variant = statuses[stream].width, statuses[stream].layout
            clips_by_variant.setdefault(variant, []).append(clip)
        # `max` returns the first of several maxima, which is the variant that appears first.
        right = max(clips_by_variant, key=lambda variant: len(clips_by_variant[variant]))
        prefix = f"`{stream}`: " if len(streams) > 1 else ""
        for variant, members in clips_by_variant.items():
            if variant == right:
                continue
            reason = "wrong_layout" if variant[0] == right[0] else "wrong_width"
            difference = _describe_difference(variant, right, clips_by_variant[right][0])
            for clip in members:
                message = f"{prefix}the features have {difference}. {_ADVICE}"
                row = InvalidRow(clip.row, clip.id, reason, message, clip.split)
                invalid_rows.setdefault(clip.id, row)
    return [invalid_rows[clip.id] for clip, _ in clips if clip.id in invalid_rows]


def _describe_difference(variant: Variant, right: Variant, example: Clip) -> str:
    """Describe how a variant differs from the right one, as an object of "the features have".

    Args:
        variant: Width and points of the disagreeing clips.
        right: Width and points of most clips.
        example: A clip with the right ones.
    """
    (width, layout), (right_width, right_layout) = variant, right
    where = f"for example `{example.id}` ({example.row})"
    if width != right_width:
        return f"{width} values per frame, but most clips have {right_width}, {where}"
    names = [
        [f"{component} {point}" for component, points in layout.components for point in points]
        if layout is not None
        else []
        for layout in (layout, right_layout)
    ]
    first, right_first = next(
        (pair for pair in zip(*names, strict=False) if pair[0] != pair[1]), ("no names", "names")
    )
    return f"points of different names than most clips ({first} instead of {right_first}), {where}"
