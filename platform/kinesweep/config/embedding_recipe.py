"""The recipe of a frame embedder, which maps frames to unit vectors and is trained without labels.

Corpus, features and store are configured as in the recipe of a run, so the store is shared with the
runs whose clips the embedder aligns. `embedding.kind` determines the training pairs: two clips of
the same type of motion (`tcc`), or two views of one clip (`carl`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import add_part_identities
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.augmentation import AugmentationConfig
from kinesweep.config.recipe.data import StoreConfig
from kinesweep.config.recipe.h5_shards import fill_in_stream_names
from kinesweep.config.recipe.model.encoders import EncoderConfig, MlpEncoderConfig
from kinesweep.config.recipe.source import AnyFeatures, AnySource, PoseFeaturesConfig
from kinesweep.config.tracking import TrackingChoice
from kinesweep.config.validation_problems import check_derived_section
from kinesweep.core.hashing import compute_fingerprint

_CORPUS_SECTIONS = ("name", "source", "features", "store", "tracking")
_UNHASHED_SECTIONS = ("name", "source", "features", "store", "tracking", "resources")
_PLACEHOLDER_MODEL = {"backbone": {"kind": "seq2seq", "scratch": {"architecture": "m2m_100"}}}
"""Placeholder for the required `model` section of a run's recipe, which extraction ignores."""


class _EmbeddingObjectiveConfig(StrictConfig):
    """Settings shared by both objectives."""

    stream: str | None = Field(
        None, description="Stream of features to embed; default: the only stream of the store."
    )
    hidden: int = Field(128, ge=1, description="Output width of the encoder.")
    width: int = Field(64, ge=2, description="Width of an embedding.")
    temperature: float = Field(0.1, gt=0, description="Divisor of the similarities.")


class TccConfig(_EmbeddingObjectiveConfig):
    """Temporal cycle consistency between clips of one type of motion (arXiv 1904.07846)."""

    kind: Literal["tcc"] = Field(description="Training objective.")
    cycle: Literal["regression", "classification"] = Field(
        "regression", description="Form of the cycle-back loss."
    )
    variance_weight: float | None = Field(
        None,
        ge=0,
        description="λ of `regression`: weight of the logarithm of the standard deviation;"
        " default: 0.001.",
    )

    @model_validator(mode="after")
    def _check_variance_weight(self) -> "TccConfig":
        """Check that `variance_weight` is not set for `cycle: classification`."""
        if self.variance_weight is not None and self.cycle == "classification":
            raise ValueError("`variance_weight` is for `cycle: regression`; leave it out")
        return self


class CarlConfig(_EmbeddingObjectiveConfig):
    """Sequence contrastive loss between two views of a clip (CARL, arXiv 2203.14957)."""

    kind: Literal["carl"] = Field(description="Training objective.")
    sigma: float = Field(
        10**0.5,
        gt=0,
        description="Standard deviation, in frames, of the Gaussian that weighs nearby frames as"
        " positives.",
    )
    crop: float = Field(
        0.6,
        gt=0.5,
        le=1,
        description="Smallest share of a clip that a view covers; above one half, so that two views"
        " of a clip overlap.",
    )


class EmbeddingBatchConfig(StrictConfig):
    """Batching of clips."""

    batch_size: int = Field(32, ge=2, description="Clips per step: twice the number of pairs.")
    frames: int = Field(
        32,
        ge=2,
        description="Frames sampled from a clip or view, in order; shorter ones are used whole.",
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(),
        description="Augmentation of the points, independent for each clip and view; the length"
        " must not change.",
    )

    @model_validator(mode="after")
    def _check_augmentation(self) -> "EmbeddingBatchConfig":
        """Check that the augmentation neither drops frames nor changes the speed."""
        if self.augmentation.has_temporal_augmentation:
            raise ValueError(
                "`augmentation` sets `drop_frames` or `speed`, but frames are sampled anew in each"
                " epoch anyway (`frames`, `embedding.crop`); set both to 0"
            )
        return self


