"""Section `batch` of a pretraining recipe: windows that are cut from clips, and their pixels."""

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.features.pixel_augmentation import PixelAugmentationConfig


class PretrainingBatchConfig(StrictConfig):
    """Windows of a training step and of evaluations."""

    windows: int = Field(
        2,
        ge=1,
        description="Windows that a worker passes through the model at once. A step has this number"
        " times `training.gradient_accumulation_steps` times `resources.workers`.",
    )
    repeats: int = Field(
        2,
        ge=1,
        description="Windows drawn from a clip each time it is read (repeated sampling); an epoch"
        " has this number of windows of every clip.",
    )
    num_frames: int = Field(128, ge=2, multiple_of=2, description="Number of frames of a window.")
    sampling_rate: int = Field(2, ge=1, description="Use every n-th stored frame in a window.")
    min_clip_frames: int = Field(
        1, ge=1, description="Shorter clips are excluded from train and validation, and reported."
    )
    max_clip_frames: int | None = Field(
        None,
        ge=1,
        description="Frames of a clip after this number are never read; default: all are.",
    )
    augmentation: PixelAugmentationConfig | None = Field(
        PixelAugmentationConfig(),
        description="Augmentation of the pixels of training windows, drawn for each window; null:"
        " none. Larger frames than the model reads (`features.size`) are scaled, or cut out with"
        " `random_crop_from` and `random_resized_crop`.",
    )
    max_validation_windows: int | None = Field(
        None,
        ge=1,
        description="Largest number of validation windows, evenly spaced; default: all.",
    )
    loader_workers: int = Field(
        0, ge=0, description="Processes per worker that prepare batches; 0: the worker itself."
    )

    @model_validator(mode="after")
    def _check_repeats(self) -> "PretrainingBatchConfig":
        """Check that a worker's windows hold whole repetitions, so that clips are read once."""
        # Otherwise two workers would decode the same clip.
        if self.windows % self.repeats:
            raise ValueError(
                f"`windows` ({self.windows}) must be a multiple of `repeats` ({self.repeats}), so"
                " that one worker draws all windows of a clip"
            )
        return self
