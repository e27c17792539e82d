"""The frame rate of a video by its time stamps: the rate at which its frames are chosen.

It is the first of these that applies:
1. the declared rate, a rate that FFmpeg guessed or a usual rate (24, 25, 29.97, …), if every time
   stamp lies within 1 ms or one tick of it;
2. the declared or guessed rate, if 95 % of the time stamps lie on its grid, but frames are missing;
3. the mean rate without pauses (intervals over twice the median), rounded to a usual rate within
   1 %.

Rule 2 keeps every frame of a recording that leaves frames out, and gives all recordings of a device
the same rate. A declared rate outside of 5 to 240 fps is never used: browsers write 0, 1000 or NaN.
Estimators run this file where Kinesweep is not installed: it must not import the package.
"""

from itertools import pairwise
from statistics import median

MIN_PLAUSIBLE_FPS, MAX_PLAUSIBLE_FPS = 5.0, 240.0
"""Range of plausible frame rates: fingers cannot be followed below 5 frames a second, and no usual
camera takes more than 240. Rates outside of it are never used without the recipe's word."""
MAX_RATE_DIFFERENCE = 0.02
"""Share by which a declared rate may differ from that of the time stamps without a warning."""
ROUNDING_S = 0.001
"""Rounding of time stamps: containers such as WebM and FLV store whole milliseconds."""
_MIN_GRID_SHARE = 0.95
"""Minimum share of the time stamps that a rate explains if frames are missing."""
_MAX_INTERVAL = 2.0
"""Longest interval that counts as one between two frames and not as a pause, in medians."""
_MAX_ROUNDING_SHARE = 0.01
"""Largest share by which a measured rate is changed to a usual one."""
_USUAL_RATES: tuple[float, ...] = (10, 12, 12.5, 15, 20, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)
_USUAL_RATES += (24000 / 1001, 30000 / 1001, 60000 / 1001, 120000 / 1001)


def is_plausible_rate(fps: float) -> bool:
    """Return whether a frame rate is one that videos of people have."""
    return MIN_PLAUSIBLE_FPS <= fps <= MAX_PLAUSIBLE_FPS


def find_constant_rate(
    times_s: list[float], candidates: list[float], mean_fps: float, tick_s: float
) -> tuple[float, bool]:
    """Find the frame rate of sorted time stamps by the rule of this module.

    Args:
        times_s: Time stamps in seconds; the first is 0.
        candidates: Rates that the file declares, the preferred one first.
        mean_fps: Mean rate.
        tick_s: Unit of the time stamps in seconds.

    Returns:
        The rate, 0 if there is none, and whether every frame lies on its place at that rate.
    """
    declared = [fps for fps in candidates if is_plausible_rate(fps)]
    if not mean_fps:
        return (declared[0] if declared else 0.0), True
    rounding_s = max(tick_s, ROUNDING_S) * 1.01
    nearest = min(_USUAL_RATES, key=lambda rate: abs(rate / mean_fps - 1))
    for fps in (*declared, nearest, mean_fps):
        # More than a quarter of a frame is jitter, not rounding.
        tolerance_s = min(rounding_s, 0.25 / fps)
        if all(abs(time - i / fps) <= tolerance_s for i, time in enumerate(times_s)):
            return fps, True
    for fps in declared:
        tolerance_s = min(rounding_s, 0.125 / fps)
        num_on_grid = sum(abs(time - round(time * fps) / fps) <= tolerance_s for time in times_s)
        # With more frames than places, the grid would drop some of them.
        has_places = len(times_s) <= times_s[-1] * fps + 2
        if has_places and num_on_grid >= _MIN_GRID_SHARE * len(times_s):
            return fps, False
    intervals_s = [later - time for time, later in pairwise(times_s) if later > time]
    max_interval_s = _MAX_INTERVAL * median(intervals_s)
    usual_intervals_s = [interval for interval in intervals_s if interval <= max_interval_s]
    measured = len(usual_intervals_s) / sum(usual_intervals_s)
    nearest = min(_USUAL_RATES, key=lambda rate: abs(rate / measured - 1))
    is_near = abs(nearest / measured - 1) <= _MAX_ROUNDING_SHARE
    return (nearest if is_near else measured), False
