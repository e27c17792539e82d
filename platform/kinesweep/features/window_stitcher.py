"""Window stitching: the features of the windows of a clip are joined to one sequence in time.

Time steps that several windows share are concatenated as they are, cropped to the middle of each
window, or averaged. The last window contributes only the time steps that begin in a real frame.

Shapes: K time steps of a window, T features of a clip, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.video import VideoWindowsConfig
from kinesweep.core.errors import InputError


@dataclass(frozen=True)
class WindowStitcher:
    """A window stitcher, which joins the time steps of windows into the features of a clip.

    Attributes:
        config: Window configuration; `overlap` says how shared time steps are combined.
        num_time_steps: Number of time steps of a window, K.

    Raises:
        InputError: If overlapping windows are to be combined, but the stride is not a whole number
            of time steps.
    """

    config: VideoWindowsConfig
    num_time_steps: int

    def __post_init__(self) -> None:
        span = self.config.num_spanned_frames
        has_whole_step = self.config.effective_stride * self.num_time_steps % span == 0
        if self.config.overlap != "concat" and not has_whole_step:
            raise InputError(
                "windows overlap by a fraction of a time step: with"
                f" `overlap: {self.config.overlap}`, `features.windows.stride` must be a multiple"
                f" of {span / self.num_time_steps:g} frames, not {self.config.effective_stride}"
            )

    @property
    def step(self) -> int:
        """Return the number of time steps from one window to the next.

        It is exact if overlaps are combined; with `overlap: concat` it is rounded down.
        """
        return self.config.effective_stride * self.num_time_steps // self.config.num_spanned_frames

    def compute_rate_hz(self, fps: float) -> float:
        """Compute the number of features per second, ignoring the ends of the video.

        Args:
            fps: Frame rate of the video in frames per second.
        """
        window_fps = fps if self.config.compat == "ssvp" else self.config.target_fps
        if self.config.overlap == "concat":
            return self.num_time_steps * window_fps / self.config.effective_stride
        return self.num_time_steps * window_fps / self.config.num_spanned_frames

    def count_real_time_steps(self, num_frames: int) -> int:
        """Count the time steps of a window that begin in one of its first `num_frames` frames."""
        # Rounded up: a time step counts if it begins in a real frame, wherever it ends.
        return -(-num_frames * self.num_time_steps // self.config.num_frames)

    def compute_length(self, num_windows: int, num_last_frames: int) -> int:
        """Compute the number of features of a clip, T.

        Args:
            num_windows: Number of windows of the clip.
            num_last_frames: Number of real frames of the last window.
        """
        step = self.num_time_steps if self.config.overlap == "concat" else self.step
        return step * (num_windows - 1) + self.count_real_time_steps(num_last_frames)

    def stitch_windows(
        self, window_features: Sequence[NDArray[np.float32]], num_last_frames: int
    ) -> NDArray[np.float32]:
        """Stitch the features of the windows of a clip together, (T, D).

        Args:
            window_features: Features of each window, (K, D), from first to last.
            num_last_frames: Number of real frames of the last window.
        """
        last_KD = window_features[-1][: self.count_real_time_steps(num_last_frames)]
        real_features = [*window_features[:-1], last_KD]
        if self.config.overlap == "crop":
            real_features = self._crop_overlaps(real_features)
        if self.config.overlap == "average":
            return self._average_overlaps(real_features)
        return np.concatenate(real_features)

    def build_index(
        self, num_windows: int, num_last_frames: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Build the index of stitching: which time step of which window goes where.

        Features are the sums of the time steps that go to the same place, divided by their number,
        as in `stitch_windows`; only `overlap: average` has more than one for a place.

        Args:
            num_windows: Number of windows of the clip.
            num_last_frames: Number of real frames of the last window.

        Returns:
            Time steps, counted over all windows (window · K + time step), and the position of each
            in the features of the clip, from first to last window.
        """
        steps = np.arange(num_windows * self.num_time_steps).reshape(num_windows, -1)
        last_steps = steps[-1][: self.count_real_time_steps(num_last_frames)]
        sources = [*steps[:-1], last_steps]
        if self.config.overlap == "crop":
            sources = self._crop_overlaps(sources)
        if self.config.overlap == "average":
            targets = [index * self.step + np.arange(len(x)) for index, x in enumerate(sources)]
            return np.concatenate(sources), np.concatenate(targets)
        source_indices = np.concatenate(sources)
        return source_indices, np.arange(len(source_indices))

    def _crop_overlaps(self, window_features: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Crop the features of each window to its middle, so that windows no longer overlap.

        The first window keeps its start and the last one its end.
        """
        # Time steps in the middle of a window have context on both sides, those at its edges do
        # not.
        edge = (self.num_time_steps - self.step) // 2
        last_index = len(window_features) - 1
        return [
            x_KD[edge if index else 0 : edge + self.step if index < last_index else None]
            for index, x_KD in enumerate(window_features)
        ]

    def _average_overlaps(self, window_features: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Join the features of windows, (T, D), and average the time steps that windows share."""
        length = self.step * (len(window_features) - 1) + len(window_features[-1])
        total_TD = np.zeros((length, window_features[0].shape[1]), np.float32)
        counts_T1 = np.zeros((length, 1), np.float32)
        for index, x_KD in enumerate(window_features):
            time_steps = slice(index * self.step, index * self.step + len(x_KD))
            total_TD[time_steps] += x_KD
            counts_T1[time_steps] += 1
        return total_TD / counts_T1
