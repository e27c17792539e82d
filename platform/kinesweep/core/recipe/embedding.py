"""A recipe of an embedder: frames of a corpus to unit vectors, trained without labels.

Corpus, features and store are those of a run's recipe, so a store is shared with the runs whose
clips the embedder will align. What a pair of clips is tells `embedding.kind`: two clips of one kind
of motion (`tcc`), or two views of one clip (`carl`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from kinesweep.core.config import Frozen
from kinesweep.core.hashing import fingerprint
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.augmentation import AugmentationConfig
from kinesweep.core.recipe.data import StoreConfig
from kinesweep.core.recipe.model import EncoderConfig, MlpEncoderConfig
from kinesweep.core.recipe.shards import with_streams
from kinesweep.core.recipe.source import AnyFeatures, AnySource, PoseFeaturesConfig

_CORPUS = ("name", "source", "features", "store", "tracking")
_NOT_IDENTITY = ("name", "source", "features", "store", "tracking", "resources")
_NO_MODEL = {"backbone": {"kind": "seq2seq", "scratch": {"architecture": "m2m_100"}}}
"""What a run's recipe must have and its corpus does not read."""


class _ObjectiveConfig(Frozen):
    """What both objectives have."""

    stream: str | None = Field(
        None, description="Which features; default: the only ones that the store has."
    )
    hidden: int = Field(128, ge=1, description="Width of what leaves the encoder.")
    width: int = Field(64, ge=2, description="Width of an embedding.")
    temperature: float = Field(0.1, gt=0, description="Similarities are divided by it.")


class TccConfig(_ObjectiveConfig):
    """Temporal cycle consistency, between clips of one kind of motion (arXiv 1904.07846)."""

    kind: Literal["tcc"] = Field(description="Objective.")
    cycle: Literal["regression", "classification"] = Field(
        "regression", description="How the way back to a frame is scored."
    )
    variance_weight: float | None = Field(
        None,
        ge=0,
        description="λ of `regression`: weight of the logarithm of the deviation; default 0.001.",
    )

    @model_validator(mode="after")
    def _lambda_is_of_regression(self) -> "TccConfig":
        if self.variance_weight is not None and self.cycle == "classification":
            raise ValueError("`variance_weight` is for `cycle: regression`; leave it out")
        return self


class CarlConfig(_ObjectiveConfig):
    """Sequence contrast between two views of a clip (CARL, arXiv 2203.14957)."""

    kind: Literal["carl"] = Field(description="Objective.")
    sigma: float = Field(
        10**0.5, gt=0, description="Deviation, in frames, of what counts as the same moment."
    )
    crop: float = Field(
        0.6,
        gt=0.5,
        le=1,
        description="Least share of a clip that a view covers; above one half, so that two views"
        " of a clip meet.",
    )


class EmbeddingBatchConfig(Frozen):
    """How clips become batches."""

    clips: int = Field(32, ge=2, description="Clips a step; of pairs half as many.")
    frames: int = Field(
        32, ge=2, description="Frames that are drawn of a clip or view, in order; shorter give all."
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(),
        description="How points are varied, each view and clip on its own; not its length.",
    )

    @model_validator(mode="after")
    def _time_is_ours(self) -> "EmbeddingBatchConfig":
        if self.augmentation.changes_length:
            raise ValueError(
                "`augmentation` holds `drop_frames` or `speed`, but frames are drawn anew in each"
                " epoch anyway (`frames`, `embedding.crop`); set them to 0"
            )
        return self


class EmbeddingTrainingConfig(Frozen):
    """How weights are learnt."""

    learning_rate: float = Field(1e-3, gt=0, description="Peak of AdamW's learning rate.")
    warmup_steps: int = Field(0, ge=0, description="Steps in which it rises from 0; then it falls.")
    max_steps: int = Field(2000, ge=1, description="Steps.")
    eval_steps: int = Field(200, ge=1, description="Steps between evaluations and checkpoints.")
    eval_pairs: int = Field(
        200, ge=1, description="Pairs of validation clips whose order is scored, spread evenly."
    )
    weight_decay: float = Field(1e-5, ge=0, description="AdamW's decay of weights.")
    max_grad_norm: float = Field(1.0, gt=0, description="Clip gradients to this norm.")
    seed: int = Field(42, ge=0, description="Of weights, dropout, order and views.")


