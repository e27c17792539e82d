"""Tracking for commands: the tracker that records runs, and the opener of a run's log."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.parts import identify_parts
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.tracking import TrackingChoice
from kinesweep.core.hashing import flatten_mapping
from kinesweep.core.paths import get_state_dir
from kinesweep.core.provenance import collect_provenance
from kinesweep.core.run_logger import RunLogger
from kinesweep.sweeps.journal.run_folders import parse_run_name
from kinesweep.sweeps.space.loading import apply_overrides
from kinesweep.tracking.backends import Tracker
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.tracking.resolution import resolve_tracker

logger = logging.getLogger(__name__)

_REFERENCE_CONTEXT_WARNING = (
    "`context.decoding_context` is `references`: the model reads reference sentences as context,"
    " which are not available in use, so scores are too optimistic; `model` reads the model's own"
    " sentences"
)


def check_trackers(choice: TrackingChoice) -> None:
    """Check that every named tracker can be used, before an extraction that may take hours.

    Raises:
        TrackingError: If a tracker that `tracking` names cannot be used.
    """
    resolve_tracker(choice, get_state_dir(), "")


def create_tracker(recipe: Recipe, experiment: str, folder: Path) -> Tracker:
    """Create the tracker of runs and send the records that earlier commands could not send.

    Logs where runs are recorded if it is not obvious, a warning if scores will be too optimistic
    because the context consists of references, and the number of records that are still unsent.

    Args:
        recipe: Recipe with the `tracking` setting.
        experiment: Name of the MLflow experiment and the W&B project.
        folder: Folder that is searched for unsent records.

    Raises:
        TrackingError: If a tracker that `tracking` names cannot be used.
    """
    tracker = resolve_tracker(recipe.tracking, get_state_dir(), experiment)
    if tracker.notice:
        logger.info(tracker.notice)
    if recipe.context.uses_reference_context:
        logger.info(_REFERENCE_CONTEXT_WARNING)
    num_pending = tracker.flush_pending(folder)
    if num_pending:
        logger.info(f"{num_pending} records in {folder} are waiting for their tracker")
    return tracker


@dataclass(frozen=True)
class RunLogOpener:
    """A picklable function that opens the log of a run; it is sent to workers.

    Attributes:
        tracker: Tracker that records the runs.
        recipe: Recipe whose parameters are logged for every run.
        parent: Key of the sweep's own run, the path of the sweep's folder; None: the runs do not
            belong to a sweep.
    """

    tracker: Tracker
    recipe: Recipe | EmbeddingRecipe | PretrainingRecipe
    parent: str | None = None

    def __call__(
        self, folder: Path, title: str, phase: str, params: Mapping[str, Any]
    ) -> RunLogger:
        """Open the log of one run, with its tags, and log its parameters.

        Args:
            folder: Run folder. A sweep names it `CONFIG-sSEED`; a user may name it otherwise.
            title: Display name of the run.
            phase: Phase of the run, such as `train`, `search` or `finals`.
            params: Swept parameters, which override those of the recipe.

        Raises:
            TrackingError: If another process is recording this run.
            ValueError: If the folder of a sweep's run has another name.
        """
        config_hash, seed = self._identify_configuration(folder, title)
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
        tags = {"config_hash": config_hash, "seed": str(seed), "phase": phase, **provenance_tags}
        # A search may choose the kinds of parts, so the recipe alone does not tell them.
        recipe: Any = self.recipe
        recipe = recipe if self.parent is None else apply_overrides(recipe, dict(params))
        tags |= {f"part.{part}": package for part, package in identify_parts(recipe).items()}
        run_logger = self.tracker.open_run_logger(
            RunIdentifiers(str(folder), title, tags, self.parent), folder
        )
        run_logger.log_params({**logged_params, **params, "training.seed": seed, "phase": phase})
        return run_logger

    def _identify_configuration(self, folder: Path, title: str) -> tuple[str, int]:
        """Return the configuration hash and the seed of a run.

        In a sweep, both are in the name of the folder. Otherwise, the seed is that of the recipe,
        because a user may name the folder, and the hash is in the title that `train` gives.
        """
        if self.parent is not None:
            return parse_run_name(folder.name)
        try:
            config_hash = parse_run_name(title).config_hash.removeprefix(f"{self.recipe.name}-")
        except ValueError:  # a run of `repeat`, whose title ends in `run-N`
            config_hash = ""
        return config_hash, self.recipe.training.seed
