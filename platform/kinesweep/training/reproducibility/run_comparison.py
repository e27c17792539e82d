"""Comparison of runs with the same identity: whether they are equal and where they diverge.

It reads the folders of finished runs with a trace (`RunSpec.trace`) and trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import read_json
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult
from kinesweep.training.run_records.run_identity import METRICS_FILE, START_FILE

# Maximum number of names in a message.
_MAX_NAMES = 3


@dataclass(frozen=True)
class Divergence:
    """The first difference between a run and the first run.

    Attributes:
        run: Name of the run's folder.
        step: First step with a difference; 0 if the initial weights differ.
        what: Names of the tensors that differ at step 0, or of the measurements or final values
            that differ later.
        settings: Setting that differs → its values in the first run and in this one.
    """

    run: str
    step: int
    what: tuple[str, ...]
    settings: dict[str, tuple[Any, Any]]

    def format_lines(self) -> list[str]:
        """Format the difference, and the settings that may explain it, as lines for the console."""
        names = ", ".join(f"`{name}`" for name in self.what[:_MAX_NAMES])
        if len(self.what) > _MAX_NAMES:
            names += f" and {len(self.what) - _MAX_NAMES} more"
        moment = "before the first step" if self.step == 0 else "first"
        lines = [f"{self.run} differs at step {self.step}: {names} {moment}"]
        lines += [
            f"  setting {name}: {first_value!r} in the first run, {value!r} in {self.run}"
            for name, (first_value, value) in self.settings.items()
        ]
        if not self.settings:
            lines.append("  all recorded settings are equal: something in the run is not seeded")
        return lines


def compare_runs(results: Sequence[RunResult]) -> list[Divergence]:
    """Compare each run bit by bit with the first one.

    Args:
        results: Results of at least one run.

    Returns:
        The first difference of each run that differs, in the order of `results`; empty if all runs
        are equal.

    Raises:
        CheckpointError: If the trace of a run is missing or damaged.
    """
    first, *others = results
    divergences = (_find_divergence(first, other) for other in others)
    return [divergence for divergence in divergences if divergence is not None]


def _find_divergence(first_run: RunResult, other_run: RunResult) -> Divergence | None:
    """Find the first difference between two runs, in the order of time.

    Args:
        first_run: Result of the run to compare with.
        other_run: Result of the run for which the difference is reported.

    Returns:
        The difference; None if initial weights, all measurements and final values are equal.

    Raises:
        CheckpointError: If the trace of a run is missing or damaged.
    """
    first_trace = _read_start_trace(first_run.folder)
    other_trace = _read_start_trace(other_run.folder)
    changed_settings = _find_changed_values(first_trace["settings"], other_trace["settings"])
    changed_tensors = tuple(_find_changed_values(first_trace["tensors"], other_trace["tensors"]))
    run_name = other_run.folder.name
    if changed_tensors:
        return Divergence(run_name, 0, changed_tensors, changed_settings)
    first_rows = read_metrics(first_run.folder / METRICS_FILE)
    other_rows = read_metrics(other_run.folder / METRICS_FILE)
    # Not strict: different numbers of measurements are reported below.
    for first_row, other_row in zip(first_rows, other_rows, strict=False):
        if first_row != other_row:
            # The rows may belong to different steps; the runs diverge at the earlier one.
            step = int(min(first_row["step"], other_row["step"]))
            changed_metrics = tuple(_find_changed_values(first_row, other_row))
            return Divergence(run_name, step, changed_metrics, changed_settings)
    changed_finals = tuple(
        _find_changed_values(_get_final_values(first_run), _get_final_values(other_run))
    )
    if len(first_rows) != len(other_rows) or changed_finals:
        last_step = min(first_run.step, other_run.step)
        changed_names = changed_finals or ("number of measurements",)
        return Divergence(run_name, last_step, changed_names, changed_settings)
    return None


def _get_final_values(result: RunResult) -> dict[str, Any]:
    """Return the final values of a run that must be equal in a repetition: steps, weights, scores.

    The weights are represented by their hash.
    """
    scores = {f"final {name}": value for name, value in result.scores.items()}
    return {"steps": result.step, "weights": result.weights_sha256, **scores}


def _find_changed_values(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Find the keys whose values differ between two mappings, or that only one of them has.

    Returns:
        Key → value in `first` and value in `second`; None where the key is missing.
    """
    # A list rather than a set, so that messages name the keys in a fixed order.
    keys = [*first, *(key for key in second if key not in first)]
    return {
        key: (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)
    }


def _read_start_trace(folder: Path) -> dict[str, Any]:
    """Read the trace of the state before the first step from `start.json` in a run folder.

    Returns:
        `tensors`: name → digest; `settings`: name → value.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    try:
        trace: dict[str, Any] = read_json(folder / START_FILE)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"`{folder}` holds no trace of its start ({error}); train it again with"
            " `RunSpec(trace=True)`"
        ) from None
    return trace
