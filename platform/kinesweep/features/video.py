"""Video features: decode a video at the model's size, cut windows, encode them, join the results.

Windows go through the model in batches of constant size: a smaller batch is filled with copies of
its last window, so that the numerical results never depend on the number of windows. On Ray the
same functions run separately, decoders on CPUs and models on GPUs
(`store.extraction.extract_videos`); there a batch may contain windows of different clips.

With crops, the parts of a frame lie side by side in the pixels of a window. The model encodes each
part separately, and their features are concatenated.

Shapes: B windows, F frames of a window, H pixels high, W pixels wide (H per crop), C colors, K time
steps of a window, T features of a clip, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from kinesweep.config.recipe.video import VideoEpochConfig, VideoFeaturesConfig
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.system.devices import select_device
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.body_crops import CROPS_VERSION
from kinesweep.features.contract import Features
from kinesweep.features.encoders import (
    VideoEncoder,
    build_video_encoder,
    compute_encoder_fingerprint,
)
from kinesweep.features.pixels.transform import (
    AUGMENTATION_VERSION,
    PixelTransform,
    check_crop_size,
    draw_transform,
)
from kinesweep.features.signer_crop.identity import describe_signer_crop
from kinesweep.features.video_frames import open_frames
from kinesweep.features.video_windows import (
    Window,
    build_window_positions,
    count_windows,
    iter_windows,
)
from kinesweep.features.window_stitcher import WindowStitcher
from kinesweep.sources.video.frame_reader import get_duration_s

# Increase this when the values for an unchanged configuration change. 2: frames of videos with a
# variable frame rate are chosen by their time stamps.
CODE_VERSION = 2
# Settings that do not change feature values; `encoder` has a fingerprint of its own. How many
# epochs a recipe has does not change the values of one.
_IRRELEVANT_SETTINGS = {"stream", "gpus", "actors", "encoder", "epochs"}
Item = TypeVar("Item")


@dataclass(frozen=True)
class VideoFeatures:
    """A feature step that computes one stream of video features.

    Pixels are augmented only for a `VideoEpochConfig`, that is, for one epoch of train; whatever a
    recipe's `augmentation` is, the features of other splits and of new videos are not augmented.

    Attributes:
        config: Video encoder, windows and crops.
    """

    config: VideoFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the name of the single stream, as set in the recipe."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the encoder with its weights, the configuration and the code version.

        The files of a hub model are downloaded for it.

        Raises:
            InputError: If the files of the encoder do not exist or cannot be downloaded.
        """
        settings = self.config.model_dump(mode="json", exclude=_IRRELEVANT_SETTINGS)
        if self.config.has_body_crops:
            settings["crops_code"] = CROPS_VERSION
        else:
            # Features without crops stay valid when the crop code changes.
            del settings["crops"]
        settings |= describe_signer_crop(settings.pop("crop"), self.config.crop)
        if isinstance(self.config, VideoEpochConfig):
            settings["augmentation_code"] = AUGMENTATION_VERSION
        else:
            del settings["augmentation"]
        encoder_fingerprint = compute_encoder_fingerprint(self.config.encoder)
        return compute_fingerprint(
            {"config": settings, "encoder": encoder_fingerprint, "code": CODE_VERSION}
        )

    def load_encoder(self, device: str | None = None) -> VideoEncoder:
        """Load the video encoder on the GPU if one is configured, else on the CPU.

        Each process caches the two encoders that it used last.

        Args:
            device: Device in place of the configured one, for a caller that only needs sizes.

        Raises:
            ResourceError: If a GPU is configured, but this process sees none.
            InputError: If the files do not exist, the model is not supported, or its frames are too
                large for the random crops of the augmentation.
            CheckpointError: If the weights do not fit the model.
        """
        if device is None:
            # Never the CPU in place of a GPU: days instead of hours, and other bits in the store.
            device = str(select_device("cuda" if self.config.gpus else "cpu", self._gpu_request))
        encoder = build_video_encoder(self.config.encoder, self.config.precision, device)
        # Only the model knows the size of its frames, so this cannot be checked with the recipe.
        check_crop_size(self.config.augmentation, encoder.size, "features.augmentation")
        return encoder

    @property
    def _gpu_request(self) -> str:
        """Return the setting that asks for a GPU, and the way out, for a message."""
        gpus = self.config.gpus
        return f"`features.gpus` is {gpus:g}; set it to 0 to run the video model on the CPU"

    def check_device(self) -> None:
        """Check that this process sees a GPU if one is configured; loads nothing.

        Raises:
            ResourceError: If it sees none.
        """
        select_device("cuda" if self.config.gpus else "cpu", self._gpu_request)

    def build_stitcher(self, encoder: VideoEncoder) -> WindowStitcher:
        """Build the window stitcher for the configured windows and an encoder.

        Raises:
            InputError: If the encoder does not support windows of this length, or the stride does
                not fit its time steps.
        """
        return WindowStitcher(
            self.config.windows, encoder.count_time_steps(self.config.windows.num_frames)
        )

    def iter_segment_windows(
        self, segment: VideoSegment, size: int
    ) -> tuple[float, Iterator[Window]]:
        """Open a segment, and return its frame rate and a lazy iterator over its windows.

        Frames are cropped and augmented, if the configuration says so, before they form windows.

        Args:
            segment: Video file, time span, id of the clip and, with crops, pose file.
            size: Height of the frames and width of each crop in pixels.

        Returns:
            Frame rate of the video in frames per second, and an iterator over the windows.

        Raises:
            ClipError: If the video or its poses cannot be opened. Iterating over the windows raises
                it if they cannot be read to the end of the span.
        """
        transform = self._draw_transform(segment, size)
        frames = open_frames(segment, self.config, transform.decoded_size if transform else size)
        positions = build_window_positions(self.config.windows, frames.fps)
        changed_frames = map(transform, frames) if transform else frames
        return frames.fps, iter_windows(changed_frames, positions)

    def _draw_transform(self, segment: VideoSegment, size: int) -> PixelTransform | None:
        """Draw the random transform of a clip's frames; None if they are not augmented.

        Args:
            segment: Segment with the id of its clip.
            size: Height and width of a frame that the model takes, in pixels.
        """
        config = self.config
        if not isinstance(config, VideoEpochConfig) or config.augmentation is None:
            return None
        return draw_transform(
            config.augmentation, size, config.crops, segment.clip_id, config.epoch
        )

    def compute_features(self, media: VideoSegment) -> dict[str, Features]:
        """Compute the features of a video segment: the configured stream → (T, D).

        Raises:
            ClipError: If the segment cannot be decoded; with its reason.
            InputError: If the encoder cannot be loaded or does not support such windows.
            CheckpointError: If the weights do not fit the model.
        """
        encoder = self.load_encoder()
        stitcher = self.build_stitcher(encoder)
        fps, windows = self.iter_segment_windows(media, encoder.size)
        window_features: list[NDArray[np.float32]] = []
        num_real_frames = 0
        for batch in iter_batches(windows, self.config.batch):
            # The list holds features only; pixels of earlier windows are released.
            window_features += list(encode_windows(encoder, batch, self.config.batch))
            num_real_frames = batch[-1].num_real_frames
        return {
            self.config.stream: Features(
                stitcher.stitch_windows(window_features, num_real_frames),
                stitcher.compute_rate_hz(fps),
            )
        }

    def estimate_shapes(self, media: VideoSegment) -> dict[str, tuple[int, int]]:
        """Estimate the shape of the stream from the duration in the file's header: stream → (T, D).

        This loads the encoder, which determines the time steps of a window and the width.

        Raises:
            ClipError: If the video cannot be opened.
            InputError: If the encoder cannot be loaded or does not support such windows.
            CheckpointError: If the weights do not fit the model.
        """
        # Only sizes are needed; the driver of a cluster may have no GPU.
        encoder = self.load_encoder("cpu")
        # Estimated at the target rate. The rate of `compat: ssvp` differs, but not by much.
        fps = self.config.windows.target_fps
        num_frames = max(1, round(get_duration_s(media) * fps))
        num_windows, num_last_frames = count_windows(
            build_window_positions(self.config.windows, fps), num_frames
        )
        length = self.build_stitcher(encoder).compute_length(num_windows, num_last_frames)
        return {self.config.stream: (length, encoder.width * len(self.config.crops))}


def iter_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Iterate lazily over items in batches (lists) of `size` items; the last one may be smaller."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def encode_windows(
    encoder: VideoEncoder, windows: Sequence[Window], batch_size: int
) -> NDArray[np.float32]:
    """Encode windows to features in one batch of constant size.

    Args:
        encoder: Video encoder.
        windows: At least one and at most `batch_size` windows, possibly of different videos.
        batch_size: Batch size of the model; a smaller number of windows is padded.

    Returns:
        Features, float32 (len(windows), K, D). With n crops side by side, D is n times the width of
        the encoder.
    """
    padded = [*windows, *[windows[-1]] * (batch_size - len(windows))]
    pixels_BFHWC = torch.from_numpy(np.stack([window.pixels_FHWC for window in padded]))
    num_real_frames_B = [window.num_real_frames for window in padded]
    # Crops lie side by side along W; each one is a square of the model's size.
    crops = pixels_BFHWC.split(encoder.size, dim=3)
    crop_features = [encoder(crop.contiguous(), num_real_frames_B) for crop in crops]
    features_BKD = torch.cat(crop_features, dim=2)
    return features_BKD[: len(windows)].numpy()
