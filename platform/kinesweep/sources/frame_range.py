"""Conversion of a clip's span to the frames of its file, with a reason word for each error."""

from pathlib import Path

from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.units import Span


def resolve_frame_range(path: Path, span: Span, fps: float, num_frames: int) -> tuple[int, int]:
    """Return the indices of the first frame of a span and of the frame after its last one.

    Args:
        path: Path of the file, for error messages.
        span: Span in milliseconds or frames.
        fps: Frame rate of the file in frames per second.
        num_frames: Number of frames in the file.

    Raises:
        ClipError: With reason `no_frames`, `span_beyond_file` or `empty_span`.
    """
    if num_frames == 0:
        raise ClipError(f"`{path}` holds no frames", "no_frames")
    try:
        return span.to_frame_range(fps, num_frames)
    except InputError as error:
        # Bounds in the wrong order are an error of the row; otherwise the file is too short.
        is_empty = span.start is not None and span.end is not None and span.end <= span.start
        reason = "empty_span" if is_empty else "span_beyond_file"
        raise ClipError(f"`{path}`: {error}", reason) from None
