"""The recipe of a pretraining run, which trains a video model on the frames of clips without texts.

Corpus, features and store are configured as in the recipe of a run on decoded frames, so the store
is shared with the runs that fine-tune the model.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.pretraining.objectives import (
    MaskedAutoencodingConfig,
    ObjectiveConfig,
    PretrainedModelConfig,
)
from kinesweep.config.pretraining.training import PretrainingLoopConfig
from kinesweep.config.pretraining.windows import PretrainingBatchConfig
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import StoreConfig
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.resources import CheckpointsConfig, ResourcesConfig
from kinesweep.config.recipe.source import AnySource
from kinesweep.config.tracking import TrackingChoice
from kinesweep.core.checkpoint_files import compute_cached_sha256
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
        try:
            _ = self.corpus_recipe
        except ValidationError as error:
            message = str(error.errors()[0]["msg"])
            raise ValueError(message.removeprefix("Value error, ")) from None
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
        return Recipe.model_validate({**sections, "model": model})

    @property
    def windows_per_step(self) -> int:
        """Return the number of windows of an optimizer step, of all workers."""
        per_worker = self.batch.windows * self.training.gradient_accumulation_steps
        return per_worker * self.resources.workers

    def compute_config_hash(self, store_fingerprint: str) -> str:
        """Compute a 12-digit hexadecimal hash of the configuration and the data, without the seed.

        Sections that do not affect the result are left out, the store's fingerprint replaces those
        of the data, and the hash of the weights the paths `init_from`.

        Args:
            store_fingerprint: Fingerprint of the feature store, which represents the data.
        """
        values = self.model_dump(mode="json", exclude=set(_UNHASHED_SECTIONS))
        del values["training"]["seed"], values["batch"]["loader_workers"]
        for section in (values["model"], values["objective"]):
            section.pop("init_from", None)
        return compute_fingerprint({"pretraining": values, "store": store_fingerprint})[:12]

    def resolve_paths(self, base_dir: Path) -> "PretrainingRecipe":
        """Return the recipe with absolute local paths and the hashes of the files `init_from`.

        Args:
            base_dir: Folder that relative paths start from.
        """
        corpus_sections = self.corpus_recipe.resolve_paths(base_dir).model_dump(
            mode="json", include=set(_CORPUS_SECTIONS)
        )
        values: dict[str, Any] = {**self.model_dump(mode="json"), **corpus_sections}
        for section in (values["model"], values["objective"]):
            if section.get("init_from") is None:
                continue
            path = base_dir / Path(section["init_from"]).expanduser()
            section["init_from"] = str(path)
            # A missing file has no hash; loading reports it with the key to change.
            if section["sha256"] is None and path.is_file():
                section["sha256"] = compute_cached_sha256(path)
        return PretrainingRecipe.model_validate(values)
