"""Recipe sections `store` and `batch`: the feature store on disk and the batching of clips."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.config.recipe.prompt import TasksConfig


class StoreConfig(StrictConfig):
    """The feature store."""

    dtype: Literal["float16", "float32"] = Field("float16", description="Type of features on disk.")
    root: str | None = Field(
        None,
        description="Folder of the stores, shared by all nodes; default: `stores` in the state"
        " folder.",
    )
    max_dropped_share: float = Field(
        0.01, ge=0, le=1, description="Largest share of dropped clips; above it, extraction fails."
    )
    required_splits: tuple[Literal["train", "validation", "test"], ...] | None = Field(
        None,
        description="Splits of which no listed clip may be dropped, whatever the share; default:"
        " validation for precomputed features (`feature_manifest`, `h5_shards`), otherwise none."
        " Rows without a text do not count as clips and are only reported.",
    )


class PartialStoreConfig(StoreConfig):
    """The store of some splits of a corpus, as `feature_epochs` derives it; not part of recipes.

    Clips that are dropped are counted where the stores of all splits are joined.
    """

    max_dropped_share: float = Field(1.0, description="Share of dropped clips; not limited.")
    splits: tuple[str, ...] = Field(description="Splits whose clips the store has.")


class BatchConfig(StrictConfig):
    """Batching of training clips, by a budget of frames or a fixed number of clips."""

    max_frames: int | None = Field(
        None,
        ge=1,
        description="Frames per batch, including padding; default: 4096 without `batch_size`.",
    )
    batch_size: int | None = Field(
        None, ge=1, description="Clips per batch; mutually exclusive with `max_frames`."
    )
    drop_last: bool = Field(
        False,
        description="Leave the last batch of an epoch out if it has fewer clips than `batch_size`;"
        " other clips are left out in each epoch.",
    )
    min_clip_frames: int = Field(
        1,
        ge=1,
        description="Shorter clips are excluded from train and validation, never from test, and"
        " reported.",
    )
    max_clip_frames: int | None = Field(
        None,
        ge=1,
        description="Longer clips are excluded from train and validation, never from test, and"
        " reported.",
    )
    truncate_frames: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {},
        description="Stream name → number of frames that are read, in all splits; the rest of"
        " longer streams is truncated and reported. `min_clip_frames` and `max_clip_frames` apply"
        " before truncation. A reference without its own limit uses that of its motion. Streams of"
        " the source that `features` does not select may be listed.",
    )
    loader_workers: int = Field(
        0, ge=0, description="Worker processes that prepare batches; 0: the main process does it."
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="Augmentation of training clips, new in each epoch."
    )
    tasks: TasksConfig = Field(
        TasksConfig(), description="Tasks of training clips, sampled anew in each epoch."
    )
    reference_choice: Literal["first", "random", "each", "min_loss"] = Field(
        "first",
        description="Training target of a clip with several references: the `first`, a `random` one"
        " per epoch, `each` of them once per epoch, or the `min_loss`, the one with the lowest loss"
        " at the time. `min_loss` scores all references: it multiplies the work and memory of the"
        " decoder, or of the whole model with a causal backbone, by their number. Metrics always"
        " use all references.",
    )
    ablation: Literal["none", "zeros", "shuffled"] = Field(
        "none",
        description="Sanity baseline: `zeros` sets all features to zero, `shuffled` pairs the"
        " training clips with wrong texts.",
    )

    @model_validator(mode="after")
    def _check_batch_limits(self) -> "BatchConfig":
        """Check that `max_frames` and `batch_size` are not both set, and that clips fit in a batch.

        A clip of `max_clip_frames` must not exceed `max_frames`.
        """
        if self.max_frames is not None and self.batch_size is not None:
            raise ValueError("give `max_frames` or `batch_size`, not both")
        if self.drop_last and self.batch_size is None:
            raise ValueError("`drop_last` needs `batch_size`: a budget of frames has no full batch")
        # The default of `max_frames` is applied later, so that None tells an unset value apart.
        max_clip_frames = self.max_clip_frames
        if (
            max_clip_frames is not None
            and self.max_frames is not None
            and max_clip_frames > self.max_frames
        ):
            raise ValueError(
                f"`max_clip_frames` ({max_clip_frames}) does not fit in `max_frames`"
                f" ({self.max_frames})"
            )
        return self


class EffectiveBatchConfig(BatchConfig):
    """The `batch` section as a run uses it, with the streams of reference motions added."""

    reference_streams: tuple[str, ...] = Field(
        (),
        description="Streams of reference motions, which are encoded with a clip but do not count"
        " as frames of it.",
    )
