"""Tables for the terminal that describe a store or one of its clips. Shapes: T frames, D width."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kinesweep.core.clip import Clip
from kinesweep.core.units import format_bytes
from kinesweep.features.quality.split_quality import build_quality_rows
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store
from kinesweep.store.inspect.clip_lookup import find_clip_record

_BAR_CHARACTERS = " ▁▂▃▄▅▆▇█"
_MAX_SHOWN_IDS = 20
_CURVE_WIDTH = 60
"""Width of the motion curve in characters."""


def describe_store(store: Store, clip_id: str | None = None) -> RenderableType:
    """Describe a store or one of its clips as text and tables for the terminal.

    A store is described by its splits, streams and dropped rows; a clip by its metadata and a
    summary of its features.

    Args:
        store: Store to describe.
        clip_id: ID of the clip; None describes the whole store.

    Raises:
        InputError: If there is no such clip.
        StoreError: If the shard of the clip is damaged.
    """
    if clip_id is None:
        reference_lines = [Text(line) for line in [describe_self_comparisons(store)] if line]
        return Group(
            _format_heading(store),
            _build_splits_table(store),
            _build_streams_table(store),
            *reference_lines,
            *_build_quality_tables(store),
            *_build_dropped_tables(store),
        )
    return _describe_clip(store, find_clip_record(store, clip_id))


def _format_heading(store: Store) -> Text:
    """Format the folder, fingerprint and size of a store as lines of text, with its parts."""
    size = format_bytes(store.manifest["bytes"])
    heading = Text(f"{store.folder}\nfingerprint {store.fingerprint}, {size}")
    for part in store.parts.parts if store.parts is not None else ():
        reference = part.reference
        path = (store.folder / reference.folder).resolve()
        heading.append(f"\n`{reference.stream}` is `{reference.stored_stream}` of {path}")
    return heading


def describe_self_comparisons(store: Store) -> str:
    """Describe as text how many clips have no reference motion and are compared with themselves.

    Returns:
        One line with the number of each split; empty if there are no such clips.
    """
    counts = {split: count for split, count in store.self_comparison_counts.items() if count}
    if not counts:
        return ""
    counts_text = ", ".join(
        f"{split} {count} of {len(store.get_records(split))}" for split, count in counts.items()
    )
    return f"clips without a reference, compared with themselves: {counts_text}"


def _build_splits_table(store: Store) -> Table:
    """Build a table of the clips, total duration and lengths, one row per split and stream.

    Lengths are numbers of frames; the duration is in minutes.
    """
    table = Table("split", "clips", "stream", "frames", "minutes", "shortest", "median", "longest")
    for split in store.splits:
        records = store.get_records(split)
        for stream in store.schema.streams:
            # In a combined store, clips may lack a stream, also all clips of a split.
            having = [record for record in records if stream in record.lengths]
            if not having:
                continue
            lengths = np.array([record.lengths[stream] for record in having])
            duration_s = sum(record.lengths[stream] / record.rates_hz[stream] for record in having)
            # A text has no time; the rate of its stream is nominal.
            is_text = store.schema.streams[stream].vocabulary is not None
            minutes = "–" if is_text else f"{duration_s / 60:.1f}"
            length_range = [lengths.min(), int(np.median(lengths)), lengths.max()]
            cells = [len(having), stream, lengths.sum(), minutes, *length_range]
            table.add_row(split, *map(str, cells))
    return table


def _build_streams_table(store: Store) -> Table:
    """Build a table of widths, frame rates and dtypes, one row per stream."""
    table = Table("stream", "width", "frames per second", "type")
    for name, schema in store.schema.streams.items():
        rate_text = "differs" if schema.rate_hz is None else f"{schema.rate_hz:g}"
        if schema.rates_hz:  # stores of earlier versions do not list their rates
            rate_text = f"{schema.rates_hz[0][0]:g} to {schema.rates_hz[-1][0]:g}"
        type_text = f"{schema.dtype}, read from the videos" if schema.reads_video else schema.dtype
        if schema.vocabulary is not None:
            vocabulary = schema.vocabulary
            type_text = f"{schema.dtype}, ids of {vocabulary.size} tokens ({vocabulary.kind})"
        width_text = _format_width(schema.width, schema.frame_size)
        table.add_row(name, width_text, rate_text, type_text)
    return table


def _build_quality_tables(store: Store) -> list[Table]:
    """Build a list with a table of the detection rates by split; empty for media without points."""
    if not store.quality:
        return []
    header, *rows = build_quality_rows(store.quality)
    table = Table(*header, title="detected in the poses")
    for row in rows:
        table.add_row(*row)
    return [table]


def _build_dropped_tables(store: Store) -> list[Table]:
    """Build a list with a table of the dropped rows; the list is empty if there are none."""
    dropped = store.manifest["dropped"]
    if not dropped["total"]:
        return []
    counts = ", ".join(f"{reason} {count}" for reason, count in dropped["reasons"].items())
    table = Table("row", "clip", "reason", "message", title=f"dropped: {counts}")
    for row in dropped["rows"]:
        # `Text` because messages may contain brackets, which rich would take for markup.
        table.add_row(*(Text(row[key]) for key in ("row", "clip_id", "reason", "message")))
    return [table]


def _describe_clip(store: Store, record: ClipRecord) -> Group:
    """Describe a clip by a table of its metadata and a summary of each stream.

    Args:
        store: Store that contains the clip.
        record: Record of the clip.

    Raises:
        StoreError: If the shard of the clip is damaged, or its video cannot be read.
    """
    stream_summaries = [
        _describe_stream(
            stream, x_TD, record.rates_hz[stream], store.schema.streams[stream].frame_size
        )
        if store.schema.streams[stream].vocabulary is None
        else _describe_tokens(stream, x_TD)
        for stream, x_TD in store.get_features(record).items()
    ]
    return Group(_build_metadata_table(record.clip), *stream_summaries)


def _build_metadata_table(clip: Clip) -> Table:
    """Build a table of the metadata of a clip, one row per field that has a value."""
    span = clip.span
    metadata = {
        "id": clip.id,
        "split": clip.split,
        "row": clip.row,
        "media": clip.media,
        "span": "whole file" if span.is_full else f"{span.start} to {span.end} {span.unit}",
    }
    metadata |= {f"text {number}": text for number, text in enumerate(clip.texts, 1)}
    augmented = enumerate(clip.augmented_texts, 1)
    metadata |= {f"augmented text {number}": text for number, text in augmented}
    for name in ("encoder_prompt", "decoder_prompt", "document", "signer", "gloss", "language"):
        metadata[name] = getattr(clip, name)
    metadata["reference"] = clip.reference
    metadata["keywords"] = ", ".join(clip.keywords)
    table = Table(show_header=False)
    for name, value in metadata.items():
        if value:
            table.add_row(name, Text(value))
    return table


def _describe_tokens(stream: str, ids_T1: NDArray[Any]) -> Text:
    """Describe a stream of token ids of a clip by its length and its first ids.

    Args:
        stream: Name of the stream.
        ids_T1: Ids of the clip's tokens.
    """
    shown = " ".join(map(str, ids_T1[:_MAX_SHOWN_IDS, 0]))
    more = " …" if len(ids_T1) > _MAX_SHOWN_IDS else ""
    return Text(f"{stream}: {len(ids_T1)} tokens: {shown}{more}")


def _describe_stream(
    stream: str, x_TD: NDArray[Any], rate_hz: float, frame_size: int | None
) -> Text:
    """Describe a stream of a clip by its size, its range of values and a curve of its motion.

    Args:
        stream: Name of the stream.
        x_TD: Features of the clip.
        rate_hz: Frames per second.
        frame_size: Side of a frame in pixels if the values are its pixels; None for numbers.

    Returns:
        Text of two lines; the second one shows the mean absolute change between frames over time.
    """
    motion_T = np.array([_compute_change(x_TD, frame) for frame in range(len(x_TD))])
    cells = np.array_split(motion_T, min(_CURVE_WIDTH, len(motion_T)))
    heights = np.array([cell.mean() for cell in cells])
    characters_per_height = (len(_BAR_CHARACTERS) - 1) / max(float(heights.max()), 1e-9)
    curve = "".join(
        _BAR_CHARACTERS[round(float(height) * characters_per_height)] for height in heights
    )
    num_frames, width = x_TD.shape
    # As numbers, pixels would take four times the memory.
    if frame_size is None:
        values_text = _summarize_numbers(x_TD.astype(np.float32))
    else:
        values_text = f"mean brightness {x_TD.mean():.1f}, from {x_TD.min()} to {x_TD.max()}"
    return Text(
        f"{stream}: {num_frames} frames × {_format_width(width, frame_size)},"
        f" {num_frames / rate_hz:.2f} s at {rate_hz:g} Hz; {values_text}\nmotion {curve}"
    )


def _summarize_numbers(x_TD: NDArray[np.float32]) -> str:
    """Summarize the values of a clip in a line of text."""
    return (
        f"mean {x_TD.mean():.4f}, std {x_TD.std():.4f},"
        f" from {x_TD.min():.4f} to {x_TD.max():.4f}, {(x_TD == 0).mean():.1%} zeros"
    )


def _compute_change(x_TD: NDArray[Any], frame: int) -> float:
    """Return the mean absolute change of the values from the frame before; 0 for the first."""
    before_D, after_D = (x_TD[i].astype(np.float32) for i in (max(0, frame - 1), frame))
    return float(np.abs(after_D - before_D).mean())


def _format_width(width: int, frame_size: int | None) -> str:
    """Format the number of values of a frame; for pixels, height × width × colors."""
    return str(width) if frame_size is None else f"{frame_size} × {frame_size} × 3"
