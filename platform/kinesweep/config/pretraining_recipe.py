"""The recipe of a pretraining run, which trains a video model on the frames of clips without texts.

Corpus, features and store are configured as in the recipe of a run on decoded frames, so the store
is shared with the runs that fine-tune the model.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.pretraining.clip import ClipConfig
from kinesweep.config.pretraining.objective_kinds import ObjectiveConfig
from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig, PretrainedModelConfig
from kinesweep.config.pretraining.paths import resolve_weights, strip_paths
from kinesweep.config.pretraining.training import PretrainingLoopConfig
from kinesweep.config.pretraining.windows import PretrainingBatchConfig
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import StoreConfig
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.resources import CheckpointsConfig, ResourcesConfig
from kinesweep.config.recipe.source import AnySource
from kinesweep.config.tracking import TrackingChoice
from kinesweep.config.validation_problems import check_derived_section
from kinesweep.core.hashing import compute_fingerprint

_CORPUS_SECTIONS = ("name", "source", "features", "store", "tracking")
_UNHASHED_SECTIONS = ("name", "source", "features", "store", "checkpoints", "tracking", "resources")


class PretrainingRecipe(StrictConfig):
    """The configuration of a pretraining run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Name of runs.")
    source: AnySource = Field(description="Corpus of videos, or a list of corpora.")
    features: FramesFeaturesConfig = Field(
        FramesFeaturesConfig(), description="Frames decoded from each clip."
    )
    store: StoreConfig = Field(StoreConfig(), description="Feature store on disk.")
    batch: PretrainingBatchConfig = Field(
        PretrainingBatchConfig(), description="Windows of clips, and batches of them."
    )
    model: PretrainedModelConfig = Field(
        PretrainedModelConfig(), description="The model that is pretrained."
    )
    objective: ObjectiveConfig = Field(
        MaskedAutoencodingConfig(), description="Training objective."
    )
    training: PretrainingLoopConfig = Field(
        PretrainingLoopConfig(), description="Training of the weights."
    )
    checkpoints: CheckpointsConfig = Field(CheckpointsConfig(), description="Checkpoints on disk.")
    resources: ResourcesConfig = Field(ResourcesConfig(), description="Resources of a run.")
    tracking: TrackingChoice = "auto"

    @model_validator(mode="after")
    def _check_corpus_recipe(self) -> "PretrainingRecipe":
        """Check the sections of the corpus against each other, by the rules of a run's recipe."""
        # A run's recipe has the rules between source and features, so building one checks them.
        check_derived_section(lambda: self.corpus_recipe)
        return self

    @model_validator(mode="after")
    def _check_whole_batch(self) -> "PretrainingRecipe":
        """Check that a contrastive loss sees all windows of a step at once."""
        steps = self.training.gradient_accumulation_steps
        if isinstance(self.objective, ClipConfig) and steps > 1:
            raise ValueError(
                f"`training.gradient_accumulation_steps` is {steps}, but `objective.kind: clip`"
                " compares all windows of a step with each other, which accumulated batches do not"
                " see; raise `batch.windows` or `resources.workers` instead"
            )
        return self

    @property
    def corpus_recipe(self) -> Recipe:
        """Return a run's recipe with the same name, corpus, features, store and tracking.

        It is used to extract the frames; its model is a placeholder.
        """
        sections = self.model_dump(mode="json", include=set(_CORPUS_SECTIONS))
        model = {
            "backbone": {"kind": "seq2seq", "scratch": {"architecture": "m2m_100"}},
            "encoder": {"standardize": False},
            # Frames need a model that reads them at their rate, which extraction ignores.
            "vision": {
                "kind": "signhiera",
                "scratch": {},
                "windows": {"target_fps": self.features.target_fps},
            },
        }
        # Validated and not copied, so that the rules of a run hold for this corpus too.
        return Recipe.model_validate({**sections, "model": model})

    @property
    def windows_per_step(self) -> int:
        """Return the number of windows of an optimizer step, of all workers."""
        per_worker = self.batch.windows * self.training.gradient_accumulation_steps
        return per_worker * self.resources.workers

    def compute_config_hash(self, store_fingerprint: str) -> str:
        """Compute a 12-digit hexadecimal hash of the configuration and the data, without the seed.

        Sections that do not affect the result are left out, the store's fingerprint replaces those
        of the data, and the hashes of weights their paths.

        Args:
            store_fingerprint: Fingerprint of the feature store, which represents the data.
        """
        # The fingerprint stands for the data; the number of workers is in the identity of a run.
        values = self.model_dump(mode="json", exclude=set(_UNHASHED_SECTIONS))
        strip_paths(values)
        # Runs that differ in the seed only share a hash, as runs of a recipe do.
        del values["training"]["seed"], values["batch"]["loader_workers"]
        return compute_fingerprint({"pretraining": values, "store": store_fingerprint})[:12]

    def with_seed(self, seed: int) -> "PretrainingRecipe":
        """Return the recipe with another `training.seed`."""
        # `model_copy` does not validate again, and no rule depends on the seed.
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})

    def resolve_paths(self, base_dir: Path) -> "PretrainingRecipe":
        """Return the recipe with absolute local paths and the hashes of all weights to start from.

        Args:
            base_dir: Folder that relative paths start from.
        """
        corpus_sections = self.corpus_recipe.resolve_paths(base_dir).model_dump(
            mode="json", include=set(_CORPUS_SECTIONS)
        )
        values: dict[str, Any] = {**self.model_dump(mode="json"), **corpus_sections}
        resolve_weights(values, base_dir)
        return PretrainingRecipe.model_validate(values)
