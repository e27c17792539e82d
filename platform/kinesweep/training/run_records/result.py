"""Specification (`RunSpec`) and result (`RunResult`) of a run, both plain values."""

import dataclasses
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.html_table import format_html_key_values
from kinesweep.core.io import read_json, write_json
from kinesweep.core.scores import GOLD_CONTEXT, format_score_value, order_scores
from kinesweep.training.run_records.run_identity import RESULT_FILE


@dataclass(frozen=True)
class RunSpec:
    """The specification of one run.

    Attributes:
        recipe: Configuration, including `training.seed`.
        store: Folder of the feature store.
        folder: Run folder, to which all files of the run are written.
        full_decoding: Decode all of validation with `generation` at the end; otherwise the scores
            are those of the best evaluation during training (`evaluation.during_training`).
        score_test: Score the test split too. Every such scoring is counted.
        overwrite: First remove the files of any earlier run from the folder.
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
        best_step: Step of the best checkpoint; None if no evaluation took place.
        step: Number of steps trained.
        samples: Number of clips seen, counting repetitions.
        epochs: Number of passes over the training clips; None in results of earlier versions.
        limited: Effects of length limits. In train: number of clips excluded, by reason, and for
            truncated streams `cut_clips.<stream>` and `cut_frames.<stream>`. In validation:
            `fit_clips.<stream>` and `fit_vectors.<stream>`, truncated to fit into the language
            model. For a frame embedder: `alone_in_kind`, the number of training clips that are not
            used because no other clip shows their motion.
        text_coverage: Split → `unknown_tokens`, the share of its tokens that the tokenizer does not
            know; `changed_texts` and `too_long_texts`, the shares of its texts that differ after
            encoding and decoding, and that exceed `generation.max_new_tokens`. Empty in results
            of earlier versions.
        resolved_steps: `max_steps`, `warmup_steps`, `eval_steps`, and if the recipe counts epochs
            `steps_per_epoch`, as resolved from epochs and ratios. Empty in results of earlier
            versions.
        scores: Scores of the best checkpoint on validation.
        search_scores: Scores of the best checkpoint as measured during training.
        test: Scores of the best checkpoint on test, or None.
        costs: `parameters` (trained weights) and `decode_ms` (decoding time per sentence with the
            recipe's beams); the latter is not reproducible.
        signatures: Metric → signature of its computation on validation.
        test_signatures: Metric → signature of its computation on test; empty without test scores,
            and in results of earlier versions, where `signatures` are those of test.
        weights_sha256: Hash of the best model's tensors; empty unless finished.
        tasks: Split → side task → accuracy with its interval, and further scores of the answers
            (see `TaskScores`). Empty without `evaluation.tasks` and in results of earlier versions.
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
    test_signatures: dict[str, str] = field(default_factory=dict)
    text_coverage: dict[str, dict[str, float]] = field(default_factory=dict)
    resolved_steps: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @property
    def objective_values(self) -> dict[str, float]:
        """Return all values that a sweep can use as objectives, scores and costs, by name."""
        return {**self.scores, **self.costs}

    @property
    def has_reference_context(self) -> bool:
        """Return whether reference translations served as decoding context.

        They inflate the scores, because no translation is available in real use.
        """
        # Test may have been scored with a context that validation did not have.
        signatures = (*self.signatures.values(), *self.test_signatures.values())
        return any(GOLD_CONTEXT in signature for signature in signatures)

    def _repr_html_(self) -> str:
        """Return status, scores and folder as HTML, which notebooks show."""
        scores = {
            name: format_score_value(name, self.objective_values[name])
            for name in order_scores(self.objective_values)
        }
        title = f"{self.status} after {self.step} steps ({self.reason})"
        return format_html_key_values(title, {**scores, "folder": self.folder})

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values for `result.json`."""
        return {**asdict(self), "folder": str(self.folder)}

    def write(self) -> None:
        """Write `result.json`, the last file of a run; its presence shows that the run ended."""
        write_json(self.folder / RESULT_FILE, self.to_json())


def read_run_result(folder: Path) -> RunResult | None:
    """Read the result of a run from `result.json` in its folder.

    Args:
        folder: Run folder.

    Returns:
        The result, with `folder` as its folder; None if there is no `result.json` yet.

    Raises:
        CheckpointError: If `result.json` is damaged.
    """
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    try:
        values = read_json(path)
        # The folder may have been moved since; use its current path.
        return dataclasses.replace(RunResult(**values), folder=folder)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"`{path}` is damaged: {error}") from None


def read_finished_result(folder: Path) -> RunResult | None:
    """Read the result of a run from its folder, if the run has finished.

    Args:
        folder: Run folder.

    Returns:
        The result; None if there is no result yet or its status is not `finished`.

    Raises:
        CheckpointError: If `result.json` is damaged.
    """
    result = read_run_result(folder)
    return result if result is not None and result.status == "finished" else None
