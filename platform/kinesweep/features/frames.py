"""Decoded frames as features: the pixels that a video model reads, at its size and rate.

A frame is decoded, scaled and cropped by the reader that video features use, and the video is
resampled to a constant rate by the function that their windows use. Windows cut from these frames
are therefore equal to the bit to those of an extraction, and a model can be trained on them. A
frame of 224 pixels takes 150 KB, a second at 25 frames per second 3.8 MB.

Shapes: T frames, D width (size · size · 3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.features.signer_crop import SignerCropConfig
from kinesweep.config.recipe.video import WHOLE_FRAME_CROP
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.body_crops import CroppedFrames
from kinesweep.features.contract import Features
from kinesweep.features.signer_crop.identity import describe_signer_crop
from kinesweep.features.video_windows import resample_frames
from kinesweep.sources.decoded_size import check_decoded_size
from kinesweep.sources.video.frame_reader import FrameReader, get_duration_s

# Increase this when the pixels for an unchanged configuration change.
CODE_VERSION = 1
_NUM_COLORS = 3


@dataclass(frozen=True)
class FramesFeatures:
    """A feature step that decodes one stream of frames.

    Attributes:
        config: Size and rate of the frames, and where their pixels are kept.
    """

    config: FramesFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the name of the single stream, as set in the recipe."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the configuration without the name of the stream, and of the code."""
        settings = self.config.model_dump(mode="json", exclude={"stream"})
        settings |= describe_signer_crop(settings.pop("crop"), self.config.crop)
        return compute_fingerprint({"config": settings, "code": CODE_VERSION})

    def compute_features(self, media: VideoSegment) -> dict[str, Features]:
        """Decode the frames of a video segment: the configured stream → (T, D), uint8.

        Raises:
            ClipError: If the segment cannot be decoded, or its frames do not fit into memory
                (reason `too_large`).
        """
        config = self.config
        return {
            config.stream: Features(
                decode_frames(media, config.size, config.target_fps, config.crop),
                config.target_fps,
                frame_size=config.size,
                reads_video=config.storage == "video",
            )
        }

    def estimate_shapes(self, media: VideoSegment) -> dict[str, tuple[int, int]]:
        """Estimate the shape of the stream from the duration in the file's header: stream → (T, D).

        With `storage: video`, T is 0, because no pixels are stored.

        Raises:
            ClipError: If the video cannot be opened.
        """
        duration_s = get_duration_s(media)
        is_stored = self.config.storage == "decoded"
        num_frames = max(1, round(duration_s * self.config.target_fps)) if is_stored else 0
        return {self.config.stream: (num_frames, count_frame_values(self.config.size))}


def decode_frames(
    segment: VideoSegment,
    size: int,
    target_fps: float,
    signer_crop: SignerCropConfig | None = None,
) -> NDArray[np.uint8]:
    """Decode the frames of a video segment at a size and a rate, and return them as uint8 (T, D).

    Args:
        segment: Video file, time span and, if poses locate the signer, pose file.
        size: Side in pixels of the square crop that each frame is scaled to.
        target_fps: Frames per second that the video is resampled to.
        signer_crop: Square around the signer; None: the center square.

    Raises:
        ClipError: If the segment cannot be decoded, or its frames take more memory than one media
            file may (reason `too_large`).
    """
    frames: FrameReader | CroppedFrames
    if signer_crop is None:
        frames = FrameReader(segment, size)
    else:
        frames = CroppedFrames(segment, WHOLE_FRAME_CROP, size, signer_crop)
    width = count_frame_values(size)
    # Checked before decoding: a recording that was never cut would fill the memory.
    num_expected = round(frames.num_frames / frames.fps * target_fps)
    check_decoded_size(f"`{segment.path}`", num_expected * width)
    # One growing buffer: a list of frames would be held beside the array that is made of them.
    pixels = bytearray()
    for frame in resample_frames(frames, frames.fps, target_fps):
        pixels += frame.data
    if not pixels:
        raise ClipError("there are no frames in this part of the video", "no_frames")
    return np.frombuffer(pixels, np.uint8).reshape(-1, width)


def count_frame_values(size: int) -> int:
    """Return the number of values D of a square RGB frame with sides of `size` pixels."""
    return size * size * _NUM_COLORS
