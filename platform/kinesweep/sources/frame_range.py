"""Conversion of a clip's span to the frames of its file, with a reason word for each error.

The same rules hold for videos, poses and motions. A span in milliseconds must last at least one
frame, less 1 ms, because both bounds may be rounded. It must start in the file, and may end after
it by 2 frames or 100 ms, whichever is longer: tables and files round rates and times differently,
and many published spans exceed their videos by a few frames. These frames are cut off without
notice. Any other span would give a clip without a part of its frames, which is an error.
"""

from pathlib import Path

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.units import Span
from kinesweep.sources.video.frame_rate import is_plausible_rate

MAX_MISSING_FRAMES = 2
"""Number of frames by which a span may end after its file, at any frame rate."""
_MAX_MISSING_S = 0.1
_ROUNDING_MS = 1.0
"""Error of the duration of a span whose bounds are rounded to whole milliseconds."""


def resolve_frame_range(path: Path, span: Span, fps: float, num_frames: int) -> tuple[int, int]:
    """Return the indices of the first frame of a span and of the frame after its last one.

    Args:
        path: Path of the file, for error messages.
        span: Span in milliseconds or frames.
        fps: Frame rate of the file in frames per second.
        num_frames: Number of frames in the file.

    Raises:
        ClipError: With reason `no_frames`, `span_beyond_file`, `span_cut` or `empty_span`.
    """
    if num_frames == 0:
        raise ClipError(f"`{path}` holds no frames", "no_frames")
    try:
        start_frame, end_frame = span.to_frame_range(fps, num_frames)
    except InputError as error:
        # Bounds in the wrong order are an error of the row; otherwise the file is too short.
        is_empty = span.start is not None and span.end is not None and span.end <= span.start
        reason = "empty_span" if is_empty else "span_beyond_file"
        raise ClipError(f"`{path}`: {error}{_explain_rate(span, fps)}", reason) from None
    if span.end is not None:
        _check_duration(path, span, fps)
        end = span.end / 1000 * fps if span.unit == "ms" else span.end
        if end > num_frames + get_max_missing_frames(fps):
            raise ClipError(
                f"`{path}`: the span ends at frame {end:.0f}, but the file has {num_frames} frames"
                f" at {fps:g} fps ({num_frames / fps:.2f} s); correct the end, or leave it empty to"
                f" read up to the end of the file{_explain_rate(span, fps)}",
                "span_cut",
            )
    return start_frame, end_frame


def get_max_missing_frames(fps: float) -> float:
    """Return the number of frames by which a span may end after its file, at a frame rate."""
    # The small number is for rates and times that are not exact in binary.
    return max(MAX_MISSING_FRAMES, _MAX_MISSING_S * fps) + 1e-6


def check_has_no_span(clip: Clip) -> None:
    """Check that a clip is a whole input, for inputs without times: texts, images, stored clips.

    Raises:
        ClipError: With reason `span_without_times`, if a part of the input is asked for.
    """
    if not clip.span.is_full:
        raise ClipError(
            f"{clip.row}: the input has no times from which a span could be cut; leave start and"
            " end empty",
            "span_without_times",
        )


def _check_duration(path: Path, span: Span, fps: float) -> None:
    """Check that a span in milliseconds lasts at least one frame; other spans are not checked.

    Args:
        path: Path of the file, for error messages.
        span: Span with an end.
        fps: Frame rate of the file in frames per second.

    Raises:
        ClipError: With reason `empty_span`.
    """
    if span.unit != "ms" or span.end is None:
        return
    duration_ms, frame_ms = span.end - (span.start or 0.0), 1000 / fps
    if duration_ms + _ROUNDING_MS < frame_ms:
        advice = "; if the times of the table are in seconds, set `source.time_unit: s`"
        raise ClipError(
            f"`{path}`: the span lasts {duration_ms:g} ms, less than one frame ({frame_ms:.1f} ms"
            f" at {fps:g} fps){_explain_rate(span, fps) or advice}",
            "empty_span",
        )


def _explain_rate(span: Span, fps: float) -> str:
    """Return advice for an error of a span that a wrong rate of the file may cause, or nothing."""
    if span.unit != "ms" or span.is_full or is_plausible_rate(fps):
        return ""
    return f"; {fps:g} fps is implausible, so state the right rate with `source.fps`"
