"""Video windows: cut videos into windows and stitch the features of windows together in time.

By default a video is first resampled to `target_fps`, so that windows, strides and feature rates
have the same duration for any frame rate: between 24 and 60 frames per second, features per second
differ by less than 2 %. `compat: ssvp` uses SSVP-SLT's published arithmetic on the frames of the
file (9.5 features per second at 25 frames per second, 19.0 at 60). Frames are streamed; only those
of one window are kept in memory.

Shapes: F frames of a window, K time steps of a window, T features of a clip, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.video import VideoWindowsConfig
from kinesweep.core.errors import ClipError, InputError

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Window:
    """A window of a video.

    Attributes:
        pixels_FHWC: Pixels, uint8 RGB. Crops of a frame lie side by side; W is a multiple of H.
        num_real_frames: Number of real frames; the frames after them repeat the last one of the
            video.
    """

    pixels_FHWC: NDArray[np.uint8]
    num_real_frames: int


class WindowPositions(Protocol):
    """The positions of windows in a video with a known frame rate."""

    @property
    def step(self) -> int:
        """Number of frames from one window to the next."""

    def resample(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Resample a video to the frames that window positions refer to."""

    def get_frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return the frame indices of the window at `start`, (F,); some may be past the end."""

    def has_next(self, start: int, num_frames: int) -> bool:
        """Return whether a video of at least `num_frames` frames has a window after this one."""

    def count_real_frames(self, start: int, num_frames: int) -> int:
        """Count the real frames of the window at `start` in a video of `num_frames` frames."""


@dataclass(frozen=True)
class ResampledWindowPositions:
    """The positions of windows in a video that is resampled to `target_fps`.

    Attributes:
        config: Length and stride of the windows.
        fps: Frame rate of the video.
    """

    config: VideoWindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Number of frames of the resampled video."""
        return self.config.effective_stride

    def resample(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Resample to the target rate: yield the frame nearest to each of its sampling times."""
        num_yielded = 0
        # A frame is repeated or skipped depending on the ratio of the rates; the next output frame
        # is emitted as soon as its source frame has arrived.
        for number, frame in enumerate(frames, 1):
            while self._find_source_frame(num_yielded) < number:
                yield frame
                num_yielded += 1

    def get_frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return the indices of every `sampling_rate`-th frame from `start`, (F,)."""
        return start + self.config.sampling_rate * np.arange(self.config.num_frames)

    def has_next(self, start: int, num_frames: int) -> bool:
        """Return whether there are frames after the window at `start`."""
        return num_frames > start + self.config.num_spanned_frames

    def count_real_frames(self, start: int, num_frames: int) -> int:
        """Count the frames of the window that lie before the end of the video."""
        return int(np.count_nonzero(self.get_frame_indices(start) < num_frames))

    def _find_source_frame(self, number: int) -> int:
        """Find the frame of the file that is nearest in time to a frame of the resampled video."""
        # Adding 0.5 rounds halves up; `round` would alternate between even and odd neighbors.
        return int(number * self.fps / self.config.target_fps + 0.5)


@dataclass(frozen=True)
class SsvpWindowPositions:
    """The positions of windows as in SSVP-SLT, on the frames of the file.

    Attributes:
        config: Length and stride of the windows; the stride counts frames of the file.
        fps: Frame rate of the video.
    """

    config: VideoWindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Number of frames of the file, independent of its rate."""
        return self.config.effective_stride

    def resample(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Return all frames unchanged; SSVP-SLT does not resample."""
        return iter(frames)

    def get_frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return the indices of equally spaced frames of the window at `start`, (F,)."""
        positions = np.linspace(start + 0.5, start + self._span - 0.5, self.config.num_frames)
        return positions.astype(np.intp)

    def has_next(self, start: int, num_frames: int) -> bool:
        """Return whether the window at `start` ends before the last frame of the video."""
        return num_frames > start + self._span - 1

    def count_real_frames(self, start: int, num_frames: int) -> int:
        """Count the frames of the window without repetitions of the video's last frame."""
        # The last frame itself is real once; every further occurrence is padding.
        num_last = np.count_nonzero(self.get_frame_indices(start) >= num_frames - 1)
        return self.config.num_frames - max(0, int(num_last) - 1)

    @property
    def _span(self) -> float:
        """Length of a window in frames of the file."""
        return self.config.num_spanned_frames * self.fps / self.config.target_fps


def build_window_positions(config: VideoWindowsConfig, fps: float) -> WindowPositions:
    """Build the window positions that a recipe defines for a video of `fps` frames per second."""
    positions_class = SsvpWindowPositions if config.compat == "ssvp" else ResampledWindowPositions
    return positions_class(config, fps)


def iter_windows(frames: Iterable[Frame], windows: WindowPositions) -> Iterator[Window]:
    """Iterate over the windows of a video in order; there is at least one.

    Raises:
        ClipError: If there are no frames; reason `no_frames`.
    """
    buffer: dict[int, Frame] = {}
    start = num_frames = 0
    # A window is emitted early only if another one follows it and all its frames have arrived.
    # The last window must wait for the end of the video, which determines its padding.
    for frame in windows.resample(frames):
        buffer[num_frames] = frame
        num_frames += 1
        while (
            windows.has_next(start, num_frames)
            and windows.get_frame_indices(start)[-1] < num_frames
        ):
            yield _build_window(buffer, windows, start, num_frames)
            start += windows.step
            # Keep the newest frame: in videos with a low frame rate, SSVP-SLT's next window may
            # start after it and then consists of copies of it.
            for number in [number for number in buffer if number < min(start, num_frames - 1)]:
                del buffer[number]
    if not num_frames:
        raise ClipError("there are no frames in this part of the video", "no_frames")
    # Windows that needed more frames than the video has, padded; the last one comes at the end.
    while windows.has_next(start, num_frames):
        yield _build_window(buffer, windows, start, num_frames)
        start += windows.step
    yield _build_window(buffer, windows, start, num_frames)


def count_windows(windows: WindowPositions, num_frames: int) -> tuple[int, int]:
    """Count the windows of a video; also return the number of real frames of the last one."""
    start = last_index = 0
    while windows.has_next(start, num_frames):
        start += windows.step
        last_index += 1
    return last_index + 1, windows.count_real_frames(start, num_frames)


def _build_window(
    buffer: dict[int, Frame], windows: WindowPositions, start: int, num_frames: int
) -> Window:
    """Build the window at `start`; frames past the end repeat the last frame."""
    indices = np.minimum(windows.get_frame_indices(start), num_frames - 1)
    return Window(
        np.stack([buffer[int(index)] for index in indices]),
        windows.count_real_frames(start, num_frames),
    )


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
        step, span = (
            self.config.effective_stride * self.num_time_steps,
            self.config.num_spanned_frames,
        )
        if self.config.overlap != "concat" and step % span:
            raise InputError(
                "windows overlap by a fraction of a time step: with"
                f" `overlap: {self.config.overlap}`, `features.windows.stride` must be a multiple"
                f" of {span / self.num_time_steps:g} frames, not {self.config.effective_stride}"
            )

    @property
    def step(self) -> int:
        """Number of time steps from one window to the next, if overlaps are combined."""
        return self.config.effective_stride * self.num_time_steps // self.config.num_spanned_frames

    def compute_rate_hz(self, fps: float) -> float:
        """Compute the features per second of a video with frame rate `fps`, ignoring its ends."""
        window_fps = fps if self.config.compat == "ssvp" else self.config.target_fps
        if self.config.overlap == "concat":
            return self.num_time_steps * window_fps / self.config.effective_stride
        return self.num_time_steps * window_fps / self.config.num_spanned_frames

    def count_real_time_steps(self, num_frames: int) -> int:
        """Count the time steps that begin in one of the first `num_frames` frames."""
        return -(-num_frames * self.num_time_steps // self.config.num_frames)

    def compute_length(self, num_windows: int, num_frames: int) -> int:
        """Compute T of a clip whose last of `num_windows` windows has `num_frames` real frames."""
        step = self.num_time_steps if self.config.overlap == "concat" else self.step
        return step * (num_windows - 1) + self.count_real_time_steps(num_frames)

    def stitch_windows(
        self, windows: Sequence[NDArray[np.float32]], num_frames: int
    ) -> NDArray[np.float32]:
        """Stitch the features of windows together to those of the clip, (T, D).

        Args:
            windows: Features of each window, (K, D), in order.
            num_frames: Number of real frames of the last window.
        """
        parts = [*windows[:-1], windows[-1][: self.count_real_time_steps(num_frames)]]
        if self.config.overlap == "crop":
            parts = self._crop_overlaps(parts)
        if self.config.overlap == "average":
            return self._average_overlaps(parts)
        return np.concatenate(parts)

    def _crop_overlaps(self, parts: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Crop overlaps; the first window keeps its start and the last one its end."""
        # Time steps in the middle of a window have context on both sides, those at its edges do
        # not.
        edge = (self.num_time_steps - self.step) // 2
        last = len(parts) - 1
        return [
            part[edge if number else 0 : edge + self.step if number < last else None]
            for number, part in enumerate(parts)
        ]

    def _average_overlaps(self, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Average the time steps that several windows share."""
        length = self.step * (len(parts) - 1) + len(parts[-1])
        total = np.zeros((length, parts[0].shape[1]), np.float32)
        counts = np.zeros((length, 1), np.float32)
        for number, part in enumerate(parts):
            span = slice(number * self.step, number * self.step + len(part))
            total[span] += part
            counts[span] += 1
        return total / counts
