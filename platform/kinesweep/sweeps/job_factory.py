"""The factory that turns the run requests of a sweep's policies into training jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.core.run_logger import RunLogger
from kinesweep.sweeps.feature_stores import FeatureStores
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name
from kinesweep.sweeps.search.ask_tell import RunRequest
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.sweeps.workers.tune_runner import TrainingJob


class RunLoggerFactory(Protocol):
    """A picklable function that opens the run logger of a run."""

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the run logger of one run.

        Args:
            folder: Run folder.
            title: Display name of the run.
            phase: `search`, `finals` or `sanity`.
            params: Values that override the recipe, fixed and swept ones.
        """


@dataclass(frozen=True)
class JobFactory:
    """A callable that turns run requests into training jobs.

    Attributes:
        recipe: Recipe that the sweep tunes.
        stores: Feature stores.
        folder: Folder of the sweep.
        open_log: Function that opens the run logger of a run.
    """

    recipe: AnyRecipe
    stores: FeatureStores
    folder: Path
    open_log: RunLoggerFactory

    def __call__(self, request: RunRequest) -> TrainingJob:
        """Build the training job of a request.

        The hash of its configuration and features, and its seed name the run folder.

        Raises:
            ConfigError: If the recipe does not allow one of the values.
            KeyError: If the features that the values require have not been extracted.
        """
        recipe = apply_overrides(self.recipe, request.values).with_seed(request.seed)
        store = self.stores.get_store(recipe.features)
        config_hash = recipe.compute_config_hash(store.fingerprint)
        run_dir = self.folder / RUNS / format_run_name(config_hash, request.seed)
        title = f"{request.phase} {config_hash} s{request.seed}"
        return TrainingJob(
            recipe=recipe,
            store=store.folder,
            folder=run_dir,
            # Search runs are scored as during training; only the others decode all of validation.
            full_decoding=request.phase != "search",
            open_log=partial(self.open_log, run_dir, title, request.phase, dict(request.values)),
            sweep=self.folder.name,
        )