class EmbeddingTrainingConfig(StrictConfig):
    """Training of the weights."""

    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    warmup_steps: int = Field(
        0, ge=0, description="Steps of linear warmup from 0; the learning rate then decays."
    )
    max_steps: int = Field(2000, ge=1, description="Number of training steps.")
    eval_steps: int = Field(200, ge=1, description="Steps between evaluations and checkpoints.")
    eval_pairs: int = Field(
        200,
        ge=1,
        description="Largest number of pairs of validation clips, evenly spaced, on which the"
        " temporal order of matches is scored.",
    )
    weight_decay: float = Field(1e-5, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm above which to clip.")
    seed: int = Field(
        42, ge=0, description="Random seed for initialization, dropout, data order and views."
    )


class EmbeddingResourcesConfig(StrictConfig):
    """Resources of a run, which is a single process."""

    cpus: int = Field(1, ge=1, description="Number of cores and threads.")
    gpus: int = Field(0, ge=0, le=1, description="Number of GPUs; 0 trains on the CPU.")


class EmbeddingRecipe(StrictConfig):
    """The configuration of a frame embedder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Name of runs.")
    source: AnySource = Field(description="Corpus, or a list of corpora.")
    features: AnyFeatures = Field(
        PoseFeaturesConfig(), description="Features extracted from each clip."
    )
    store: StoreConfig = Field(StoreConfig(), description="Feature store on disk.")
    batch: EmbeddingBatchConfig = Field(EmbeddingBatchConfig(), description="Batching of clips.")
    encoder: EncoderConfig = Field(
        MlpEncoderConfig(hidden=(128,)),
        description="Encoder from frames to vectors; it must keep every frame.",
    )
    embedding: Annotated[TccConfig | CarlConfig, Field(discriminator="kind")] = Field(
        description="Training objective."
    )
    training: EmbeddingTrainingConfig = Field(
        EmbeddingTrainingConfig(), description="Training of the weights."
    )
    resources: EmbeddingResourcesConfig = Field(
        EmbeddingResourcesConfig(), description="Resources of a run."
    )
    tracking: TrackingChoice = "auto"

    @model_validator(mode="before")
    @classmethod
    def _fill_in_stream_names(cls, raw_recipe: Any) -> Any:
        """Return the input with the names of all streams if its features select none."""
        return fill_in_stream_names(raw_recipe)

    @model_validator(mode="after")
    def _check_vector_for_every_frame(self) -> "EmbeddingRecipe":
        """Check that the encoder returns a vector for every frame."""
        # Not every kind of encoder has `strides`, `downsample` or `pooling`.
        strides = getattr(self.encoder, "strides", ())
        if getattr(self.encoder, "downsample", 1) != 1 or any(stride != 1 for stride in strides):
            raise ValueError(
                "`encoder` skips frames, but every frame needs a vector; set its `downsample`, or"
                " each of its `strides`, to 1"
            )
        pooling = getattr(self.encoder, "pooling", "skeleton")
        if pooling != "skeleton":
            raise ValueError(
                f"`encoder.pooling` is {pooling}, but every frame needs a vector; set it to"
                " `skeleton`"
            )
        return self

    @model_validator(mode="after")
    def _check_no_lora(self) -> "EmbeddingRecipe":
        """Check that the encoder has no low-rank adapters."""
        if getattr(self.encoder, "lora", None) is not None:
            raise ValueError(
                "`encoder.lora` adapts the weights of an earlier run, but an embedder is trained"
                " from scratch; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _check_no_mask(self) -> "EmbeddingRecipe":
        """Check that frames have no mask, because alignments embed coordinates only."""
        if getattr(self.features, "missing", None) == "mask":
            raise ValueError(
                "`features.missing: mask` adds a mask to each frame, but an embedder reads"
                " coordinates only; set it to zero, whose embedder also serves a recipe with mask"
            )
        return self

    @model_validator(mode="after")
    def _check_corpus_recipe(self) -> "EmbeddingRecipe":
        """Check the sections of the corpus against each other, by the rules of a run's recipe."""
        # A run's recipe has the rules between source and features, so building one checks them.
        check_derived_section(lambda: self.corpus_recipe)
        return self

    @property
    def corpus_recipe(self) -> Recipe:
        """Return a run's recipe with the same name, corpus, features, store and tracking.

        It is used to extract the features; its model is a placeholder.
        """
        sections = self.model_dump(mode="json", include=set(_CORPUS_SECTIONS))
        return Recipe.model_validate({**sections, "model": _PLACEHOLDER_MODEL})

    def compute_config_hash(self, store_fingerprint: str) -> str:
        """Compute a 12-digit hexadecimal hash of the configuration and the data, without the seed.

        Sections that do not affect the result are left out, and the store's fingerprint replaces
        those of the data.

        Args:
            store_fingerprint: Fingerprint of the feature store, which represents the data.
        """
        values = self.model_dump(mode="json", exclude=set(_UNHASHED_SECTIONS))
        add_part_identities(values, self)
        del values["training"]["seed"]
        return compute_fingerprint({"embedding": values, "store": store_fingerprint})[:12]

    def resolve_paths(self, base_dir: Path) -> "EmbeddingRecipe":
        """Return the recipe with absolute local paths.

        Args:
            base_dir: Folder that relative paths start from.
        """
        corpus_sections = self.corpus_recipe.resolve_paths(base_dir).model_dump(
            mode="json", include=set(_CORPUS_SECTIONS)
        )
        return EmbeddingRecipe.model_validate({**self.model_dump(mode="json"), **corpus_sections})
