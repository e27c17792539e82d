"""Video windows: cut videos into windows and stitch the features of windows together in time.

By default a video is first resampled to `target_fps`, so that windows, strides and feature rates
have the same duration for any frame rate: between 24 and 60 frames per second, features per second
differ by less than 2 %. `compat: ssvp` uses SSVP-SLT's published arithmetic on the frames of the
file (9.5 features per second at 25 frames per second, 19.0 at 60). Frames are streamed; only those
of one window are kept in memory.

Shapes: F frames of a window, K moments of a window, T features of a clip, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.video import WindowsConfig
from kinesweep.core.errors import ClipError, InputError

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Window:
    """A window of a video.

    Attributes:
        pixels_FHWC: Pixels, uint8 RGB. Crops of a frame lie side by side; W is a multiple of H.
        kept: Number of real frames; the frames after them repeat the last one of the video.
    """

    pixels_FHWC: NDArray[np.uint8]
    kept: int


class Windows(Protocol):
    """The positions of windows in a video with a known frame rate."""

    @property
    def step(self) -> int:
        """Number of frames from one window to the next."""

    def resampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames that window positions refer to."""

    def frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return the frame indices of the window at `start`, (F,); some may be past the end."""

    def has_next(self, start: int, num_frames: int) -> bool:
        """Whether a video of at least `num_frames` frames has a window after this one."""

    def kept(self, start: int, num_frames: int) -> int:
        """Return the number of real frames of the window in a video of `num_frames` frames."""


@dataclass(frozen=True)
class TimedWindows:
    """The windows of a video that is resampled to `target_fps`.

    Attributes:
        config: Length and stride of the windows.
        fps: Frame rate of the video.
    """

    config: WindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Number of frames of the resampled video."""
        return self.config.step

    def resampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the nearest frame for each instant of the target rate, at least one if any."""
        done = 0
        # A frame is repeated or skipped depending on the ratio of the rates; the next output frame
        # is emitted as soon as its source frame has arrived.
        for number, frame in enumerate(frames, 1):
            while self._source(done) < number:
                yield frame
                done += 1

    def frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return every `sampling_rate`-th frame."""
        return start + self.config.sampling_rate * np.arange(self.config.num_frames)

    def has_next(self, start: int, num_frames: int) -> bool:
        """Whether there are frames after this window."""
        return num_frames > start + self.config.span

    def kept(self, start: int, num_frames: int) -> int:
        """Return the number of frames before the end of the video."""
        return int(np.count_nonzero(self.frame_indices(start) < num_frames))

    def _source(self, number: int) -> int:
        """Return the frame of the file that is nearest to a frame of the resampled video."""
        # Adding 0.5 rounds halves up; `round` would alternate between even and odd neighbors.
        return int(number * self.fps / self.config.target_fps + 0.5)


@dataclass(frozen=True)
class PublishedWindows:
    """The windows of SSVP-SLT, positioned on the frames of the file.

    Attributes:
        config: Length and stride of the windows; the stride counts frames of the file.
        fps: Frame rate of the video.
    """

    config: WindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Number of frames of the file, independent of its rate."""
        return self.config.step

    def resampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield all frames unchanged."""
        return iter(frames)

    def frame_indices(self, start: int) -> NDArray[np.intp]:
        """Return frames at equal distances, from the center of the first frame to the last's."""
        places = np.linspace(start + 0.5, start + self._size - 0.5, self.config.num_frames)
        return places.astype(np.intp)

    def has_next(self, start: int, num_frames: int) -> bool:
        """Whether the window ends before the last frame of the video."""
        return num_frames > start + self._size - 1

    def kept(self, start: int, num_frames: int) -> int:
        """Return the number of frames without repetitions of the video's last frame."""
        # The last frame itself is real once; every further occurrence is padding.
        last = np.count_nonzero(self.frame_indices(start) >= num_frames - 1)
        return self.config.num_frames - max(0, int(last) - 1)

    @property
    def _size(self) -> float:
        """Length of a window in frames of the file."""
        return self.config.span * self.fps / self.config.target_fps


def windows_of(config: WindowsConfig, fps: float) -> Windows:
    """Return the windows that a recipe defines for a video of `fps` frames per second."""
    made = PublishedWindows if config.compat == "ssvp" else TimedWindows
    return made(config, fps)


