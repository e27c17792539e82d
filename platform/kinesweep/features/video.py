"""Features of a video: decoded at the model's size, cut into windows, seen, put together in time.

A clip's windows go through the model some at a time, always as many: a batch that is not full is
filled up with a copy of its last window, so that arithmetic never depends on how many there were.
On Ray the same functions run apart, decoders on CPUs and models on GPUs
(`store.extract_videos`); windows of different clips then share a batch.

With crops the parts of a frame stand side by side in a window's pixels; the model sees each by
itself, and their features stand beside each other.

Shapes: B windows, F frames, H pixels high, W = H a crop, K moments, T features, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from kinesweep.core.hashing import fingerprint
from kinesweep.core.media import Footage
from kinesweep.core.recipe.video import VideoFeaturesConfig
from kinesweep.features.contract import Features
from kinesweep.features.crops import CROPS_VERSION, CroppedFrames
from kinesweep.features.encoders import VideoEncoder, build_encoder, encoder_fingerprint
from kinesweep.features.windows import Seam, Window, count, cut, windows_of
from kinesweep.sources.footage import Frames, seconds

CODE_VERSION = 1
"""Raised when the numbers of unchanged configurations change."""
_NOT_NUMBERS = {"stream", "gpus", "actors", "encoder"}
T = TypeVar("T")


@dataclass(frozen=True)
class VideoFeatures:
    """A stream of video features.

    Attributes:
        config: the model and its windows.
    """

    config: VideoFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """One, as the recipe calls it."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Names the model's weights, the windows and the version of this code.

        Raises:
            InputError: the model's file is not there.
        """
        own = self.config.model_dump(mode="json", exclude=_NOT_NUMBERS)
        if self.config.cropped:
            own["crops_code"] = CROPS_VERSION
        else:
            del own["crops"]
        encoder = encoder_fingerprint(self.config.encoder)
        return fingerprint({"config": own, "encoder": encoder, "code": CODE_VERSION})

    def encoder(self) -> VideoEncoder:
        """The model, on this process's device; loaded once.

        Raises:
            InputError: it cannot be read, or takes no such windows.
            CheckpointError: its weights do not fit.
        """
        device = "cuda" if self.config.gpus and torch.cuda.is_available() else "cpu"
        return build_encoder(self.config.encoder, self.config.precision, device)

    def seam(self, encoder: VideoEncoder) -> Seam:
        """How what it saw is put together."""
        return Seam(self.config.windows, encoder.moments(self.config.windows.num_frames))

    def windows(self, footage: Footage, size: int) -> tuple[float, Iterator[Window]]:
        """Frames a second of a stretch of film, and its windows.

        Raises:
            ClipError: the film cannot be opened, now or while windows are taken.
        """
        frames: Frames | CroppedFrames
        if self.config.cropped:
            frames = CroppedFrames(footage, self.config.crops, size)
        else:
            frames = Frames(footage, size)
        return frames.fps, cut(frames, windows_of(self.config.windows, frames.fps))

    def compute(self, media: Footage) -> dict[str, Features]:
        """Features of a stretch of film.

        Raises:
            ClipError: it cannot be decoded; with its reason.
        """
        encoder = self.encoder()
        seam = self.seam(encoder)
        fps, windows = self.windows(media, encoder.size)
        seen: list[NDArray[np.float32]] = []
        kept = 0
        for some in groups(windows, self.config.batch):
            seen += list(see(encoder, some, self.config.batch))
            kept = some[-1].kept
        return {self.config.stream: Features(seam.join(seen, kept), seam.rate_hz(fps))}

    def shape(self, media: Footage) -> dict[str, tuple[int, int]]:
        """T by the length that the file claims, and D.

        Raises:
            ClipError: the film cannot be opened.
        """
        encoder = self.encoder()
        # Counted at the target rate; that of `compat: ssvp` differs, but not by much.
        rate = self.config.windows.target_fps
        frames = max(1, round(seconds(media) * rate))
        length = self.seam(encoder).length(*count(windows_of(self.config.windows, rate), frames))
        return {self.config.stream: (length, encoder.width * len(self.config.crops))}


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """So many at a time, in order; the last may be fewer."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def see(encoder: VideoEncoder, windows: Sequence[Window], batch: int) -> NDArray[np.float32]:
    """What a model says of some windows, (len(windows), K, D).

    Args:
        encoder: the model.
        windows: at the most `batch`; of n crops side by side D is n times the model's.
        batch: how many go through it.
    """
    full = [*windows, *[windows[-1]] * (batch - len(windows))]
    pixels_BFHWC = torch.from_numpy(np.stack([window.pixels_FHWC for window in full]))
    kept_B = [window.kept for window in full]
    crops = pixels_BFHWC.split(encoder.size, dim=3)
    seen_BKD = torch.cat([encoder(crop.contiguous(), kept_B) for crop in crops], dim=2)
    return seen_BKD[: len(windows)].numpy()
