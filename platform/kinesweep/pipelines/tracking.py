"""Tracking for commands: the tracker that records runs, and the opener of a run's log."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.core.hashing import flatten_mapping
from kinesweep.core.paths import get_state_dir
from kinesweep.core.provenance import collect_provenance
from kinesweep.core.run_logger import RunLogger
from kinesweep.tracking.backends import Tracker, resolve_tracker
from kinesweep.tracking.mlflow_run_logger import RunIdentifiers

logger = logging.getLogger(__name__)

_REFERENCE_CONTEXT_WARNING = (
    "`context.decoding_context` is `references`: the model reads reference sentences as context,"
    " which are not available in use, so scores are too optimistic; `model` reads the model's own"
    " sentences"
)


def create_tracker(recipe: Recipe, experiment: str, folder: Path) -> Tracker:
    """Create the tracker of runs and send the records that earlier commands could not send.

    Logs where runs are recorded if it is not obvious, a warning if scores will be too optimistic
    because the context consists of references, and the number of records that are still unsent.

    Args:
        recipe: Recipe with the `tracking` setting.
        experiment: Name of the MLflow experiment.
        folder: Folder that is searched for unsent records.

    Raises:
        TrackingError: If `tracking` is `mlflow` and no server can be used.
    """
    tracker = resolve_tracker(recipe.tracking, get_state_dir(), experiment)
    if tracker.notice:
        logger.info(tracker.notice)
    if recipe.context.uses_reference_context:
        logger.info(_REFERENCE_CONTEXT_WARNING)
    num_pending = tracker.flush_pending(folder)
    if num_pending:
        logger.info(f"{num_pending} records in {folder} are waiting for the MLflow server")
    return tracker


@dataclass(frozen=True)
class RunLogOpener:
    """A picklable function that opens the log of a run; it is sent to workers.

    Attributes:
        tracker: Tracker that records the runs.
        recipe: Recipe whose parameters are logged for every run.
        parent: Key of the sweep's own run, or None for a single run.
    """

    tracker: Tracker
    recipe: Recipe | EmbeddingRecipe
    parent: str | None = None

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the log of one run, with its tags, and log its parameters.

        Args:
            folder: Run folder, whose name ends in `-sSEED`.
            title: Display name of the run.
            phase: Phase of the run, such as `train`, `search` or `finals`.
            params: Swept parameters, which override those of the recipe.
        """
        config_hash, _, seed = folder.name.rpartition("-s")
        recipe_params = flatten_mapping(self.recipe.model_dump(mode="json"))
        # Paths and corpus settings differ between machines and are not hyperparameters.
        logged_params = {
            key: value
            for key, value in recipe_params.items()
            if not key.startswith(("source.", "store."))
        }
        provenance_tags = {
            f"made_with.{name}": value for name, value in collect_provenance().items()
        }
        tags = {"config_hash": config_hash, "seed": seed, "phase": phase, **provenance_tags}
        run_logger = self.tracker.open_run_logger(
            RunIdentifiers(str(folder), title, tags, self.parent), folder
        )
        run_logger.log_params({**logged_params, **params, "training.seed": seed, "phase": phase})
        return run_logger