def iter_windows(frames: Iterable[Frame], windows: Windows) -> Iterator[Window]:
    """Yield the windows of a video in order, at least one.

    Raises:
        ClipError: If there are no frames; reason `no_frames`.
    """
    held: dict[int, Frame] = {}
    start = seen = 0
    # A window is emitted early only if another one follows it and all its frames have arrived.
    # The last window must wait for the end of the video, which determines its padding.
    for frame in windows.resampled(frames):
        held[seen] = frame
        seen += 1
        while windows.has_next(start, seen) and windows.frame_indices(start)[-1] < seen:
            yield _window(held, windows, start, seen)
            start += windows.step
            # Keep the newest frame: in videos with a low frame rate, SSVP-SLT's next window may
            # start after it and then consists of copies of it.
            for number in [number for number in held if number < min(start, seen - 1)]:
                del held[number]
    if not seen:
        raise ClipError("there are no frames in this part of the video", "no_frames")
    # Windows that needed more frames than the video has, padded; the last one comes at the end.
    while windows.has_next(start, seen):
        yield _window(held, windows, start, seen)
        start += windows.step
    yield _window(held, windows, start, seen)


def count(windows: Windows, num_frames: int) -> tuple[int, int]:
    """Return the number of windows of a video and the number of real frames of the last one."""
    start = found = 0
    while windows.has_next(start, num_frames):
        start += windows.step
        found += 1
    return found + 1, windows.kept(start, num_frames)


def _window(held: dict[int, Frame], windows: Windows, start: int, seen: int) -> Window:
    """Stack the frames of a window; positions past the end repeat the last frame."""
    places = np.minimum(windows.frame_indices(start), seen - 1)
    return Window(np.stack([held[int(place)] for place in places]), windows.kept(start, seen))


@dataclass(frozen=True)
class WindowStitcher:
    """A window stitcher, which joins the moments of windows into the features of a clip.

    Attributes:
        config: Window configuration; `overlap` says how shared moments are combined.
        moments: Number of moments of a window, K.

    Raises:
        InputError: If overlapping windows are to be combined, but the stride is not a whole number
            of moments.
    """

    config: WindowsConfig
    moments: int

    def __post_init__(self) -> None:
        step, span = self.config.step * self.moments, self.config.span
        if self.config.overlap != "concat" and step % span:
            raise InputError(
                f"windows overlap by a fraction of a moment: with `overlap: {self.config.overlap}`,"
                f" `features.windows.stride` must be a multiple of {span / self.moments:g} frames,"
                f" not {self.config.step}"
            )

    @property
    def step(self) -> int:
        """Number of moments from one window to the next, if overlapping moments are combined."""
        return self.config.step * self.moments // self.config.span

    def rate_hz(self, fps: float) -> float:
        """Return features per second of a video of `fps` frames per second, ignoring its ends."""
        own = fps if self.config.compat == "ssvp" else self.config.target_fps
        if self.config.overlap == "concat":
            return self.moments * own / self.config.step
        return self.moments * own / self.config.span

    def kept(self, frames: int) -> int:
        """Return the number of moments that begin in one of the first `frames` frames."""
        return -(-frames * self.moments // self.config.num_frames)

    def length(self, num_windows: int, frames: int) -> int:
        """Return T of a clip with `num_windows` windows and `frames` real frames in the last."""
        step = self.moments if self.config.overlap == "concat" else self.step
        return step * (num_windows - 1) + self.kept(frames)

    def join(self, windows: Sequence[NDArray[np.float32]], frames: int) -> NDArray[np.float32]:
        """Join the features of windows into those of the clip, (T, D).

        Args:
            windows: Features of each window, (K, D), in order.
            frames: Number of real frames of the last window.
        """
        parts = [*windows[:-1], windows[-1][: self.kept(frames)]]
        if self.config.overlap == "crop":
            parts = self._cropped(parts)
        if self.config.overlap == "average":
            return self._averaged(parts)
        return np.concatenate(parts)

    def _cropped(self, parts: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Keep the middle of every window, and the outer ends of the first and last window."""
        # Moments in the middle of a window have context on both sides, those at its edges do not.
        edge = (self.moments - self.step) // 2
        last = len(parts) - 1
        return [
            part[edge if number else 0 : edge + self.step if number < last else None]
            for number, part in enumerate(parts)
        ]

    def _averaged(self, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Average the moments that several windows share."""
        length = self.step * (len(parts) - 1) + len(parts[-1])
        total = np.zeros((length, parts[0].shape[1]), np.float32)
        times = np.zeros((length, 1), np.float32)
        for number, part in enumerate(parts):
            place = slice(number * self.step, number * self.step + len(part))
            total[place] += part
            times[place] += 1
        return total / times
