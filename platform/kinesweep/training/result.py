"""What a run is asked for (`RunSpec`) and what it answers (`RunResult`), both plain values."""

import dataclasses
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinesweep.core.errors import CheckpointError
from kinesweep.core.recipe import Recipe
from kinesweep.training.files import read_json, write_json
from kinesweep.training.identity import RESULT

GOLD_CONTEXT = "context:gold"
"""In the signature of a score: a clip's context were the references of those before it."""


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Attributes:
        recipe: the configuration, `training.seed` included.
        store: folder of the feature store.
        folder: the run's own.
        full_decoding: decode all of validation with `generation` at the end; else the scores are
            those of the best evaluation during training (`evaluation.search`).
        score_test: score the test split too. Every such scoring counts.
        overwrite: remove what another run left in the folder.
        trace: write down the first weights, the settings, and every step's loss, so that another
            run can be compared; the run's results stay the same.
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
    """How a run ended.

    Attributes:
        status: `finished`: trained to its own end. `stopped`: `report` said so; the same call goes
            on from there. `failed`: the loss became infinite.
        reason: `max_steps`, `patience`, `reported` or `diverged`.
        best_step: step of the best checkpoint.
        step: steps trained.
        samples: clips seen, repeats counted.
        epochs: passes over the training clips; None in results of earlier versions.
        limited: what `batch`'s limits took from train: clips left out, by reason, and of streams
            that are cut `cut_clips.<stream>` and `cut_frames.<stream>`. `fit_clips.<stream>` and
            `fit_vectors.<stream>`: what of validation did not fit into the language model.
        scores: of the best checkpoint on validation.
        search_scores: the same checkpoint's, as measured during training.
        test: the same on test, or None.
        costs: `parameters` (trained weights) and `decode_ms` (a sentence, by the clock, with the
            recipe's beams); not part of what repeats to the bit.
        signatures: metric → how it was computed.
        weights_sha256: of the best model's tensors; empty unless finished.
        seconds: of the call that ended it; a resumed run's earlier calls are not counted.
        folder: of the run.
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
        """All that a sweep may judge by."""
        return {**self.scores, **self.costs}

    @property
    def reads_references(self) -> bool:
        """Whether scores flatter, because sentences were written behind true ones."""
        return any(GOLD_CONTEXT in how for how in self.signatures.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "folder": str(self.folder)}

    def write(self) -> None:
        """Writes `result.json`; done last, so its presence says that the run ended."""
        write_json(self.folder / RESULT, self.to_json())


def read_result(folder: Path) -> RunResult | None:
    """The result of a run folder, or None while it has none.

    Raises:
        CheckpointError: `result.json` is damaged.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        found = read_json(path)
        # The folder may have been moved since.
        return dataclasses.replace(RunResult(**found), folder=folder)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"`{path}` is damaged: {error}") from None


def read_finished(folder: Path) -> RunResult | None:
    """Read the result of a run that trained to its own end; None for any other.

    Raises:
        CheckpointError: `result.json` is damaged.
    """
    result = read_result(folder)
    return result if result is not None and result.status == "finished" else None
