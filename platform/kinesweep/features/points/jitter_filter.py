"""A Savitzky–Golay filter against the jitter of pose estimators, over detected frames only.

Each coordinate of a point is replaced by the value of a polynomial fitted to the frames around it
(Savitzky and Golay, 1964). The window is given in seconds, so that it covers the same time at every
frame rate. A gap in the detection of a point ends a run: no frame is smoothed across it. With the
default (0.2 s, order 2) at 25 frames per second, white noise shrinks to 70 % of its standard
deviation, and a movement of 2 Hz keeps 99.5 % of its amplitude.

Shapes: T frames, J points, C coordinates.
"""

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.skeletons import SavgolConfig
from kinesweep.core.errors import ClipError


def smooth_points(
    x_TJC: NDArray[np.float32], detected_TJ: NDArray[np.bool_], fps: float, config: SavgolConfig
) -> None:
    """Smooth the detected points in place, each over its runs of detected frames.

    A run that is shorter than the window is smoothed with the longest odd window that fits into it;
    a run of `order` + 1 frames or fewer, through which the polynomial passes exactly, stays as it
    is. At the ends of a run, the polynomial of the first or last full window is used.

    Args:
        x_TJC: Points; the array is changed.
        detected_TJ: Mask of the detected points.
        fps: Frame rate of the points in frames per second.
        config: Length of the window in seconds and order of the polynomial.

    Raises:
        ClipError: If the window has too few frames at this rate to smooth anything; reason
            `smooth_window`.
    """
    window = count_window_frames(fps, config)
    # SciPy takes 0.3 s to import, and only this filter needs its signal processing.
    from scipy.signal import savgol_filter

    for (start, stop), points in _group_points_by_run(detected_TJ).items():
        length = stop - start
        run_window = min(window, length - (length + 1) % 2)
        if run_window > config.order + 1:
            x_TJC[start:stop, points] = savgol_filter(
                x_TJC[start:stop, points], run_window, config.order, axis=0, mode="interp"
            )


def count_window_frames(fps: float, config: SavgolConfig) -> int:
    """Count the frames of a window: a frame and all within half of `window_s` before and after it.

    Raises:
        ClipError: If these are too few for a polynomial of this order; reason `smooth_window`.
    """
    # The tolerance keeps 0.2 s at 30 frames per second at 3 frames on each side.
    num_frames = 2 * math.floor(config.window_s * fps / 2 + 1e-6) + 1 if fps > 0 else 1
    if num_frames <= config.order + 1:
        needed_s = 2 * ((config.order + 2) // 2) / fps if fps > 0 else math.inf
        raise ClipError(
            f"a window of {config.window_s:g} s has {num_frames} frames at {fps:g} frames per"
            f" second, which a polynomial of order {config.order} does not smooth; set"
            f" `features.smooth.window_s` to at least {needed_s:.3g}, or a lower"
            " `features.smooth.order`",
            "smooth_window",
        )
    return num_frames


def _group_points_by_run(detected_TJ: NDArray[np.bool_]) -> dict[tuple[int, int], list[int]]:
    """Group the points by their runs of consecutive detected frames.

    The points of a hand are detected together, so a few calls of the filter cover all points.

    Returns:
        First frame and end of a run → points that have exactly this run.
    """
    padded = np.pad(detected_TJ, ((1, 1), (0, 0))).astype(np.int8)
    changes = np.diff(padded, axis=0)
    # Transposed, so that starts and stops are sorted by point and then by frame, and pair up.
    points, starts = np.nonzero(changes.T == 1)
    _, stops = np.nonzero(changes.T == -1)
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for point, start, stop in zip(points.tolist(), starts.tolist(), stops.tolist(), strict=True):
        groups[start, stop].append(point)
    return groups
