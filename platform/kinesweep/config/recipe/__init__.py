"""The recipe: the complete configuration of a run, from corpus to scores.

Paths are relative to the working directory of the command; `Recipe.resolve_paths` makes them
absolute for other processes. In the configuration hash, the store's fingerprint stands for them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe import cross_checks
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig, StoreConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.h5_shards import (
    H5ShardsConfig,
    StreamsFeaturesConfig,
    fill_in_stream_names,
)
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.vision_checks import list_frame_streams
from kinesweep.config.recipe.paths import (
    make_paths_absolute,
    make_paths_portable,
    set_encoder_dir,
    strip_model_paths,
)
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.config.recipe.source import (
    ESTIMATOR_PLACEHOLDER,
    AnyFeatures,
    AnySource,
    CorporaConfig,
    PoseFeaturesConfig,
    PoseTsvConfig,
    SingleSourceConfig,
    SourceConfig,
)
from kinesweep.config.recipe.training import (
    CheckpointsConfig,
    GenerationConfig,
    ResourcesConfig,
    TrainingConfig,
)
from kinesweep.core.hashing import compute_fingerprint

# Sections that do not affect the result beyond what the store's fingerprint covers.
_UNHASHED_SECTIONS = ("name", "source", "features", "store", "checkpoints", "tracking", "resources")


class Recipe(StrictConfig):
    """The configuration of one run."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Name of runs and exports."
    )
    source: AnySource = Field(description="Corpus, or a list of corpora.")
    features: AnyFeatures = Field(
        PoseFeaturesConfig(), description="Features extracted from each clip."
    )
    store: StoreConfig = Field(StoreConfig(), description="Feature store on disk.")
    batch: BatchConfig = Field(BatchConfig(), description="Batching of clips.")
    prompt: PromptConfig = Field(PromptConfig(), description="Prompt text around the frames.")
    context: ContextConfig = Field(
        ContextConfig(), description="Preceding sentences of the document used as context."
    )
    model: ModelConfig = Field(description="Encoders, backbone and tokenizer.")
    training: TrainingConfig = Field(TrainingConfig(), description="Training of the weights.")
    generation: GenerationConfig = Field(GenerationConfig(), description="Decoding of text.")
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="Metrics and scoring.")
    checkpoints: CheckpointsConfig = Field(CheckpointsConfig(), description="Checkpoints on disk.")
    resources: ResourcesConfig = Field(ResourcesConfig(), description="Resources of one run.")
    tracking: Literal["auto", "mlflow", "none"] = Field(
        "auto",
        description="Experiment tracking; `auto`: MLflow if a server is known (`kinesweep up`),"
        " otherwise none.",
    )

    # Runs before validation, so that the saved recipe lists the streams that were used.
    @model_validator(mode="before")
    @classmethod
    def _fill_in_stream_names(cls, raw_recipe: Any) -> Any:
        """Return the input with the names of all streams if its features select none."""
        return fill_in_stream_names(raw_recipe)

    @model_validator(mode="after")
    def _check_sections_agree(self) -> "Recipe":
        """Check the sections against each other; the first check that fails is reported."""
        model, features, corpora = self.model, self.features, self.corpora
        training, generation = self.training, self.generation
        cross_checks.check_best_metric(training, self.evaluation)
        cross_checks.check_truecasing(generation, model)
        cross_checks.check_training_stage(training, model)
        cross_checks.check_reserved_text_tokens(generation, model)
        cross_checks.check_sharded_training(training, self.resources, model)
        cross_checks.check_features_match_source(corpora, features)
        cross_checks.check_streams_match_source(corpora, self.selected_streams)
        cross_checks.check_estimator_folder(corpora, features)
        cross_checks.check_crop_poses(corpora, features)
        cross_checks.check_averaged_checkpoints(training, self.checkpoints)
        cross_checks.check_spatial_augmentation(self.batch.augmentation, features)
        cross_checks.check_stream_encoders(model, features)
        return self

    @property
    def prompt_settings(self) -> PromptSettings:
        """Return the sections `prompt` and `context`, without the contents of files they name."""
        return PromptSettings(self.prompt, self.context)

    @property
    def motion_stream_by_reference(self) -> dict[str, str]:
        """Return reference stream → the motion stream with which it is aligned frame by frame.

        The mapping has one entry, or none without `model.reference`.
        """
        reference = self.model.reference
        return {} if reference is None else {reference.against: reference.stream}

    @property
    def effective_batch(self) -> EffectiveBatchConfig:
        """Return the `batch` section as a run uses it.

        Frame limits of streams that are not selected are left out, so that one recipe serves a
        search over streams. The stream of a reference motion, which is aligned with its motion
        frame by frame, gets the frame limit of the motion unless it has its own, and is listed in
        `reference_streams`.
        """
        frame_limits = _exclude_streams(self.batch.truncate_frames, self._unselected_streams)
        # The right operand of `|` wins, so a reference's own limit precedes that of its motion.
        frame_limits = {
            reference_stream: frame_limits[motion_stream]
            for reference_stream, motion_stream in self.motion_stream_by_reference.items()
            if motion_stream in frame_limits
        } | frame_limits
        settings = {name: getattr(self.batch, name) for name in BatchConfig.model_fields}
        settings |= {
            "truncate_frames": frame_limits,
            "reference_streams": tuple(self.motion_stream_by_reference),
        }
        # The values come from a validated section, so they are not validated again.
        return EffectiveBatchConfig.model_construct(**settings)

    @property
    def effective_model(self) -> ModelConfig:
        """Return the `model` section as the training stage uses it.

        Encoders and vision model of streams that are not selected are left out. In the stage
        `projectors`, backbone and vision model are frozen and have no adapters.
        """
        frame_streams = list_frame_streams(self.features)
        model = self.model.exclude_streams(self._unselected_streams, frame_streams)
        # The recipe keeps the adapters for the later stage; this stage trains without them.
        return model.restrict_to_encoders() if self.training.stage == "projectors" else model

    @property
    def _unselected_streams(self) -> set[str]:
        """Return the streams of sharded corpora that are not in `features.streams`."""
        shard_corpora = [corpus for corpus in self.corpora if isinstance(corpus, H5ShardsConfig)]
        return {name for corpus in shard_corpora for name in corpus.stream_names} - set(
            self.selected_streams
        )

    @property
    def pose_estimation_source(self) -> PoseTsvConfig | None:
        """Return the source if its poses are estimated from videos; None for any other source."""
        source = self.source
        return source if isinstance(source, PoseTsvConfig) and source.videos else None

    @property
    def corpora(self) -> tuple[SingleSourceConfig, ...]:
        """Return the corpora of the source in the recipe's order; a single corpus alone."""
        return self.source.corpora if isinstance(self.source, CorporaConfig) else (self.source,)

    @property
    def required_splits(self) -> tuple[str, ...]:
        """Return the splits of which no listed clip may be dropped during extraction.

        They are those of `store.required_splits`; by default validation for precomputed features,
        and none for features that are computed.
        """
        default_splits = ("validation",) if self.features.kind in ("precomputed", "streams") else ()
        return default_splits if self.store.required_splits is None else self.store.required_splits

    @property
    def selected_streams(self) -> tuple[str, ...]:
        """Return the streams selected from HDF5 shards in fusion order; empty for other sources."""
        return self.features.streams if isinstance(self.features, StreamsFeaturesConfig) else ()

    @property
    def corpus_weights(self) -> dict[str, float]:
        """Return corpus name → number of times that each of its clips occurs in an epoch.

        It is empty if the source is not a list of corpora.
        """
        if not isinstance(self.source, CorporaConfig):
            return {}
        return {str(corpus.name): corpus.sampling_weight for corpus in self.source.corpora}

    @property
    def effective_source(self) -> SourceConfig:
        """Return the source as adapted to `features`: selected streams, estimator in `root`."""
        if isinstance(self.source, CorporaConfig):
            corpora = tuple(self._apply_features_to_corpus(c) for c in self.source.corpora)
            return self.source.model_copy(update={"corpora": corpora})
        return self._apply_features_to_corpus(self.source)

    def _apply_features_to_corpus(self, corpus: SingleSourceConfig) -> SingleSourceConfig:
        """Return a corpus config as adapted to the `features` section.

        HDF5 shards keep only the selected streams; in the `root` of other corpora, `{estimator}` is
        replaced by the name of the pose estimator.
        """
        if isinstance(corpus, H5ShardsConfig):
            return corpus.select_streams(self.selected_streams)
        # Only corpora with media files have a root, and only pose features have an estimator.
        root, estimator = getattr(corpus, "root", None), getattr(self.features, "estimator", None)
        if root is None:
            return corpus
        return corpus.model_copy(
            update={"root": root.replace(ESTIMATOR_PLACEHOLDER, estimator or "")}
        )

    def compute_config_hash(self, store_fingerprint: str) -> str:
        """Compute a 12-digit hexadecimal hash of the configuration and the data, without the seed.

        Sections that do not affect the result are left out, and paths are replaced: those of data
        by the store's fingerprint, those of models by a file name or a hash of the weights.

        Args:
            store_fingerprint: Fingerprint of the feature store, which represents the data.

        Raises:
            CheckpointError: If `model.init_sha256` is not set and `model.init_from` is not a model
                folder.
        """
        values = self.model_dump(mode="json")
        for key in _UNHASHED_SECTIONS:
            del values[key]
        del values["training"]["seed"]
        # Defaults are resolved and unused keys removed, so that recipes which do the same have the
        # same hash, and hashes from before a key was added stay valid.
        values["model"]["append_eos"] = self.model.should_append_eos
        for key in ("lora", "revision"):
            if values["model"]["backbone"][key] is None:
                del values["model"]["backbone"][key]
        if self.model.reference is None:
            del values["model"]["reference"]
        if not self.context.is_enabled and self.context.decoding_context == "model":
            # The former default, which is unused without context.
            values["context"]["decoding_context"] = "references"
        values["evaluation"]["protocol"] = self.evaluation.hashed_protocol
        # Sampling weights are part of `source`, which was removed, but they change the training.
        if self.corpus_weights:
            values["weights"] = self.corpus_weights
        strip_model_paths(values)
        return compute_fingerprint({"recipe": values, "store": store_fingerprint})[:12]

    def resolve_paths(self, base_dir: Path) -> "Recipe":
        """Return the recipe with absolute local paths and the hash of the weights in `init_from`.

        Args:
            base_dir: Folder that relative paths start from.

        Raises:
            CheckpointError: If `model.init_from` is not a model folder.
        """
        values: dict[str, Any] = self.model_dump(mode="json")
        make_paths_absolute(values, base_dir)
        return Recipe.model_validate(values)

    def to_portable(self) -> "Recipe":
        """Return the recipe without folders of this machine; tables and models keep their name."""
        values: dict[str, Any] = self.model_dump(mode="json")
        make_paths_portable(values)
        return Recipe.model_validate(values)

    def with_encoder_dir(self, encoder_dir: Path) -> "Recipe":
        """Return the recipe with its video model or embedder, if any, in `encoder_dir`."""
        values: dict[str, Any] = self.model_dump(mode="json")
        set_encoder_dir(values, encoder_dir)
        return Recipe.model_validate(values)

    def with_seed(self, seed: int) -> "Recipe":
        """Return the recipe with another `training.seed`."""
        # `model_copy` does not validate again, and no rule depends on the seed.
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})


def _exclude_streams(
    by_stream: Mapping[str, Any], excluded_streams: Collection[str]
) -> dict[str, Any]:
    """Return a copy of a mapping by stream name without the entries of the excluded streams."""
    return {name: value for name, value in by_stream.items() if name not in excluded_streams}
