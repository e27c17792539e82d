"""Recipe section `batch.augmentation`: data augmentation of training clips, new in each epoch."""

from pydantic import Field

from kinesweep.config.loading import StrictConfig


class AugmentationConfig(StrictConfig):
    """Augmentation of training clips; clips of other splits stay as they are. Off by default.

    `drop_frames`, `speed` and `mirror` also fit the frames of `features.kind: frames`.
    """

    drop_frames: float = Field(0.0, ge=0, lt=1, description="Share of frames dropped at random.")
    speed: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Largest relative change of speed: 0.2 means 0.8 to 1.2 times as fast.",
    )
    mirror: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of clips that are mirrored, left and right swapped; frames are flipped."
        " All streams of a clip are mirrored together.",
    )
    rotation_deg: float = Field(
        0.0, ge=0, le=45, description="Largest rotation in the image plane, in degrees."
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of the noise added to each detected coordinate, in the"
        " units of the features (for poses, shoulder widths).",
    )

    @property
    def moves_about_origin(self) -> bool:
        """Return whether the augmentation mirrors or rotates points, which needs an origin."""
        return bool(self.mirror or self.rotation_deg)

    @property
    def has_spatial_augmentation(self) -> bool:
        """Return whether the augmentation changes coordinates: mirror, rotation or noise."""
        return bool(self.mirror or self.rotation_deg or self.noise)

    @property
    def has_temporal_augmentation(self) -> bool:
        """Return whether the augmentation changes the length of clips: dropped frames or speed."""
        return bool(self.drop_frames or self.speed)