class EmbeddingResourcesConfig(Frozen):
    """What a run takes: one process."""

    cpus: int = Field(1, ge=1, description="Cores, and threads.")
    gpus: int = Field(0, ge=0, le=1, description="1: train on a GPU.")


class EmbeddingRecipe(Frozen):
    """One configuration of an embedder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Names runs.")
    source: AnySource = Field(description="The corpus.")
    features: AnyFeatures = Field(
        PoseFeaturesConfig(), description="What is computed from each clip."
    )
    store: StoreConfig = Field(StoreConfig(), description="How features lie on disk.")
    batch: EmbeddingBatchConfig = Field(
        EmbeddingBatchConfig(), description="How clips become batches."
    )
    encoder: EncoderConfig = Field(
        MlpEncoderConfig(hidden=(128,)),
        description="From frames to vectors; one that keeps every frame.",
    )
    embedding: Annotated[TccConfig | CarlConfig, Field(discriminator="kind")] = Field(
        description="What is learnt."
    )
    training: EmbeddingTrainingConfig = Field(
        EmbeddingTrainingConfig(), description="How weights are learnt."
    )
    resources: EmbeddingResourcesConfig = Field(
        EmbeddingResourcesConfig(), description="What a run takes."
    )
    tracking: Literal["auto", "mlflow", "none"] = Field(
        "auto",
        description="`auto`: MLflow when its server is known (`kinesweep up`), else nothing.",
    )

    @model_validator(mode="before")
    @classmethod
    def _all_streams_are_named(cls, plain: Any) -> Any:
        return with_streams(plain)

    @model_validator(mode="after")
    def _every_frame_is_kept(self) -> "EmbeddingRecipe":
        strides = getattr(self.encoder, "strides", ())
        if getattr(self.encoder, "downsample", 1) != 1 or any(stride != 1 for stride in strides):
            raise ValueError(
                "`encoder` leaves out frames, but each is to have a vector; set its `downsample`,"
                " or each of its `strides`, to 1"
            )
        pooling = getattr(self.encoder, "pooling", "skeleton")
        if pooling != "skeleton":
            raise ValueError(
                f"`encoder.pooling` is {pooling}, but each frame is to have a vector; set it to"
                " `skeleton`"
            )
        return self

    @model_validator(mode="after")
    def _everything_learns(self) -> "EmbeddingRecipe":
        if getattr(self.encoder, "lora", None) is not None:
            raise ValueError(
                "`encoder.lora` learns beside weights of an earlier run, but an embedder begins"
                " anew; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _the_corpus_is_one(self) -> "EmbeddingRecipe":
        try:
            _ = self.corpus_recipe
        except ValidationError as error:
            message = str(error.errors()[0]["msg"])
            raise ValueError(message.removeprefix("Value error, ")) from None
        return self

    @property
    def corpus_recipe(self) -> Recipe:
        """The corpus, its features and its store, as a run's recipe has them: for extraction."""
        plain = self.model_dump(mode="json", include=set(_CORPUS))
        return Recipe.model_validate({**plain, "model": _NO_MODEL})

    def config_hash(self, store_fingerprint: str) -> str:
        """12 hexadecimal digits that name this configuration, seed and paths left out."""
        plain = self.model_dump(mode="json", exclude=set(_NOT_IDENTITY))
        del plain["training"]["seed"]
        return fingerprint({"embedding": plain, "store": store_fingerprint})[:12]

    def resolved(self, base: Path) -> "EmbeddingRecipe":
        """The same recipe with every local path absolute."""
        corpus = self.corpus_recipe.resolved(base).model_dump(mode="json", include=set(_CORPUS))
        return EmbeddingRecipe.model_validate({**self.model_dump(mode="json"), **corpus})
