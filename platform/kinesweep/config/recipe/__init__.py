"""The recipe: the complete configuration of a run, from corpus to scores.

Paths in a recipe are relative to the working directory of the command; `Recipe.resolved` makes them
absolute before work is passed to other processes. Paths are not part of the configuration hash; the
store's fingerprint represents the data there.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.data import BatchConfig, EffectiveBatch, StoreConfig
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.h5_shards import H5ShardsConfig, StreamsFeaturesConfig, with_streams
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.paths import (
    make_absolute,
    make_portable,
    put_encoder,
    strip_paths,
)
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.config.recipe.source import (
    FEATURES_OF,
    AnyFeatures,
    AnySource,
    CorporaConfig,
    OneSourceConfig,
    PoseFeaturesConfig,
    PoseTsvConfig,
    SourceConfig,
)
from kinesweep.config.recipe.training import (
    CheckpointsConfig,
    GenerationConfig,
    ResourcesConfig,
    TrainingConfig,
)
from kinesweep.core.hashing import fingerprint

ESTIMATOR = "{estimator}"
# Sections that do not affect the result beyond what the store's fingerprint covers.
_NOT_IDENTITY = ("name", "source", "features", "store", "checkpoints", "tracking", "resources")


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
    def _name_all_streams(cls, plain: Any) -> Any:
        """Fill in the names of all streams if the features select none."""
        return with_streams(plain)

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
        reserve, written = self.model.reserved_text_tokens, self.generation.max_new_tokens
        if reserve is not None and reserve < written:
            raise ValueError(
                f"`model.reserved_text_tokens` ({reserve}) must be at least"
                f" `generation.max_new_tokens` ({written})"
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
        kind = self.corpora[0].kind
        wanted = FEATURES_OF[kind]
        if self.features.kind != wanted:
            raise ValueError(
                f"a source of kind {kind} needs `features.kind: {wanted}`, not {self.features.kind}"
            )
        return self

    @model_validator(mode="after")
    def _check_streams_match_source(self) -> "Recipe":
        """Check that the selected streams are those of the source."""
        for corpus in self.corpora:
            if isinstance(corpus, H5ShardsConfig):
                corpus.check(self.streams)
        return self

    @model_validator(mode="after")
    def _check_pose_folder(self) -> "Recipe":
        """Check that `features.estimator` and the folder of its poses are given together."""
        estimator = getattr(self.features, "estimator", None)
        for corpus in self.corpora:
            root = getattr(corpus, "root", None)
            if root is not None and (ESTIMATOR in root) != (estimator is not None):
                raise ValueError(
                    f"`features.estimator` and `{ESTIMATOR}` in `source.root` belong together:"
                    " the first names the estimator, the second its folder of poses; set both or"
                    " neither"
                )
        return self

    @model_validator(mode="after")
    def _check_crop_poses(self) -> "Recipe":
        """Check that crops and the poses that locate them are given together."""
        cropped = getattr(self.features, "cropped", False)
        for corpus in self.corpora:
            if (getattr(corpus, "poses", None) is not None) != cropped:
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
    def _check_variation_needs_normalization(self) -> "Recipe":
        """Check that clips are normalized if augmentation mirrors or rotates them."""
        # Mirroring and rotation assume that the origin lies between the shoulders or at the root.
        varied = self.batch.augmentation
        keys = {"pose": "normalize", "skeleton": "centre"}
        key = keys.get(self.features.kind, "kind")
        if getattr(self.features, key) == "none" and (varied.mirror or varied.rotation_deg):
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
    def effective_batch(self) -> EffectiveBatch:
        """Return the `batch` section as used, without limits of streams that are not selected.

        This allows one recipe to serve a search over streams. A reference, which is aligned with
        its motion frame by frame, is truncated like the motion unless it has its own limit.
        """
        caps = _without(self.batch.truncate_frames, self._left)
        # The right operand of `|` wins, so a reference's own limit precedes that of its motion.
        caps = {
            other: caps[name] for other, name in self.augmentation_pairs.items() if name in caps
        } | caps
        own = {name: getattr(self.batch, name) for name in BatchConfig.model_fields}
        own |= {"truncate_frames": caps, "uncounted": tuple(self.augmentation_pairs)}
        # `own` holds validated values already, so validation is skipped.
        return EffectiveBatch.model_construct(**own)

    @property
    def effective_model(self) -> ModelConfig:
        """Return the `model` section as the training stage uses it, for the selected streams."""
        model = self.model.model_copy(
            update={"encoders": _without(self.model.encoders, self._left)}
        )
        if self.training.stage != "projectors":
            return model
        # The recipe keeps the adapters for the later stage; this stage trains without them.
        backbone = model.backbone.model_copy(update={"lora": None})
        frozen = tuple(dict.fromkeys([*model.freeze, "backbone"]))
        return model.model_copy(update={"backbone": backbone, "freeze": frozen})

    @property
    def _left(self) -> set[str]:
        """Return the streams of sharded corpora that `features.streams` does not select."""
        shards = [corpus for corpus in self.corpora if isinstance(corpus, H5ShardsConfig)]
        return {name for corpus in shards for name in corpus.names} - set(self.streams)

    @property
    def video_source(self) -> PoseTsvConfig | None:
        """Return the source if its poses are estimated from videos, otherwise None."""
        source = self.source
        return source if isinstance(source, PoseTsvConfig) and source.videos else None

    @property
    def corpora(self) -> tuple[OneSourceConfig, ...]:
        """Return the corpora of the source; usually the source itself is the only one."""
        return self.source.corpora if isinstance(self.source, CorporaConfig) else (self.source,)

    @property
    def required_splits(self) -> tuple[str, ...]:
        """Return the splits of which no clip may be dropped."""
        given = ("validation",) if self.features.kind in ("precomputed", "streams") else ()
        return given if self.store.required_splits is None else self.store.required_splits

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the selected streams of a sharded corpus, in order; empty for other corpora."""
        return self.features.streams if isinstance(self.features, StreamsFeaturesConfig) else ()

    @property
    def weights(self) -> dict[str, float]:
        """Return corpus name → sampling weight; empty if there is only one corpus."""
        if not isinstance(self.source, CorporaConfig):
            return {}
        return {str(corpus.name): corpus.sampling_weight for corpus in self.source.corpora}

    @property
    def corpus(self) -> SourceConfig:
        """Return the source with the estimator's root folder and only the selected streams."""
        if isinstance(self.source, CorporaConfig):
            rooted = tuple(self._rooted(corpus) for corpus in self.source.corpora)
            return self.source.model_copy(update={"corpora": rooted})
        return self._rooted(self.source)

    def _rooted(self, source: OneSourceConfig) -> OneSourceConfig:
        """Fill in the estimator and the selected streams of one corpus."""
        if isinstance(source, H5ShardsConfig):
            return source.of(self.streams)
        # Only sources with media files have a root, and only pose features have an estimator.
        root, estimator = getattr(source, "root", None), getattr(self.features, "estimator", None)
        if root is None:
            return source
        return source.model_copy(update={"root": root.replace(ESTIMATOR, estimator or "")})

    def config_hash(self, store_fingerprint: str) -> str:
        """Return a 12-digit hexadecimal hash of the configuration without seed and paths.

        Args:
            store_fingerprint: Fingerprint of the feature store, which represents the data.
        """
        plain = self.model_dump(mode="json")
        for key in _NOT_IDENTITY:
            del plain[key]
        del plain["training"]["seed"]
        # Defaults are resolved and unused keys removed, so that recipes which do the same have the
        # same hash, and hashes from before a key was added stay valid.
        plain["model"]["append_eos"] = self.model.ends_input
        for key in ("lora", "revision"):
            if plain["model"]["backbone"][key] is None:
                del plain["model"]["backbone"][key]
        if self.model.reference is None:
            del plain["model"]["reference"]
        if not self.context.is_used and self.context.decoding_context == "model":
            plain["context"]["decoding_context"] = (
                "references"  # the former default; unused without context
            )
        # Sampling weights are part of `source`, which was removed, but they change the training.
        if self.weights:
            plain["weights"] = self.weights
        strip_paths(plain)
        return fingerprint({"recipe": plain, "store": store_fingerprint})[:12]

    def resolved(self, base: Path) -> "Recipe":
        """Return the recipe with all local paths absolute.

        Args:
            base: Folder that relative paths start from.

        Raises:
            CheckpointError: If `model.init_from` is not a model folder.
        """
        plain: dict[str, Any] = self.model_dump(mode="json")
        make_absolute(plain, base)
        return Recipe.model_validate(plain)

    def portable(self) -> "Recipe":
        """Return the recipe with file names only, without the folders of this machine."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        make_portable(plain)
        return Recipe.model_validate(plain)

    def with_encoder(self, folder: Path) -> "Recipe":
        """Return the recipe with the video model or embedder of a bundle loaded from `folder`."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        put_encoder(plain, folder)
        return Recipe.model_validate(plain)

    def with_seed(self, seed: int) -> "Recipe":
        """Return the recipe with another seed."""
        # `model_copy` does not validate again, and no rule depends on the seed.
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})


def _without(named: Mapping[str, Any], left: Collection[str]) -> dict[str, Any]:
    """Return a mapping of streams without some of them."""
    return {name: value for name, value in named.items() if name not in left}
