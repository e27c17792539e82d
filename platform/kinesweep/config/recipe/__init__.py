"""The recipe: the complete configuration of a run, from corpus to scores.

Paths in a recipe are relative to the working directory of the command; `Recipe.resolve_paths` makes
them absolute before work is passed to other processes. Paths are not part of the configuration
hash; the store's fingerprint represents the data there.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatchConfig, StoreConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.h5_shards import (
    H5ShardsConfig,
    StreamsFeaturesConfig,
    fill_in_stream_names,
)
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.paths import (
    make_paths_absolute,
    make_paths_portable,
    set_encoder_dir,
    strip_model_paths,
)
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.config.recipe.source import (
    FEATURES_KIND_BY_SOURCE_KIND,
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

ESTIMATOR_PLACEHOLDER = "{estimator}"
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
        """Fill in the names of all streams if the features select none."""
        return fill_in_stream_names(raw_recipe)

    @model_validator(mode="after")
    def _check_best_metric_is_evaluated(self) -> "Recipe":
        """Check that the metric of the best checkpoint is evaluated."""
        # Every evaluation computes `token_loss`; other metrics are computed only if listed.
        metric = self.training.metric_for_best_model
        if metric != "token_loss" and metric not in self.evaluation.metrics:
            raise ValueError(
                f"`training.metric_for_best_model` {metric} is not in `evaluation.metrics`"
            )
        return self

    @model_validator(mode="after")
    def _check_truecase_needs_lowercase(self) -> "Recipe":
        """Check that truecasing follows lower-casing."""
        if self.generation.truecase and not self.model.tokenizer.lowercase:
            raise ValueError("`generation.truecase` needs `model.tokenizer.lowercase`")
        return self

    @model_validator(mode="after")
    def _check_stage_settings(self) -> "Recipe":
        """Check that the training stage has the parts that it trains."""
        # An `encoder` in `freeze` covers the projectors, the only part trained in their stage.
        stage, lora = self.training.stage, self.model.backbone.lora
        if stage == "lora" and lora is None:
            raise ValueError("`training.stage: lora` needs `model.backbone.lora`")
        if stage == "projectors" and "encoder" in self.model.freeze:
            raise ValueError(
                "`training.stage: projectors` trains the encoders; remove `encoder` from"
                " `model.freeze`"
            )
        return self

    @model_validator(mode="after")
    def _check_text_length(self) -> "Recipe":
        """Check that the reserve has room for the generated text."""
        # Generation may write all of its tokens, which need the reserved positions.
        reserved_tokens, max_new_tokens = (
            self.model.reserved_text_tokens,
            self.generation.max_new_tokens,
        )
        if reserved_tokens is not None and reserved_tokens < max_new_tokens:
            raise ValueError(
                f"`model.reserved_text_tokens` ({reserved_tokens}) must be at least"
                f" `generation.max_new_tokens` ({max_new_tokens})"
            )
        return self

    @model_validator(mode="after")
    def _check_sharding_workers(self) -> "Recipe":
        """Check that sharded training has several workers."""
        if self.training.fsdp and self.resources.workers < 2:
            raise ValueError("`training.fsdp` needs `resources.workers` of 2 or more")
        lora = self.model.backbone.lora
        if self.training.fsdp and lora is not None and lora.quantize != "none":
            raise ValueError(
                "`training.fsdp` cannot shard 4-bit weights; turn off either `training.fsdp` or"
                " `lora.quantize`"
            )
        return self

    @model_validator(mode="after")
    def _check_features_match_source(self) -> "Recipe":
        """Check that the features can be computed from the source."""
        # All corpora of a list are of one kind (see `CorporaConfig`), so the first one decides.
        source_kind = self.corpora[0].kind
        expected_kind = FEATURES_KIND_BY_SOURCE_KIND[source_kind]
        if self.features.kind != expected_kind:
            raise ValueError(
                f"a source of kind {source_kind} needs `features.kind: {expected_kind}`, not"
                f" {self.features.kind}"
            )
        return self

    @model_validator(mode="after")
    def _check_streams_match_source(self) -> "Recipe":
        """Check that the selected streams are those of the source."""
        for corpus in self.corpora:
            if isinstance(corpus, H5ShardsConfig):
                corpus.check_streams(self.selected_streams)
        return self

    @model_validator(mode="after")
    def _check_pose_folder(self) -> "Recipe":
        """Check that `features.estimator` and the folder of its poses are given together."""
        estimator = getattr(self.features, "estimator", None)
        for corpus in self.corpora:
            root = getattr(corpus, "root", None)
            if root is not None and (ESTIMATOR_PLACEHOLDER in root) != (estimator is not None):
                raise ValueError(
                    f"`features.estimator` and `{ESTIMATOR_PLACEHOLDER}` in `source.root` belong"
                    " together:"
                    " the first names the estimator, the second its folder of poses; set both or"
                    " neither"
                )
        return self

    @model_validator(mode="after")
    def _check_crop_poses(self) -> "Recipe":
        """Check that crops and the poses that locate them are given together."""
        uses_crops = getattr(self.features, "has_body_crops", False)
        for corpus in self.corpora:
            if (getattr(corpus, "poses", None) is not None) != uses_crops:
                raise ValueError(
                    "`features.crops` and `source.poses` belong together: the first selects body"
                    " parts, the second the poses that locate them; set both or neither"
                )
        return self

    @model_validator(mode="after")
    def _check_averaging_keeps_checkpoints(self) -> "Recipe":
        """Check that checkpoints to average are kept."""
        # With `keep: best`, earlier checkpoints are deleted before the average is computed.
        if self.training.average_checkpoints > 1 and self.checkpoints.keep == "best":
            raise ValueError(
                "`training.average_checkpoints` also needs the checkpoints before the best one;"
                " set `checkpoints.keep` to best+last, last or all"
            )
        return self

    @model_validator(mode="after")
    def _check_augmentation_needs_normalization(self) -> "Recipe":
        """Check that clips are normalized if augmentation mirrors or rotates them."""
        # Mirroring and rotation assume that the origin lies between the shoulders or at the root.
        augmentation = self.batch.augmentation
        keys = {"pose": "normalize", "skeleton": "centre"}
        key = keys.get(self.features.kind, "kind")
        if getattr(self.features, key) == "none" and (
            augmentation.mirror or augmentation.rotation_deg
        ):
            raise ValueError(
                "`batch.augmentation` mirrors or rotates clips around the shoulders or the root,"
                f" which requires normalization, but `features.{key}` is none"
            )
        return self

    @property
    def prompt_settings(self) -> PromptSettings:
        """Return the prompt and context settings."""
        return PromptSettings(self.prompt, self.context)

    @property
    def augmentation_pairs(self) -> dict[str, str]:
        """Return reference stream → motion stream; both get the same augmentation."""
        reference = self.model.reference
        return {} if reference is None else {reference.against: reference.stream}

    @property
    def effective_batch(self) -> EffectiveBatchConfig:
        """Return the `batch` section as used, without limits of streams that are not selected.

        This allows one recipe to serve a search over streams. A reference, which is aligned with
        its motion frame by frame, is truncated like the motion unless it has its own limit.
        """
        frame_limits = _exclude_streams(self.batch.truncate_frames, self._unselected_streams)
        # The right operand of `|` wins, so a reference's own limit precedes that of its motion.
        frame_limits = {
            reference: frame_limits[name]
            for reference, name in self.augmentation_pairs.items()
            if name in frame_limits
        } | frame_limits
        settings = {name: getattr(self.batch, name) for name in BatchConfig.model_fields}
        settings |= {"truncate_frames": frame_limits, "uncounted": tuple(self.augmentation_pairs)}
        # `own` holds validated values already, so validation is skipped.
        return EffectiveBatchConfig.model_construct(**settings)

    @property
    def effective_model(self) -> ModelConfig:
        """Return the `model` section as the training stage uses it, for the selected streams."""
        model = self.model.model_copy(
            update={"encoders": _exclude_streams(self.model.encoders, self._unselected_streams)}
        )
        if self.training.stage != "projectors":
            return model
        # The recipe keeps the adapters for the later stage; this stage trains without them.
        backbone = model.backbone.model_copy(update={"lora": None})
        frozen = tuple(dict.fromkeys([*model.freeze, "backbone"]))
        return model.model_copy(update={"backbone": backbone, "freeze": frozen})

    @property
    def _unselected_streams(self) -> set[str]:
        """Return the streams of sharded corpora that are not in `features.streams`."""
        shard_corpora = [corpus for corpus in self.corpora if isinstance(corpus, H5ShardsConfig)]
        return {name for corpus in shard_corpora for name in corpus.stream_names} - set(
            self.selected_streams
        )

    @property
    def video_source(self) -> PoseTsvConfig | None:
        """Return the source if its poses are estimated from videos, otherwise None."""
        source = self.source
        return source if isinstance(source, PoseTsvConfig) and source.videos else None

    @property
    def corpora(self) -> tuple[SingleSourceConfig, ...]:
        """Return the corpora of the source; usually the source itself is the only one."""
        return self.source.corpora if isinstance(self.source, CorporaConfig) else (self.source,)

    @property
    def required_splits(self) -> tuple[str, ...]:
        """Return the splits of which no clip may be dropped."""
        default_splits = ("validation",) if self.features.kind in ("precomputed", "streams") else ()
        return default_splits if self.store.required_splits is None else self.store.required_splits

    @property
    def selected_streams(self) -> tuple[str, ...]:
        """Return the selected streams of a sharded corpus, in order; empty for other corpora."""
        return self.features.streams if isinstance(self.features, StreamsFeaturesConfig) else ()

    @property
    def corpus_weights(self) -> dict[str, float]:
        """Return corpus name → sampling weight; empty if there is only one corpus."""
        if not isinstance(self.source, CorporaConfig):
            return {}
        return {str(corpus.name): corpus.sampling_weight for corpus in self.source.corpora}

    @property
    def effective_source(self) -> SourceConfig:
        """Return the source with the estimator's root folder and only the selected streams."""
        if isinstance(self.source, CorporaConfig):
            corpora = tuple(self._fill_in_source(corpus) for corpus in self.source.corpora)
            return self.source.model_copy(update={"corpora": corpora})
        return self._fill_in_source(self.source)

    def _fill_in_source(self, source: SingleSourceConfig) -> SingleSourceConfig:
        """Fill in the estimator and the selected streams of one corpus and return its source."""
        if isinstance(source, H5ShardsConfig):
            return source.select_streams(self.selected_streams)
        # Only sources with media files have a root, and only pose features have an estimator.
        root, estimator = getattr(source, "root", None), getattr(self.features, "estimator", None)
        if root is None:
            return source
        return source.model_copy(
            update={"root": root.replace(ESTIMATOR_PLACEHOLDER, estimator or "")}
        )

    def compute_config_hash(self, store_fingerprint: str) -> str:
        """Compute a 12-digit hexadecimal hash of the configuration without seed and paths.

        Args:
            store_fingerprint: Fingerprint of the feature store, which represents the data.
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
            values["context"]["decoding_context"] = (
                "references"  # the former default; unused without context
            )
        # Sampling weights are part of `source`, which was removed, but they change the training.
        if self.corpus_weights:
            values["weights"] = self.corpus_weights
        strip_model_paths(values)
        return compute_fingerprint({"recipe": values, "store": store_fingerprint})[:12]

    def resolve_paths(self, base: Path) -> "Recipe":
        """Resolve all local paths of the recipe to absolute ones and return the recipe.

        Args:
            base: Folder that relative paths start from.

        Raises:
            CheckpointError: If `model.init_from` is not a model folder.
        """
        values: dict[str, Any] = self.model_dump(mode="json")
        make_paths_absolute(values, base)
        return Recipe.model_validate(values)

    def to_portable(self) -> "Recipe":
        """Return the recipe with file names only, without the folders of this machine."""
        values: dict[str, Any] = self.model_dump(mode="json")
        make_paths_portable(values)
        return Recipe.model_validate(values)

    def with_encoder_dir(self, encoder_dir: Path) -> "Recipe":
        """Return the recipe with a bundle's video model or embedder loaded from `encoder_dir`."""
        values: dict[str, Any] = self.model_dump(mode="json")
        set_encoder_dir(values, encoder_dir)
        return Recipe.model_validate(values)

    def with_seed(self, seed: int) -> "Recipe":
        """Return the recipe with another seed."""
        # `model_copy` does not validate again, and no rule depends on the seed.
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})


def _exclude_streams(
    by_stream: Mapping[str, Any], excluded_streams: Collection[str]
) -> dict[str, Any]:
    """Exclude some streams from a mapping of stream names and return the remaining entries."""
    return {name: value for name, value in by_stream.items() if name not in excluded_streams}
