"""The recipe: the complete configuration of a run, from corpus to scores.

Paths are relative to the working directory of the command; `Recipe.resolve_paths` makes them
absolute for other processes. In the configuration hash, the store's fingerprint stands for them.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import add_part_identities
from kinesweep.config.recipe import cross_checks, derived_sections
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig, StoreConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.export import ExportConfig
from kinesweep.config.recipe.features.combined import (
    AnyRecipeFeatures,
    CombinedFeaturesConfig,
    FeaturePartConfig,
)
from kinesweep.config.recipe.generation import GenerationConfig, check_training_beams
from kinesweep.config.recipe.h5_shards import fill_in_stream_names
from kinesweep.config.recipe.model import ModelConfig, text_checks
from kinesweep.config.recipe.model.rate_checks import check_learning_rates
from kinesweep.config.recipe.objectives.stage_checks import check_training_stage
from kinesweep.config.recipe.paths import (
    make_paths_absolute,
    make_paths_portable,
    set_encoder_dir,
    strip_model_paths,
)
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.config.recipe.resources import CheckpointsConfig, PerformanceConfig, ResourcesConfig
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import (
    AnySource,
    CorporaConfig,
    FeaturesConfig,
    PoseFeaturesConfig,
    PoseTsvConfig,
    SingleSourceConfig,
    SourceConfig,
)
from kinesweep.config.recipe.sources.part_sources import derive_part_source
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.config.recipe.unset_keys import remove_unset_keys
from kinesweep.config.tracking import TrackingChoice
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_fingerprint

# Sections that do not affect the result beyond what the store's fingerprint covers.
_UNHASHED_SECTIONS = ("name", "source", "features", "store", "checkpoints", "tracking", "resources")


class Recipe(StrictConfig):
    """The configuration of one run."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Name of runs and exports."
    )
    source: AnySource = Field(description="Corpus, or a list of corpora.")
    features: AnyRecipeFeatures = Field(
        PoseFeaturesConfig(), description="Features extracted from each clip, or a list of parts."
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
    performance: PerformanceConfig = Field(PerformanceConfig(), description="Speed of training.")
    tracking: TrackingChoice = "auto"
    export: ExportConfig = Field(ExportConfig(), description="Statements on the model card.")

    # Runs before validation, so that the saved recipe lists the streams that were used.
    @model_validator(mode="before")
    @classmethod
    def _fill_in_stream_names(cls, raw_recipe: Any) -> Any:
        """Return the input with the names of all streams if its features select none."""
        return fill_in_stream_names(raw_recipe)

    @model_validator(mode="after")
    def _check_sections_agree(self) -> "Recipe":
        """Check the sections against each other; the first check that fails is reported."""
        model, features = self.model, self.features
        training, generation = self.training, self.generation
        cross_checks.check_best_metric(training, self.evaluation)
        text_checks.check_truecasing(generation, model)
        check_training_beams(generation, self.evaluation.during_training.num_beams)
        check_training_stage(training, model, self.batch, self.evaluation, self.resources)
        check_learning_rates(training, model)
        text_checks.check_reserved_text_tokens(generation, model)
        cross_checks.check_computation(training, self.performance, self.resources, model)
        cross_checks.check_source_and_features(self.source, features, self.batch.augmentation)
        cross_checks.check_averaged_checkpoints(training, self.checkpoints)
        cross_checks.check_stream_encoders(model, features)
        self.evaluation.check_source_kinds({corpus.kind for corpus in self.corpora})
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
        return derived_sections.derive_batch(
            self.batch, self.motion_stream_by_reference, self._unselected_streams
        )

    @property
    def effective_model(self) -> ModelConfig:
        """Return the `model` section as the training stage uses it.

        Encoders and vision model of streams that are not selected are left out. In the stage
        `projectors`, backbone and vision model are frozen and have no adapters.
        """
        return derived_sections.derive_model(
            self.model, self.features, self.training.stage, self._unselected_streams
        )

    @property
    def _unselected_streams(self) -> set[str]:
        """Return the streams of the source or of parts that are not in `features.streams`."""
        return derived_sections.find_unselected_streams(self.corpora, self.features)

    @property
    def part_recipes(self) -> tuple[tuple[FeaturePartConfig, "Recipe"], ...]:
        """Return each part of combined features with the recipe that has no other features.

        The store of a part is that of its recipe. It is empty for features of any other kind.
        """
        if not isinstance(self.features, CombinedFeaturesConfig):
            return ()
        return tuple(
            (
                part,
                # Not validated again: `check_parts` has checked each part like a recipe.
                self.model_copy(
                    update={
                        "source": derive_part_source(self.source, self.features, part),
                        "features": part.features,
                    }
                ),
            )
            for part in self.features.parts
        )

    @property
    def single_features(self) -> FeaturesConfig:
        """Return the features of a recipe without parts.

        Raises:
            InputError: If the features have several parts, for a use that supports only one kind.
        """
        if isinstance(self.features, CombinedFeaturesConfig):
            raise InputError(
                f"`{self.name}` has several parts of features, which is not supported here; use a"
                " recipe with one kind of `features`"
            )
        return self.features

    @property
    def pose_estimation_source(self) -> PoseTsvConfig | SkeletonsConfig | None:
        """Return the source if its poses are estimated from videos; None for any other source."""
        source = self.source
        if isinstance(source, PoseTsvConfig | SkeletonsConfig) and source.videos:
            return source
        return None

    @property
    def corpora(self) -> tuple[SingleSourceConfig, ...]:
        """Return the corpora of the source in the recipe's order; a single corpus alone."""
        return self.source.corpora if isinstance(self.source, CorporaConfig) else (self.source,)

    @property
    def required_splits(self) -> tuple[str, ...]:
        """Return the splits of which no listed clip may be dropped during extraction.

        They are those of `store.required_splits`; by default validation if features are
        precomputed, and none if all are computed.
        """
        return derived_sections.derive_required_splits(self.store, self.features)

    @property
    def selected_streams(self) -> tuple[str, ...]:
        """Return the streams selected from HDF5 shards or parts in fusion order, otherwise none."""
        return derived_sections.get_selected_streams(self.features)

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
        """Return the source as adapted to `features`: selected streams, estimator in `root`.

        With several parts, it is a source that lists their clips (see `part_recipes`).
        """
        return derived_sections.derive_source(self.source, self.features)

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
        for key in (*_UNHASHED_SECTIONS, "export"):
            del values[key]
        add_part_identities(values, self)
        del values["training"]["seed"]
        # Defaults are resolved and unused keys removed, so that recipes which do the same have the
        # same hash, and hashes from before a key was added stay valid.
        values["model"]["append_eos"] = self.model.should_append_eos
        if isinstance(self.features, CombinedFeaturesConfig):
            derived_sections.remove_unselected_settings(values, self._unselected_streams)
        remove_unset_keys(values, self.resources.gpus)
        if self.model.reference is None:
            del values["model"]["reference"]
        self.context.complete_hashed_values(values["context"])
        self.evaluation.complete_hashed_values(values["evaluation"])
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

    def with_encoder_dir(self, encoder_dir: Path, part_index: int | None = None) -> "Recipe":
        """Return the recipe with its video model or embedder, if any, in `encoder_dir`.

        Args:
            encoder_dir: Folder of the model.
            part_index: Index of the part with the model; None if the features have no parts.
        """
        values: dict[str, Any] = self.model_dump(mode="json")
        set_encoder_dir(values, encoder_dir, part_index)
        return Recipe.model_validate(values)

    def with_seed(self, seed: int) -> "Recipe":
        """Return the recipe with another `training.seed`."""
        # `model_copy` does not validate again, and no rule depends on the seed.
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})
