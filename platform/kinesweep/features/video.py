"""Video features: decode a video at the model's size, cut windows, encode them, join the results.

Windows go through the model in batches of constant size: a smaller batch is filled with copies of
its last window, so that the numerical results never depend on the number of windows. On Ray the
same functions run separately, decoders on CPUs and models on GPUs (`store.extract_videos`); there a
batch may contain windows of different clips.

With crops, the parts of a frame lie side by side in the pixels of a window. The model encodes each
part separately, and their features are concatenated.

Shapes: B windows, F frames, H pixels high, W = H a crop, K moments, T features, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.hashing import fingerprint
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.body_crops import CROPS_VERSION, CroppedFrames
from kinesweep.features.contract import Features
from kinesweep.features.encoders import VideoEncoder, build_encoder, encoder_fingerprint
from kinesweep.features.video_windows import Window, WindowStitcher, count, iter_windows, windows_of
from kinesweep.sources.video.frame_reader import FrameReader, seconds

# Increase this when the values for an unchanged configuration change.
CODE_VERSION = 1
# Settings that do not change feature values; `encoder` has a fingerprint of its own.
_NOT_NUMBERS = {"stream", "gpus", "actors", "encoder"}
T = TypeVar("T")


@dataclass(frozen=True)
class VideoFeatures:
    """A feature step that computes one stream of video features.

    Attributes:
        config: Video encoder, windows and crops.
    """

    config: VideoFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Name of the single stream, as set in the recipe."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Hash of the model's weights, the windows and the version of this code.

        Raises:
            InputError: If the model's file does not exist.
        """
        own = self.config.model_dump(mode="json", exclude=_NOT_NUMBERS)
        if self.config.cropped:
            own["crops_code"] = CROPS_VERSION
        else:
            # Features without crops stay valid when the crop code changes.
            del own["crops"]
        encoder = encoder_fingerprint(self.config.encoder)
        return fingerprint({"config": own, "encoder": encoder, "code": CODE_VERSION})

    def encoder(self) -> VideoEncoder:
        """Return the video encoder on the device of this process; it is loaded once.

        Raises:
            InputError: If the model cannot be read or does not accept such windows.
            CheckpointError: If the weights do not fit the model.
        """
        device = "cuda" if self.config.gpus and torch.cuda.is_available() else "cpu"
        return build_encoder(self.config.encoder, self.config.precision, device)

    def seam(self, encoder: VideoEncoder) -> WindowStitcher:
        """Create the window stitcher for an encoder."""
        return WindowStitcher(self.config.windows, encoder.moments(self.config.windows.num_frames))

    def windows(self, footage: VideoSegment, size: int) -> tuple[float, Iterator[Window]]:
        """Open a part of a video.

        Args:
            footage: Video file and time span.
            size: Height and width of the frames in pixels.

        Returns:
            Frames per second, and an iterator over the windows.

        Raises:
            ClipError: If the video cannot be opened. Iterating over the windows raises it too.
        """
        frames: FrameReader | CroppedFrames
        if self.config.cropped:
            frames = CroppedFrames(footage, self.config.crops, size)
        else:
            frames = FrameReader(footage, size)
        return frames.fps, iter_windows(frames, windows_of(self.config.windows, frames.fps))

    def compute(self, media: VideoSegment) -> dict[str, Features]:
        """Compute the features of a part of a video.

        Raises:
            ClipError: If it cannot be decoded; with its reason.
        """
        encoder = self.encoder()
        seam = self.seam(encoder)
        fps, windows = self.windows(media, encoder.size)
        seen: list[NDArray[np.float32]] = []
        kept = 0
        for some in groups(windows, self.config.batch):
            # The list holds features only; pixels of earlier windows are released.
            seen += list(encode_windows(encoder, some, self.config.batch))
            kept = some[-1].kept
        return {self.config.stream: Features(seam.join(seen, kept), seam.rate_hz(fps))}

    def shape(self, media: VideoSegment) -> dict[str, tuple[int, int]]:
        """Estimate T from the duration in the file's header, and return D.

        Raises:
            ClipError: If the video cannot be opened.
        """
        encoder = self.encoder()
        # Estimated at the target rate. The rate of `compat: ssvp` differs, but not by much.
        rate = self.config.windows.target_fps
        frames = max(1, round(seconds(media) * rate))
        length = self.seam(encoder).length(*count(windows_of(self.config.windows, rate), frames))
        return {self.config.stream: (length, encoder.width * len(self.config.crops))}


def groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items in order; the last one may be shorter."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def encode_windows(
    encoder: VideoEncoder, windows: Sequence[Window], batch: int
) -> NDArray[np.float32]:
    """Encode windows, (len(windows), K, D).

    Args:
        encoder: Video encoder.
        windows: At most `batch` windows. With n crops side by side, D is n times the width of the
            encoder.
        batch: Constant batch size of the model; a smaller number of windows is padded.
    """
    full = [*windows, *[windows[-1]] * (batch - len(windows))]
    pixels_BFHWC = torch.from_numpy(np.stack([window.pixels_FHWC for window in full]))
    kept_B = [window.kept for window in full]
    # Crops lie side by side along W; each one is a square of the model's size.
    crops = pixels_BFHWC.split(encoder.size, dim=3)
    seen_BKD = torch.cat([encoder(crop.contiguous(), kept_B) for crop in crops], dim=2)
    return seen_BKD[: len(windows)].numpy()
