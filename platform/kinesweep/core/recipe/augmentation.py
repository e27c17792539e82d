"""Recipe part `batch.augmentation`: what is varied in training clips, otherwise in each epoch."""

from pydantic import Field

from kinesweep.core.config import Frozen


class AugmentationConfig(Frozen):
    """Training clips are varied; clips that are scored never are. All is off by default."""

    drop_frames: float = Field(0.0, ge=0, lt=1, description="Share of frames left out, at random.")
    speed: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Clips are played so much faster or slower: 0.2 is 0.8 to 1.2 times as fast.",
    )
    mirror: float = Field(
        0.0, ge=0, le=1, description="Share of clips that are mirrored, left and right swapped."
    )
    rotation_deg: float = Field(
        0.0, ge=0, le=45, description="Clips are turned in the image's plane by up to so much."
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of what is added to each coordinate that was found, in"
        " the features' units (shoulder widths).",
    )

    @property
    def moves_points(self) -> bool:
        """Whether coordinates change, not only which frames are taken."""
        return bool(self.mirror or self.rotation_deg or self.noise)

    @property
    def changes_length(self) -> bool:
        """Whether clips become shorter or longer."""
        return bool(self.drop_frames or self.speed)
