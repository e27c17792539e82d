"""Video windows: the positions of windows in a video, and the windows cut from its frames.

By default a video is first resampled to `target_fps`, so that windows, strides and feature rates
have the same duration for any frame rate: between 24 and 60 frames per second, features per second
differ by less than 2 %. `compat: ssvp` uses SSVP-SLT's published arithmetic on the frames of the
file (9.5 features per second at 25 frames per second, 19.0 at 60). Frames are streamed; only those
of one window are kept in memory.

Shapes: F frames of a window, H × W pixels, C colors.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.video import VideoWindowsConfig
from kinesweep.core.errors import ClipError

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
    """The positions of windows in a video with a known frame rate.

    A window is addressed by `start`, the index of its first frame. All indices and numbers of
    frames refer to the video after `resample`.
    """

    @property
    def step(self) -> int:
        """Return the number of frames from the start of one window to that of the next."""

    def resample(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Iterate over the frames of a video after it is resampled for these windows."""

    def get_frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return the frame indices of the window at `start`, (F,); some may be past the end."""

    def has_next(self, start: int, num_frames: int) -> bool:
        """Return whether another window follows the window at `start`.

        Args:
            start: Start of the window.
            num_frames: Number of frames of the video known so far; a longer video has the window
                as well.
        """

    def count_real_frames(self, start: int, num_frames: int) -> int:
        """Count the frames of the window at `start` that do not pad it at the end of the video.

        Args:
            start: Start of the window.
            num_frames: Number of frames of the whole video.
        """


@dataclass(frozen=True)
class ResampledWindowPositions:
    """The positions of windows in a video that is resampled to `target_fps`.

    Attributes:
        config: Length and stride of the windows.
        fps: Frame rate of the file in frames per second.
    """

    config: VideoWindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Return the number of frames between windows, counted in the resampled video."""
        return self.config.effective_stride

    def resample(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Resample a video to the target rate: yield the frame nearest to each sampling time."""
        return resample_frames(frames, self.fps, self.config.target_fps)

    def get_frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return the frame indices of the window at `start`, (F,), `sampling_rate` apart."""
        return start + self.config.sampling_rate * np.arange(self.config.num_frames)

    def has_next(self, start: int, num_frames: int) -> bool:
        """Return whether the video has frames after those that the window at `start` spans."""
        return num_frames > start + self.config.num_spanned_frames

    def count_real_frames(self, start: int, num_frames: int) -> int:
        """Count the frames of the window at `start` that lie before the end of the video."""
        return int(np.count_nonzero(self.get_frame_indices(start) < num_frames))


@dataclass(frozen=True)
class SsvpWindowPositions:
    """The positions of windows as in SSVP-SLT, on the frames of the file.

    Attributes:
        config: Length and stride of the windows; the stride counts frames of the file.
        fps: Frame rate of the file in frames per second.
    """

    config: VideoWindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Return the number of frames between windows, counted in the file at any rate."""
        return self.config.effective_stride

    def resample(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Iterate over all frames unchanged; SSVP-SLT does not resample."""
        return iter(frames)

    def get_frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return the indices of equally spaced frames of the window at `start`, (F,)."""
        positions = np.linspace(start + 0.5, start + self._span - 0.5, self.config.num_frames)
        return positions.astype(np.intp)

    def has_next(self, start: int, num_frames: int) -> bool:
        """Return whether the last frame that the window at `start` spans is in the video.

        A window that ends with the video is thus followed by another one, as in SSVP-SLT.
        """
        return num_frames > start + self._span - 1

    def count_real_frames(self, start: int, num_frames: int) -> int:
        """Count the frames of the window at `start` without repetitions of the last frame."""
        # The first occurrence of the last frame is real; every further one is padding.
        num_last = np.count_nonzero(self.get_frame_indices(start) >= num_frames - 1)
        return self.config.num_frames - max(0, int(num_last) - 1)

    @property
    def _span(self) -> float:
        """Return the length of a window in frames of the file."""
        return self.config.num_spanned_frames * self.fps / self.config.target_fps


def resample_frames(frames: Iterable[Frame], fps: float, target_fps: float) -> Iterator[Frame]:
    """Resample a video to a rate: yield the frame nearest in time to each sampling time.

    Args:
        frames: Frames of the video.
        fps: Frame rate of the video in frames per second.
        target_fps: Rate of the result in frames per second.
    """
    num_yielded = 0
    # A frame is repeated or skipped depending on the ratio of the rates; the next output frame is
    # emitted as soon as its source frame has arrived. Adding 0.5 rounds halves up; `round` would
    # alternate between even and odd neighbors.
    for source_index, frame in enumerate(frames):
        while int(num_yielded * fps / target_fps + 0.5) <= source_index:
            yield frame
            num_yielded += 1


def build_window_positions(config: VideoWindowsConfig, fps: float) -> WindowPositions:
    """Build the window positions of the kind `config.compat` for a video.

    Args:
        config: Window config.
        fps: Frame rate of the video in frames per second.
    """
    positions_class = SsvpWindowPositions if config.compat == "ssvp" else ResampledWindowPositions
    return positions_class(config, fps)


def iter_windows(frames: Iterable[Frame], positions: WindowPositions) -> Iterator[Window]:
    """Iterate over the windows of a video from first to last; there is at least one.

    Args:
        frames: Frames of the video, before resampling.
        positions: Positions of the windows.

    Raises:
        ClipError: If there are no frames; reason `no_frames`.
    """
    buffer: dict[int, Frame] = {}
    start = num_frames = 0
    # A window is emitted early only if another one follows it and all its frames have arrived.
    # The last window must wait for the end of the video, which determines its padding.
    for frame in positions.resample(frames):
        buffer[num_frames] = frame
        num_frames += 1
        while (
            positions.has_next(start, num_frames)
            and positions.get_frame_indices(start)[-1] < num_frames
        ):
            yield _build_window(buffer, positions, start, num_frames)
            start += positions.step
            # Keep the newest frame: in videos with a low frame rate, SSVP-SLT's next window may
            # start after it and then consists of copies of it.
            for index in [index for index in buffer if index < min(start, num_frames - 1)]:
                del buffer[index]
    if not num_frames:
        raise ClipError("there are no frames in this part of the video", "no_frames")
    # Windows that needed more frames than the video has, padded; the last one comes at the end.
    while positions.has_next(start, num_frames):
        yield _build_window(buffer, positions, start, num_frames)
        start += positions.step
    yield _build_window(buffer, positions, start, num_frames)


def count_windows(positions: WindowPositions, num_frames: int) -> tuple[int, int]:
    """Count the windows of a video and the real frames of its last window.

    Args:
        positions: Positions of the windows.
        num_frames: Number of frames of the resampled video.

    Returns:
        Number of windows, and number of real frames of the last one.
    """
    start = last_index = 0
    while positions.has_next(start, num_frames):
        start += positions.step
        last_index += 1
    return last_index + 1, positions.count_real_frames(start, num_frames)


def _build_window(
    buffer: dict[int, Frame], positions: WindowPositions, start: int, num_frames: int
) -> Window:
    """Build the window at `start`; frames past the end of the video repeat its last frame.

    Args:
        buffer: Frame index → frame, for all frames of the window.
        positions: Positions of the windows.
        start: Start of the window.
        num_frames: Number of frames of the video known so far.
    """
    indices = np.minimum(positions.get_frame_indices(start), num_frames - 1)
    # Only the last window is padded. In an earlier one, the newest frame known so far may occur
    # more than once because the video has fewer frames per second than the window.
    is_last = not positions.has_next(start, num_frames)
    return Window(
        np.stack([buffer[int(index)] for index in indices]),
        positions.count_real_frames(start, num_frames) if is_last else len(indices),
    )
