"""Recipe parts `store` and `batch`: how features lie on disk and how clips are put side by side."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinesweep.core.config import Frozen
from kinesweep.core.recipe.augmentation import AugmentationConfig
from kinesweep.core.recipe.prompt import TasksConfig


class StoreConfig(Frozen):
    """The feature store."""

    dtype: Literal["float16", "float32"] = Field("float16", description="Type of features on disk.")
    root: str | None = Field(
        None, description="Folder that all nodes see; default: `stores` in the state folder."
    )
    max_dropped_share: float = Field(
        0.01, ge=0, le=1, description="Share of clips that may be dropped before extraction fails."
    )
    complete: tuple[Literal["train", "validation", "test"], ...] | None = Field(
        None,
        description="Splits of which no listed clip may be dropped, whatever the share; default:"
        " validation where features are given (`feature_manifest`, `h5_shards`), else none. Rows"
        " without a text are no clips, and only counted.",
    )


class BatchConfig(Frozen):
    """How training clips become batches: by a budget of frames, or a fixed number of clips."""

    max_frames: int | None = Field(
        None, ge=1, description="Frames in a batch, padding included. Default 4096 without `clips`."
    )
    clips: int | None = Field(None, ge=1, description="Clips in a batch; instead of `max_frames`.")
    min_clip_frames: int = Field(
        1, ge=1, description="Shorter clips leave train and validation, never test; counted."
    )
    max_clip_frames: int | None = Field(
        None, ge=1, description="Longer clips leave train and validation, never test; counted."
    )
    max_stream_frames: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {},
        description="Name of a stream → frames that are read of it, in all splits; the end of"
        " longer ones is cut off, and counted. `min_clip_frames` and `max_clip_frames` look at"
        " clips before they are cut. A reference has its motion's limit where it has none itself. A"
        " stream of the source that `features` does not take may be named.",
    )
    loader_workers: int = Field(
        0, ge=0, description="Processes that prepare batches; 0: none extra."
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="How training clips are varied, anew in each epoch."
    )
    tasks: TasksConfig = Field(
        TasksConfig(), description="What training clips are asked, anew in each epoch."
    )
    paraphrases: Literal["first", "random", "each", "closest"] = Field(
        "first",
        description="Of a training clip's references: train on the first, on one drawn in each"
        " epoch, on each of them once an epoch, or on the one that the model finds likeliest at the"
        " time (`closest`, which scores all of them: a decoder's work and memory as often; with a"
        " causal backbone the whole model's). All of them count in scores.",
    )
    ablation: Literal["none", "zeros", "shuffled"] = Field(
        "none",
        description="Sanity baselines: `zeros` blanks all features, `shuffled` pairs the clips of"
        " train with wrong texts.",
    )

    @model_validator(mode="after")
    def _one_size(self) -> "BatchConfig":
        if self.max_frames is not None and self.clips is not None:
            raise ValueError("give `max_frames` or `clips`, not both")
        longest = self.max_clip_frames
        if longest is not None and self.max_frames is not None and longest > self.max_frames:
            raise ValueError(
                f"`max_clip_frames` ({longest}) does not fit in `max_frames` ({self.max_frames})"
            )
        return self


class TakenBatch(BatchConfig):
    """The part `batch` as it is carried out, with what `model.reference` says of streams."""

    uncounted: tuple[str, ...] = Field(
        (), description="Streams of references: encoded beside a clip's, and no frames of it."
    )
