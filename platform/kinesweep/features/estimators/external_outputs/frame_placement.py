"""Placement of frames: from the numbers in an estimator's output to frames of a pose.

The first frame of the pose is the first of the video where that is known. Frames without an entry
stay empty. Numbers that cannot be frames of one video are refused before memory is allocated.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from kinesweep.features.estimators.external_outputs.detections import ClipDetections, Detection

# A gap in the numbering may be as long as a minute of video, or 10 times the frames of the output.
MAX_GAP_S = 60.0
MAX_GAP_RATIO = 10
# Frames before the first person are kept up to this time, or the length of the rest of the clip.
# More of them rather mean that the frames of the clip are numbered within a longer video.
MAX_EMPTY_START_S = 10.0

Frames = Mapping[int, Sequence[Detection]]


def place_frames(
    clip: ClipDetections, fps: float, first_frame: int | None = None
) -> tuple[Frames, list[str]]:
    """Place the frames of a clip: frame index from 0 → people, and notes for the user.

    Args:
        clip: Detections by frame number.
        fps: Frame rate in frames per second.
        first_frame: Number of the video's first frame in the output; None to take it from the
            output.

    Raises:
        ValueError: If a frame has a smaller number than the first, or a gap is too long.
    """
    numbers = sorted(clip.frames)
    notes = list(clip.notes)
    start = clip.start_frame if first_frame is None else first_frame
    if numbers[0] < start:
        raise ValueError(f"frame {numbers[0]} comes before the first frame, {start}")
    empty_start = numbers[0] - start
    span = numbers[-1] - numbers[0] + 1
    if first_frame is None and empty_start > max(span, MAX_EMPTY_START_S * fps):
        start, empty_start = numbers[0], 0
    if start > 1 and first_frame is None:
        notes.append(
            f"The frames are numbered from {start}, and the pose begins with that frame. Pass"
            " `--first-frame 0` if the video begins earlier."
        )
    if empty_start:
        notes.append(f"The first {empty_start} frames have no entry and are empty.")
    _check_gaps(numbers, fps)
    if missing := span - len(numbers):
        notes.append(f"{missing} of {span} frames have no entry and are empty.")
    return {number - start: clip.frames[number] for number in numbers}, notes


def _check_gaps(numbers: Sequence[int], fps: float) -> None:
    """Check that no gap between neighboring frame numbers is too long.

    Raises:
        ValueError: If one is; the message gives both numbers.
    """
    longest = int(max(MAX_GAP_S * fps, MAX_GAP_RATIO * len(numbers)))
    for before, after in pairwise(numbers):
        if after - before - 1 > longest:
            raise ValueError(
                f"{after - before - 1} frames are missing between the frames {before} and {after},"
                f" but at most {longest} may be; check whether both are frames of one video"
            )
