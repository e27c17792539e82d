"""A recipe: one whole configuration of a run, from corpus to score.

Paths in a recipe are relative to the folder in which the command is given; `Recipe.resolved` makes
them absolute before work is handed to other processes. The configuration hash does not see them:
the store's fingerprint stands for the data.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.core.config import Frozen
from kinesweep.core.hashing import fingerprint
from kinesweep.core.recipe.data import BatchConfig, StoreConfig, TakenBatch
from kinesweep.core.recipe.evaluation import EvaluationConfig
from kinesweep.core.recipe.model import ModelConfig
from kinesweep.core.recipe.places import (
    make_absolute,
    make_placeless,
    make_portable,
    put_encoder,
)
from kinesweep.core.recipe.prompt import Asking, ContextConfig, PromptConfig
from kinesweep.core.recipe.shards import H5ShardsConfig, StreamsFeaturesConfig, with_streams
from kinesweep.core.recipe.source import (
    FEATURES_OF,
    AnyFeatures,
    AnySource,
    CorporaConfig,
    OneSourceConfig,
    PoseFeaturesConfig,
    PoseTsvConfig,
    SourceConfig,
)
from kinesweep.core.recipe.training import (
    CheckpointsConfig,
    GenerationConfig,
    ResourcesConfig,
    TrainingConfig,
)

ESTIMATOR = "{estimator}"
_NOT_IDENTITY = ("name", "source", "features", "store", "checkpoints", "tracking", "resources")


class Recipe(Frozen):
    """One configuration of a run."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Names runs and exports."
    )
    source: AnySource = Field(description="The corpus.")
    features: AnyFeatures = Field(
        PoseFeaturesConfig(), description="What is computed from each clip."
    )
    store: StoreConfig = Field(StoreConfig(), description="How features lie on disk.")
    batch: BatchConfig = Field(BatchConfig(), description="How clips become batches.")
    prompt: PromptConfig = Field(PromptConfig(), description="Words around the frames.")
    context: ContextConfig = Field(
        ContextConfig(), description="Sentences of the document that precede a clip."
    )
    model: ModelConfig = Field(description="Encoder, backbone, tokenizer.")
    training: TrainingConfig = Field(TrainingConfig(), description="How weights are learnt.")
    generation: GenerationConfig = Field(GenerationConfig(), description="How text is decoded.")
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="How text is scored.")
    checkpoints: CheckpointsConfig = Field(CheckpointsConfig(), description="What stays on disk.")
    resources: ResourcesConfig = Field(ResourcesConfig(), description="What one run takes.")
    tracking: Literal["auto", "mlflow", "none"] = Field(
        "auto",
        description="`auto`: MLflow when its server is known (`kinesweep up`), else nothing.",
    )

    @model_validator(mode="before")
    @classmethod
    def _all_streams_are_named(cls, plain: Any) -> Any:
        return with_streams(plain)

    @model_validator(mode="after")
    def _best_is_measured(self) -> "Recipe":
        metric = self.training.metric_for_best_model
        if metric != "token_loss" and metric not in self.evaluation.metrics:
            raise ValueError(
                f"`training.metric_for_best_model` {metric} is not in `evaluation.metrics`"
            )
        return self

    @model_validator(mode="after")
    def _case_was_lost(self) -> "Recipe":
        if self.generation.truecase and not self.model.tokenizer.lowercase:
            raise ValueError("`generation.truecase` needs `model.tokenizer.lowercase`")
        return self

    @model_validator(mode="after")
    def _stage_has_its_parts(self) -> "Recipe":
        stage, lora = self.training.stage, self.model.backbone.lora
        if stage == "lora" and lora is None:
            raise ValueError("`training.stage: lora` needs `model.backbone.lora`")
        if stage == "projectors" and "encoder" in self.model.freeze:
            raise ValueError("`training.stage: projectors` needs them free, not in `model.freeze`")
        return self

    @model_validator(mode="after")
    def _text_has_room(self) -> "Recipe":
        reserve, written = self.model.reserve_tokens, self.generation.max_new_tokens
        if reserve is not None and reserve < written:
            raise ValueError(
                f"`model.reserve_tokens` ({reserve}) must be at least `generation.max_new_tokens`"
                f" ({written})"
            )
        return self

    @model_validator(mode="after")
    def _shards_have_workers(self) -> "Recipe":
        if self.training.fsdp and self.resources.workers < 2:
            raise ValueError("`training.fsdp` needs `resources.workers` of 2 or more")
        lora = self.model.backbone.lora
        if self.training.fsdp and lora is not None and lora.quantize != "none":
            raise ValueError("`training.fsdp` cannot cut weights in 4 bits; set one of them off")
        return self

    @model_validator(mode="after")
    def _features_fit_the_corpus(self) -> "Recipe":
        kind = self.corpora[0].kind
        wanted = FEATURES_OF[kind]
        if self.features.kind != wanted:
            raise ValueError(
                f"a source of kind {kind} needs `features.kind: {wanted}`, not {self.features.kind}"
            )
        return self

    @model_validator(mode="after")
    def _streams_are_the_corpus_s(self) -> "Recipe":
        for corpus in self.corpora:
            if isinstance(corpus, H5ShardsConfig):
                corpus.check(self.streams)
        return self

    @model_validator(mode="after")
    def _poses_have_a_folder(self) -> "Recipe":
        estimator = getattr(self.features, "estimator", None)
        for corpus in self.corpora:
            root = getattr(corpus, "root", None)
            if root is not None and (ESTIMATOR in root) != (estimator is not None):
                raise ValueError(
                    f"`features.estimator` and `{ESTIMATOR}` in `source.root` belong together: one"
                    " says whose poses are read, the other where they are"
                )
        return self

    @model_validator(mode="after")
    def _crops_have_poses(self) -> "Recipe":
        cropped = getattr(self.features, "cropped", False)
        for corpus in self.corpora:
            if (getattr(corpus, "poses", None) is not None) != cropped:
                raise ValueError(
                    "`features.crops` and `source.poses` belong together: one says which parts of"
                    " each frame are seen, the other where the poses are that tell their places"
                )
        return self

    @model_validator(mode="after")
    def _there_is_a_mean(self) -> "Recipe":
        if self.training.average_checkpoints > 1 and self.checkpoints.keep == "best":
            raise ValueError(
                "`training.average_checkpoints` needs those before the best too; set"
                " `checkpoints.keep` to best+last, last or all"
            )
        return self

    @model_validator(mode="after")
    def _points_have_a_centre(self) -> "Recipe":
        varied = self.batch.augmentation
        keys = {"pose": "normalize", "skeleton": "centre"}
        key = keys.get(self.features.kind, "kind")
        if getattr(self.features, key) == "none" and (varied.mirror or varied.rotation_deg):
            raise ValueError(
                "`batch.augmentation` mirrors or turns clips about the shoulders or the root, but"
                f" `features.{key}` is none"
            )
        return self

    @property
    def asking(self) -> Asking:
        """How clips are asked about."""
        return Asking(self.prompt, self.context)

    @property
    def alike(self) -> dict[str, str]:
        """Stream → the one that it is varied with: a reference with what is held against it."""
        reference = self.model.reference
        return {} if reference is None else {reference.against: reference.stream}

    @property
    def taken_batch(self) -> TakenBatch:
        """The part `batch`, without the streams of the corpus that are not taken.

        So one recipe serves a search over streams. A reference, which is in step with a motion, is
        cut where that is, unless it has a limit of its own.
        """
        caps = _without(self.batch.max_stream_frames, self._left)
        caps = {other: caps[name] for other, name in self.alike.items() if name in caps} | caps
        own = {name: getattr(self.batch, name) for name in BatchConfig.model_fields}
        own |= {"max_stream_frames": caps, "uncounted": tuple(self.alike)}
        return TakenBatch.model_construct(**own)

    @property
    def staged_model(self) -> ModelConfig:
        """The part `model` as the stage of training has it, of the streams that are taken."""
        model = self.model.model_copy(
            update={"encoders": _without(self.model.encoders, self._left)}
        )
        if self.training.stage != "projectors":
            return model
        backbone = model.backbone.model_copy(update={"lora": None})
        frozen = tuple(dict.fromkeys([*model.freeze, "backbone"]))
        return model.model_copy(update={"backbone": backbone, "freeze": frozen})

    @property
    def _left(self) -> set[str]:
        """Streams of corpora in shards that are not taken."""
        shards = [corpus for corpus in self.corpora if isinstance(corpus, H5ShardsConfig)]
        return {name for corpus in shards for name in corpus.names} - set(self.streams)

    @property
    def films(self) -> PoseTsvConfig | None:
        """The source, where its poses are estimated from videos."""
        source = self.source
        return source if isinstance(source, PoseTsvConfig) and source.videos else None

    @property
    def corpora(self) -> tuple[OneSourceConfig, ...]:
        """The corpora that the source consists of; most often it alone."""
        return self.source.corpora if isinstance(self.source, CorporaConfig) else (self.source,)

    @property
    def complete(self) -> tuple[str, ...]:
        """Splits of which no clip may be dropped."""
        given = ("validation",) if self.features.kind in ("given", "streams") else ()
        return given if self.store.complete is None else self.store.complete

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams of a corpus in shards that are taken, in order; of others none."""
        return self.features.streams if isinstance(self.features, StreamsFeaturesConfig) else ()

    @property
    def weights(self) -> dict[str, float]:
        """Name of each of several corpora → how often its clips come in an epoch."""
        if not isinstance(self.source, CorporaConfig):
            return {}
        return {str(corpus.name): corpus.weight for corpus in self.source.corpora}

    @property
    def corpus(self) -> SourceConfig:
        """The source; its root is that of the estimator's poses, its streams those taken."""
        if isinstance(self.source, CorporaConfig):
            rooted = tuple(self._rooted(corpus) for corpus in self.source.corpora)
            return self.source.model_copy(update={"corpora": rooted})
        return self._rooted(self.source)

    def _rooted(self, source: OneSourceConfig) -> OneSourceConfig:
        if isinstance(source, H5ShardsConfig):
            return source.of(self.streams)
        root, estimator = getattr(source, "root", None), getattr(self.features, "estimator", None)
        if root is None:
            return source
        return source.model_copy(update={"root": root.replace(ESTIMATOR, estimator or "")})

    def config_hash(self, store_fingerprint: str) -> str:
        """12 hexadecimal digits that name this configuration, seed and paths left out."""
        plain = self.model_dump(mode="json")
        for key in _NOT_IDENTITY:
            del plain[key]
        del plain["training"]["seed"]
        plain["model"]["end_token"] = self.model.ends_input
        for key in ("lora", "revision"):
            if plain["model"]["backbone"][key] is None:
                del plain["model"]["backbone"][key]  # hashes from before these keys stay valid
        if self.model.reference is None:
            del plain["model"]["reference"]
        if not self.context.is_used and self.context.generation == "on_the_fly":
            plain["context"]["generation"] = "gold"  # the default before; it says nothing here
        if self.weights:
            plain["weights"] = self.weights
        make_placeless(plain)
        return fingerprint({"recipe": plain, "store": store_fingerprint})[:12]

    def resolved(self, base: Path) -> "Recipe":
        """The same recipe with every local path absolute.

        Raises:
            CheckpointError: `model.init_from` is no model folder.
        """
        plain: dict[str, Any] = self.model_dump(mode="json")
        make_absolute(plain, base)
        return Recipe.model_validate(plain)

    def portable(self) -> "Recipe":
        """The same recipe without folders, which tell of one machine: names of files alone."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        make_portable(plain)
        return Recipe.model_validate(plain)

    def with_encoder(self, folder: Path) -> "Recipe":
        """The same recipe with the video model or embedder of a bundle, which lies in `folder`."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        put_encoder(plain, folder)
        return Recipe.model_validate(plain)

    def with_seed(self, seed: int) -> "Recipe":
        """The same recipe with another seed."""
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})


def _without(named: Mapping[str, Any], left: Collection[str]) -> dict[str, Any]:
    """What is said of streams, but for some of them."""
    return {name: value for name, value in named.items() if name not in left}
