"""Tracking for commands: where runs are recorded, and the function that opens the log of a run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.embedding import EmbeddingRecipe
from kinesweep.core.hashing import flatten
from kinesweep.core.paths import state_home
from kinesweep.core.provenance import provenance
from kinesweep.core.run_logger import RunLogger
from kinesweep.tracking.backends import Tracker, resolve_tracking
from kinesweep.tracking.runlog import RunName

logger = logging.getLogger(__name__)


_GOLD = (
    "`context.decoding_context` is `references`: the model reads reference sentences as context,"
    " which are not available in use, so scores are too optimistic; `model` reads the model's own"
    " sentences"
)


def create_tracker(recipe: Recipe, experiment: str, folder: Path) -> Tracker:
    """Return the tracker of runs, after sending the records that earlier commands left in a folder.

    Args:
        recipe: Recipe with the `tracking` setting.
        experiment: Name of the MLflow experiment.
        folder: Folder below which unsent records are looked for.
    """
    logs = resolve_tracking(recipe.tracking, state_home(), experiment)
    if logs.notice:
        logger.info(logs.notice)
    if recipe.context.reads_references:
        logger.info(_GOLD)
    waiting = logs.flush_pending(folder)
    if waiting:
        logger.info(f"{waiting} records in {folder} are waiting for the MLflow server")
    return logs


@dataclass(frozen=True)
class LogOpener:
    """A picklable function that opens the log of a run; it is sent to workers.

    Attributes:
        logs: Tracker that records the runs.
        recipe: Recipe whose parameters are logged for every run.
        parent: Key of the sweep's own run, or None for a single run.
    """

    logs: Tracker
    recipe: Recipe | EmbeddingRecipe
    parent: str | None = None

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the log of one run and log its parameters.

        Args:
            folder: Run folder, whose name ends in `-sSEED`.
            title: Display name of the run.
            phase: Phase of the run, such as `train`, `search` or `finals`.
            params: Swept parameters, which override those of the recipe.
        """
        config, _, seed = folder.name.rpartition("-s")
        plain = flatten(self.recipe.model_dump(mode="json"))
        # Paths and corpus settings differ between machines and are not hyperparameters.
        kept = {k: v for k, v in plain.items() if not k.startswith(("source.", "store."))}
        values = {**kept, **params, "training.seed": seed, "phase": phase}
        own = {"config_hash": config, "seed": seed, "phase": phase}
        tags = {**own, **{f"made_with.{name}": value for name, value in provenance().items()}}
        log = self.logs.open(RunName(str(folder), title, tags, self.parent), folder)
        log.params(values)
        return log
