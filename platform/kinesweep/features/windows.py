"""Cuts films into windows and puts what was seen of them together again in time.

By default a film is first brought to `target_fps`, so that windows, strides and the rate of
features mean seconds whatever the film's own rate: between 24 and 60 frames a second features per
second differ by less than 2 %. `compat: ssvp` is SSVP-SLT's published arithmetic on the frames of
the file (9.5 features a second at 25 frames a second, 19.0 at 60). Frames stream through: a cutter
holds those of one window.

Shapes: F frames of a window, K moments of a window, T features of a clip, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.recipe.video import WindowsConfig

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Window:
    """A window of a film.

    Attributes:
        pixels_FHWC: uint8 RGB; crops of a frame stand side by side, W is a multiple of H.
        kept: frames that are real; those after them repeat the film's last one.
    """

    pixels_FHWC: NDArray[np.uint8]
    kept: int


class Windows(Protocol):
    """Where windows lie in a film of a known rate."""

    @property
    def step(self) -> int:
        """Frames from one window to the next."""

    def resampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames that windows count by."""

    def picks(self, start: int) -> NDArray[np.intp]:
        """Frames of the window that starts at `start`, (F,); they may lie beyond the end."""

    def goes_on(self, start: int, num_frames: int) -> bool:
        """Whether a film of so many frames, or more, has a window after this one."""

    def kept(self, start: int, num_frames: int) -> int:
        """Frames of a window that are real, of a film of so many frames."""


@dataclass(frozen=True)
class TimedWindows:
    """Windows of a film brought to `target_fps`.

    Attributes:
        config: how long, how far apart.
        fps: of the film.
    """

    config: WindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Frames of the resampled film."""
        return self.config.step

    def resampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The nearest frame for each moment of the target rate; at least one if there is any."""
        done = 0
        for number, frame in enumerate(frames, 1):
            while self._source(done) < number:
                yield frame
                done += 1

    def picks(self, start: int) -> NDArray[np.intp]:
        """Every `sampling_rate`-th frame."""
        return start + self.config.sampling_rate * np.arange(self.config.num_frames)

    def goes_on(self, start: int, num_frames: int) -> bool:
        """Whether there are frames behind this window."""
        return num_frames > start + self.config.span

    def kept(self, start: int, num_frames: int) -> int:
        """Frames before the end."""
        return int(np.count_nonzero(self.picks(start) < num_frames))

    def _source(self, number: int) -> int:
        """The file's frame that is nearest to a moment."""
        return int(number * self.fps / self.config.target_fps + 0.5)


