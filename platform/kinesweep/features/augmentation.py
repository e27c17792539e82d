"""Data augmentation of training clips: frame sampling and transformations of points.

The random numbers for a clip in an epoch depend only on (seed, epoch, clip id), so they are the
same in any batch, process or order, and a resumed run continues with the same clips. Augmentation
changes stored features, so no file is extracted twice. Undetected points are zero and stay zero.
The frames of videos can be mirrored and their times changed; they stay bytes.
Each stream draws its own random numbers, with two exceptions. The streams of a clip are mirrored
together, or they would show different people. The stream of a reference motion reuses the numbers
of the stream that is compared with it: their difference is meaningful only between matching frames
and body sides. Noise is always drawn separately, because shared noise would cancel in the
difference.

Shapes: T frames, J points, C coordinates, D = J·C; H × W pixels.
"""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.core.errors import InputError
from kinesweep.core.schema import StoreSchema
from kinesweep.core.seeds import create_generator, derive_seed
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.mirror import compute_mirror_permutation, mirror_frames


@dataclass(frozen=True)
class Augmentation:
    """A random augmentation of clips, deterministic for each (seed, epoch, clip id).

    Attributes:
        config: Kinds and strengths of the augmentation.
        schema: Schema of the feature store, which gives the point layout of each stream.
        seed: Random seed of the run.
        max_frames: Maximum number of frames of a clip after augmentation; those of reference
            motions are not counted.
        augmentation_pairs: Stream → stream whose random numbers it reuses; other streams draw
            their own.
    """

    config: AugmentationConfig
    schema: StoreSchema
    seed: int
    max_frames: int
    augmentation_pairs: Mapping[str, str] = field(default_factory=dict)

    def compute_lengths(
        self, lengths: Mapping[str, int], clip_id: str, epoch: int
    ) -> dict[str, int]:
        """Compute stream → number of frames after augmentation.

        Args:
            lengths: Stream → number of frames before augmentation.
            clip_id: Id of the clip.
            epoch: Index of the epoch, counted from 0.
        """
        length_factor = self._draw_length_factor(lengths, clip_id, epoch)
        return {
            name: self._count_kept_frames(_scale_num_frames(num_frames, length_factor))
            for name, num_frames in lengths.items()
        }

    def __call__(
        self, streams: Mapping[str, NDArray[Any]], clip_id: str, epoch: int
    ) -> dict[str, NDArray[Any]]:
        """Augment the streams of a clip and return stream → features, (T, D), as copies.

        The frames of videos stay uint8, token ids int32; all other features become float32.

        Args:
            streams: Stream → features, (T, D).
            clip_id: Id of the clip.
            epoch: Index of the epoch, counted from 0.

        Raises:
            InputError: If points are to be transformed but a stream holds none (frames can be
                mirrored), if clips are to be mirrored but the mirror image of a point is unknown,
                or if streams that share random numbers differ in length.
        """
        self._check_equal_lengths(streams, clip_id)
        lengths = {name: len(x_TD) for name, x_TD in streams.items()}
        length_factor = self._draw_length_factor(lengths, clip_id, epoch)
        side = self._draw_common_side(streams, clip_id, epoch)
        augmented = {}
        for name, stored_TD in streams.items():
            seed_stream = self.augmentation_pairs.get(name, name)
            rng = create_generator(self.seed, "augmentation", epoch, clip_id, seed_stream)
            # Indexing by an array copies; `_transform_points` relies on this and works in place.
            schema = self.schema.streams[name]
            indices = self._draw_frame_indices(len(stored_TD), length_factor, rng)
            # Pixels and token ids keep their type.
            dtype = stored_TD.dtype if stored_TD.dtype.kind in "ui" else np.float32
            x_TD: NDArray[Any] = np.asarray(stored_TD, dtype)[indices]
            # Drawn even if it is not used, so the angle of a stream never depends on other streams.
            own_side = rng.random()
            is_mirrored = (own_side if side is None else side) < self.config.mirror
            if schema.frame_size is not None:
                x_TD = mirror_frames(x_TD, schema.frame_size) if is_mirrored else x_TD
            elif self.config.has_spatial_augmentation:
                # `rng` is consumed in a fixed order: frames, mirror, rotation. A reference motion
                # draws the same values, and only its noise comes from a generator of its own.
                noise_rng = (
                    rng
                    if seed_stream == name
                    else create_generator(self.seed, "noise", epoch, clip_id, name)
                )
                x_TD = self._transform_points(x_TD, name, is_mirrored, rng, noise_rng)
            augmented[name] = x_TD
        return augmented

    def _check_equal_lengths(self, streams: Mapping[str, Sized], clip_id: str) -> None:
        """Check that streams that share random numbers have equal lengths.

        Raises:
            InputError: If two lengths differ.
        """
        for name, paired_name in self.augmentation_pairs.items():
            if name in streams and len(streams[name]) != len(streams[paired_name]):
                raise InputError(
                    f"clip `{clip_id}` has {len(streams[paired_name])} frames of `{paired_name}`,"
                    f" but {len(streams[name])} of `{name}`; both share one augmentation and need"
                    " the same number of frames: align the reference during feature extraction"
                )

    def _draw_length_factor(self, lengths: Mapping[str, int], clip_id: str, epoch: int) -> float:
        """Draw the factor by which the length of a clip changes, the same for all its streams.

        The factor never makes the clip longer than `max_frames`. It is 1 if `speed` is 0.
        """
        if not self.config.speed:
            return 1.0
        total_frames = sum(
            num_frames
            for name, num_frames in lengths.items()
            if name not in self.augmentation_pairs
        )
        # A derived seed is an integer below 2**63, so this is a uniform number in [0, 1).
        uniform = derive_seed(self.seed, "speed", epoch, clip_id) / 2**63
        tempo = 1 + self.config.speed * (2 * uniform - 1)
        # A faster tempo makes a clip shorter, hence the reciprocal.
        return min(1 / tempo, self.max_frames / total_frames)

    def _draw_common_side(self, streams: Iterable[str], clip_id: str, epoch: int) -> float | None:
        """Draw the uniform number in [0, 1) that decides on which side the streams of a clip are.

        Returns:
            The number; None if a clip has a single stream, which draws its own. References follow
            their stream and do not count.
        """
        if len({self.augmentation_pairs.get(name, name) for name in streams}) < 2:
            return None
        return derive_seed(self.seed, "mirror", epoch, clip_id) / 2**63

    def _count_kept_frames(self, num_frames: int) -> int:
        """Count the frames that remain after random frames are dropped, at least 1."""
        return max(1, round(num_frames * (1 - self.config.drop_frames)))

    def _draw_frame_indices(
        self, num_frames: int, length_factor: float, rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """Draw the indices of the frames after resampling and dropping, in ascending order.

        Args:
            num_frames: Number of frames before augmentation.
            length_factor: Factor of the number of frames; above 1, frames are repeated.
            rng: Random number generator that selects the dropped frames.
        """
        num_resampled = _scale_num_frames(num_frames, length_factor)
        # Each new frame takes the old frame at its center in time (nearest-neighbor resampling).
        indices = ((np.arange(num_resampled) + 0.5) * num_frames / num_resampled).astype(np.intp)
        num_kept = self._count_kept_frames(num_resampled)
        if num_kept == num_resampled:
            return indices
        # The start of a permutation is a sample without repetition; sorting restores the order.
        return indices[np.sort(rng.permutation(num_resampled)[:num_kept])]

    def _transform_points(
        self,
        x_TD: NDArray[np.float32],
        stream: str,
        is_mirrored: bool,
        rng: np.random.Generator,
        noise_rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Mirror the points, rotate them at random and add noise to the detected ones, in place.

        Args:
            x_TD: Points of the frames; the array is changed.
            stream: Name of the stream, which determines the point layout.
            is_mirrored: Whether the points are mirrored.
            rng: Random number generator for rotation.
            noise_rng: Random number generator for noise.

        Raises:
            InputError: If the stream holds no points.
        """
        config, layout = self.config, self._get_layout(stream)
        x_TJC = x_TD.reshape(len(x_TD), layout.num_points, -1)
        # Without a mask, stored features do not say which points were detected; undetected ones are
        # all zeros. The mask itself moves with its point, but is never rotated or noisy.
        has_mask = self.schema.streams[stream].has_mask
        num_coordinates = x_TJC.shape[2] - has_mask
        # A score instead of a mask is above 0 where a point was detected.
        detected_TJ1 = (x_TJC[..., -1:] > 0 if has_mask else x_TJC != 0).max(axis=2, keepdims=True)
        if is_mirrored:
            # Swapping left and right and negating x are both needed; either alone would produce
            # a body with exchanged sides. Negation keeps the zeros of undetected points.
            order_J = self._mirror_permutations[stream]
            x_TJC, detected_TJ1 = x_TJC[:, order_J], detected_TJ1[:, order_J]
            x_TJC[..., 0] *= -1
        angle = np.deg2rad(rng.uniform(-config.rotation_deg, config.rotation_deg))
        if angle:
            # Rotation about the origin in the image plane; z and undetected points do not change.
            rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            x_TJC[..., :2] = x_TJC[..., :2] @ rotation.astype(np.float32)
        if config.noise:
            shape = *x_TJC.shape[:2], num_coordinates
            noise_TJC = noise_rng.standard_normal(shape, np.float32) * np.float32(config.noise)
            x_TJC[..., :num_coordinates] += noise_TJC * detected_TJ1
        return x_TJC.reshape(x_TD.shape)

    def _get_layout(self, stream: str) -> PointLayout:
        """Return the point layout of a stream.

        Raises:
            InputError: If the stream holds no points.
        """
        layout = self.schema.streams[stream].layout
        if layout is None:
            raise InputError(
                f"`batch.augmentation` transforms points, but the stream `{stream}` holds none;"
                " set `mirror`, `rotation_deg` and `noise` to 0"
            )
        return layout

    # Writes to the instance's `__dict__`, which also works on a frozen dataclass.
    @cached_property
    def _mirror_permutations(self) -> dict[str, NDArray[np.intp]]:
        """Return stream → index of the mirror image of each point, (J,).

        Raises:
            InputError: If a stream holds no points, or points with unknown mirror images.
        """
        return {
            name: compute_mirror_permutation(self._get_layout(name)) for name in self._point_streams
        }

    @property
    def _point_streams(self) -> list[str]:
        """Return the streams that are transformed as points: all but the frames of videos."""
        return [name for name, stream in self.schema.streams.items() if stream.frame_size is None]


def build_augmentation(
    config: AugmentationConfig,
    schema: StoreSchema,
    seed: int,
    max_frames: int,
    augmentation_pairs: Mapping[str, str] | None = None,
) -> Augmentation | None:
    """Build an augmentation and check that it is applicable; None if it would change nothing.

    Args:
        config: Kinds and strengths of the augmentation.
        schema: Schema of the feature store.
        seed: Random seed of the run.
        max_frames: Maximum number of frames of a clip after augmentation; those of reference
            motions are not counted.
        augmentation_pairs: Stream → stream whose random numbers it reuses.

    Raises:
        InputError: If points are to be transformed but a stream holds none, if clips are to be
            mirrored but the mirror image of a point is unknown, or if a stream of frames would have
            to be rotated or made noisy.
    """
    if not (config.has_spatial_augmentation or config.has_temporal_augmentation):
        return None
    augmentation = Augmentation(config, schema, seed, max_frames, augmentation_pairs or {})
    # Both accesses exist for the errors that they raise now instead of during training.
    for stream in augmentation._point_streams if config.has_spatial_augmentation else ():
        augmentation._get_layout(stream)
    if len(augmentation._point_streams) < len(schema.streams) and (
        config.rotation_deg or config.noise
    ):
        raise InputError(
            "`batch.augmentation.rotation_deg` and `noise` move points, but the store has the"
            " frames of videos, which would not follow them; set both to 0"
        )
    if config.mirror:
        _ = augmentation._mirror_permutations
    return augmentation


def _scale_num_frames(num_frames: int, length_factor: float) -> int:
    """Scale a number of frames by a factor and round it down, to at least 1."""
    return max(1, int(num_frames * length_factor))
