"""The plan of a batch: which frames form which window, and where the vectors of a window go.

Windows have the positions and the padding of extraction (`features.video_windows`), and their time
steps are joined in the same way (`features.window_stitcher`). The plan consists of indices only, so
gathering and joining are differentiable and need no loop over clips.

Shapes: B clips, T frames with padding, W windows of all clips, F frames of a window, K time steps
of a window, M joined time steps, N vectors of the longest clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.video import VideoWindowsConfig
from kinesweep.features.video_windows import ResampledWindowPositions, count_windows
from kinesweep.features.window_stitcher import WindowStitcher

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class WindowPlan:
    """The windows of a batch of clips and the places of their time steps.

    Attributes:
        frames_WF: Frames of each window, counted over the padded batch (clip · T + frame).
        num_real_frames_W: Number of real frames of each window; the others repeat the last one.
        sources_M: Time steps that are kept, counted over all windows (window · K + time step).
        targets_M: Place of each in the padded output (clip · N + vector); several time steps with
            one place are averaged.
        lengths_B: Number of vectors of each clip.
        num_vectors: Number of vectors with padding, N; at least 1.
    """

    frames_WF: Indices
    num_real_frames_W: Indices
    sources_M: Indices
    targets_M: Indices
    lengths_B: Indices
    num_vectors: int


@dataclass(frozen=True)
class WindowPlanner:
    """A planner of the windows of clips whose frames have the rate of the windows.

    Attributes:
        config: Length, stride and overlap of the windows.
        num_time_steps: Number of time steps of a window, K.

    Raises:
        InputError: If overlapping windows are to be combined, but the stride is not a whole number
            of time steps.
    """

    config: VideoWindowsConfig
    num_time_steps: int

    def __post_init__(self) -> None:
        assert self.config.compat == "none", "the configuration allows no other positions"
        self.stitcher  # noqa: B018 (raises an error for a stride that does not fit)

    @property
    def stitcher(self) -> WindowStitcher:
        """Return the stitcher that extraction uses for such windows."""
        return WindowStitcher(self.config, self.num_time_steps)

    @property
    def positions(self) -> ResampledWindowPositions:
        """Return the positions of the windows in frames that have been resampled already."""
        return ResampledWindowPositions(self.config, self.config.target_fps)

    def count_vectors(self, num_frames: int) -> int:
        """Count the vectors of a clip of `num_frames` frames."""
        if not num_frames:
            return 0
        return self.stitcher.compute_length(*count_windows(self.positions, num_frames))

    def build_plan(self, lengths: Sequence[int], num_padded_frames: int) -> WindowPlan:
        """Build the plan of a batch.

        Args:
            lengths: Number of real frames of each clip, B of them; a clip without frames has no
                windows and no vectors.
            num_padded_frames: Number of frames with padding, T.
        """
        vectors_B = np.array([self.count_vectors(length) for length in lengths], np.intp)
        # Encoders cannot process an empty time axis.
        num_vectors = max(1, int(vectors_B.max(initial=0)))
        frames, num_real, sources, targets = [], [], [], []
        num_windows = 0
        for clip, length in enumerate(lengths):
            if not length:
                continue
            clip_frames_WF, clip_real_W = self._list_windows(length)
            kept, places = self.stitcher.build_index(len(clip_frames_WF), int(clip_real_W[-1]))
            frames.append(clip * num_padded_frames + clip_frames_WF)
            num_real.append(clip_real_W)
            sources.append(num_windows * self.num_time_steps + kept)
            targets.append(clip * num_vectors + places)
            num_windows += len(clip_frames_WF)
        empty = np.zeros((0,), np.intp)
        return WindowPlan(
            np.concatenate([np.zeros((0, self.config.num_frames), np.intp), *frames]),
            np.concatenate([empty, *num_real]),
            np.concatenate([empty, *sources]),
            np.concatenate([empty, *targets]),
            vectors_B,
            num_vectors,
        )

    def list_frame_spans(self, num_frames: int) -> list[tuple[int, int]]:
        """List the frames that each vector of a clip represents: first one, and one after the last.

        Args:
            num_frames: Number of frames of the clip.
        """
        if not num_frames:
            return []
        frames_WF, real_W = self._list_windows(num_frames)
        frames_WKf = np.array_split(frames_WF, self.num_time_steps, axis=1)
        # Time steps divide a window evenly; K is at most F.
        firsts = np.stack([step.min(axis=1) for step in frames_WKf], axis=1).ravel()
        lasts = np.stack([step.max(axis=1) for step in frames_WKf], axis=1).ravel()
        sources, places = self.stitcher.build_index(len(frames_WF), int(real_W[-1]))
        # The neutral elements of minimum and maximum.
        spans = [(num_frames, 0)] * (int(places[-1]) + 1)
        for source, place in zip(sources, places, strict=True):
            first, end = spans[place]
            spans[place] = (min(first, int(firsts[source])), max(end, int(lasts[source]) + 1))
        return spans

    def _list_windows(self, num_frames: int) -> tuple[Indices, Indices]:
        """List the frames of each window of a clip, (W, F), and its real frames, (W,)."""
        positions = self.positions
        num_windows, num_last_frames = count_windows(positions, num_frames)
        starts_W1 = positions.step * np.arange(num_windows)[:, None]
        # Frames after the end of the clip repeat its last one.
        frames_WF = np.minimum(starts_W1 + positions.get_frame_indices(0), num_frames - 1)
        num_real_W = np.full(num_windows, self.config.num_frames)
        num_real_W[-1] = num_last_frames
        return frames_WF, num_real_W
