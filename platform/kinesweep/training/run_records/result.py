"""Specification (`RunSpec`) and result (`RunResult`) of a run, both plain values."""

import dataclasses
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import read_json, write_json
from kinesweep.core.scores import GOLD_CONTEXT
from kinesweep.training.run_records.run_identity import RESULT


@dataclass(frozen=True)
class RunSpec:
    """The specification of one run.

    Attributes:
        recipe: Configuration, including `training.seed`.
        store: Folder of the feature store.
        folder: Run folder.
        full_decoding: Decode all of validation with `generation` at the end; otherwise the scores
            are those of the best evaluation during training (`evaluation.during_training`).
        score_test: Score the test split too. Every such scoring is counted.
        overwrite: Remove the files of another run from the folder.
        trace: Record initial weights, settings and the loss of every step, so that another run can
            be compared; the results stay the same.
    """

    recipe: Recipe
    store: Path
    folder: Path
    full_decoding: bool = True
    score_test: bool = False
    overwrite: bool = False
    trace: bool = False


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        status: `finished`: training reached its end. `stopped`: `report` or `should_stop` ended the
            call; the same call resumes. `failed`: the loss diverged.
        reason: `max_steps`, `patience`, `reported` or `diverged`.
        best_step: Step of the best checkpoint.
        step: Number of steps trained.
        samples: Number of clips seen, counting repetitions.
        epochs: Number of passes over the training clips; None in results of earlier versions.
        limited: Effects of length limits. In train: number of clips excluded, by reason, and for
            truncated streams `cut_clips.<stream>` and `cut_frames.<stream>`. In validation:
            `fit_clips.<stream>` and `fit_vectors.<stream>`, truncated to fit into the language
            model.
        scores: Scores of the best checkpoint on validation.
        search_scores: Scores of the best checkpoint as measured during training.
        test: Scores of the best checkpoint on test, or None.
        costs: `parameters` (trained weights) and `decode_ms` (decoding time per sentence with the
            recipe's beams); the latter is not reproducible.
        signatures: Metric → signature of its computation.
        weights_sha256: Hash of the best model's tensors; empty unless finished.
        seconds: Duration of the final call; earlier calls of a resumed run are not counted.
        folder: Run folder.
    """

    status: Literal["finished", "stopped", "failed"]
    reason: str
    best_step: int | None
    step: int
    samples: int
    scores: dict[str, float]
    search_scores: dict[str, float]
    weights_sha256: str
    seconds: float
    folder: Path
    test: dict[str, float] | None = None
    signatures: dict[str, str] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    epochs: float | None = None
    limited: dict[str, int] = field(default_factory=dict)

    @property
    def objectives(self) -> dict[str, float]:
        """Return all values that a sweep can use as objectives."""
        return {**self.scores, **self.costs}

    @property
    def reads_references(self) -> bool:
        """Return whether the scores are inflated because references served as context."""
        return any(GOLD_CONTEXT in how for how in self.signatures.values())

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {**asdict(self), "folder": str(self.folder)}

    def write(self) -> None:
        """Write `result.json`; it comes last, so its presence shows that the run has ended."""
        write_json(self.folder / RESULT, self.to_json())


def read_result(folder: Path) -> RunResult | None:
    """Read the result of a run folder; None if there is none yet.

    Raises:
        CheckpointError: If `result.json` is damaged.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        found = read_json(path)
        # The folder may have been moved since; use its current path.
        return dataclasses.replace(RunResult(**found), folder=folder)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"`{path}` is damaged: {error}") from None


def read_finished(folder: Path) -> RunResult | None:
    """Read the result of a run that trained to its own end; None for any other.

    Raises:
        CheckpointError: If `result.json` is damaged.
    """
    result = read_result(folder)
    return result if result is not None and result.status == "finished" else None