@dataclass(frozen=True)
class PublishedWindows:
    """SSVP-SLT's windows on the frames of the file.

    Attributes:
        config: how long; its stride counts frames of the file.
        fps: of the film.
    """

    config: WindowsConfig
    fps: float

    @property
    def step(self) -> int:
        """Frames of the file, whatever its rate."""
        return self.config.step

    def resampled(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """All frames."""
        return iter(frames)

    def picks(self, start: int) -> NDArray[np.intp]:
        """Spread evenly over the window, from its first half frame to its last."""
        places = np.linspace(start + 0.5, start + self._size - 0.5, self.config.num_frames)
        return places.astype(np.intp)

    def goes_on(self, start: int, num_frames: int) -> bool:
        """Whether the window ends before the film's last frame."""
        return num_frames > start + self._size - 1

    def kept(self, start: int, num_frames: int) -> int:
        """Frames but those that repeat the film's last one."""
        last = np.count_nonzero(self.picks(start) >= num_frames - 1)
        return self.config.num_frames - max(0, int(last) - 1)

    @property
    def _size(self) -> float:
        return self.config.span * self.fps / self.config.target_fps


def windows_of(config: WindowsConfig, fps: float) -> Windows:
    """The windows that a recipe asks for, of a film of `fps` frames a second."""
    made = PublishedWindows if config.compat == "ssvp" else TimedWindows
    return made(config, fps)


def cut(frames: Iterable[Frame], windows: Windows) -> Iterator[Window]:
    """The windows of a film, in order; at least one.

    Raises:
        ClipError: reason `no_frames`.
    """
    held: dict[int, Frame] = {}
    start = seen = 0
    for frame in windows.resampled(frames):
        held[seen] = frame
        seen += 1
        while windows.goes_on(start, seen) and windows.picks(start)[-1] < seen:
            yield _window(held, windows, start, seen)
            start += windows.step
            # The last frame stays: SSVP-SLT's windows may begin behind it, in slow films.
            for number in [number for number in held if number < min(start, seen - 1)]:
                del held[number]
    if not seen:
        raise ClipError("there are no frames in this stretch", "no_frames")
    while windows.goes_on(start, seen):
        yield _window(held, windows, start, seen)
        start += windows.step
    yield _window(held, windows, start, seen)


def count(windows: Windows, num_frames: int) -> tuple[int, int]:
    """Windows of a film of so many frames, and the real frames of the last one."""
    start = found = 0
    while windows.goes_on(start, num_frames):
        start += windows.step
        found += 1
    return found + 1, windows.kept(start, num_frames)


def _window(held: dict[int, Frame], windows: Windows, start: int, seen: int) -> Window:
    places = np.minimum(windows.picks(start), seen - 1)
    return Window(np.stack([held[int(place)] for place in places]), windows.kept(start, seen))


@dataclass(frozen=True)
class Seam:
    """How the moments of windows become features of a clip.

    Attributes:
        config: says what becomes of moments that two windows see.
        moments: K of a window.

    Raises:
        InputError: windows are not whole moments apart, but should be laid over each other.
    """

    config: WindowsConfig
    moments: int

    def __post_init__(self) -> None:
        step, span = self.config.step * self.moments, self.config.span
        if self.config.overlap != "concat" and step % span:
            raise InputError(
                f"windows overlap by parts of a moment: with `overlap: {self.config.overlap}`,"
                f" `features.windows.stride` must be a multiple of {span / self.moments:g} frames,"
                f" not {self.config.step}"
            )

    @property
    def step(self) -> int:
        """Moments from one window to the next, where they are laid over each other."""
        return self.config.step * self.moments // self.config.span

    def rate_hz(self, fps: float) -> float:
        """Features a second of a film of `fps` frames a second, its ends left aside."""
        own = fps if self.config.compat == "ssvp" else self.config.target_fps
        if self.config.overlap == "concat":
            return self.moments * own / self.config.step
        return self.moments * own / self.config.span

    def kept(self, frames: int) -> int:
        """Moments of a window that begin in a real frame, of which it has so many."""
        return -(-frames * self.moments // self.config.num_frames)

    def length(self, num_windows: int, frames: int) -> int:
        """T of a clip of so many windows, the last with so many real frames."""
        step = self.moments if self.config.overlap == "concat" else self.step
        return step * (num_windows - 1) + self.kept(frames)

    def join(self, windows: Sequence[NDArray[np.float32]], frames: int) -> NDArray[np.float32]:
        """Features of a clip, (T, D).

        Args:
            windows: (K, D) of each, in order.
            frames: real frames of the last.
        """
        parts = [*windows[:-1], windows[-1][: self.kept(frames)]]
        if self.config.overlap == "crop":
            parts = self._cropped(parts)
        if self.config.overlap == "average":
            return self._averaged(parts)
        return np.concatenate(parts)

    def _cropped(self, parts: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Of every window the middle; of the outer ones also what nobody else sees."""
        edge = (self.moments - self.step) // 2
        last = len(parts) - 1
        return [
            part[edge if number else 0 : edge + self.step if number < last else None]
            for number, part in enumerate(parts)
        ]

    def _averaged(self, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        length = self.step * (len(parts) - 1) + len(parts[-1])
        total = np.zeros((length, parts[0].shape[1]), np.float32)
        times = np.zeros((length, 1), np.float32)
        for number, part in enumerate(parts):
            place = slice(number * self.step, number * self.step + len(part))
            total[place] += part
            times[place] += 1
        return total / times
