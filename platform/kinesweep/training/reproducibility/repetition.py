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
        run: Name of the run.
        step: First step with a difference; 0 for one before training began.
        what: Names of different tensors at step 0, of different measurements later.
        settings: Name → values in the first run and in this one, for settings that differ.
    """

    run: str
    step: int
    what: tuple[str, ...]
    settings: dict[str, tuple[Any, Any]]

    def format_lines(self) -> list[str]:
        """Format the difference as lines of text for the console."""
        names = ", ".join(f"`{name}`" for name in self.what[:_MAX_NAMES])
        more = f" and {len(self.what) - _MAX_NAMES} more" if len(self.what) > _MAX_NAMES else ""
        where = "before the first step" if self.step == 0 else "first"
        lines = [f"{self.run} differs at step {self.step}: {names}{more} {where}"]
        lines += [
            f"  setting {name}: {first!r} in the first run, {value!r} in {self.run}"
            for name, (first, value) in self.settings.items()
        ]
        if not self.settings:
            lines.append("  all recorded settings are equal: something in the run is not seeded")
        return lines


def compare_runs(results: Sequence[RunResult]) -> list[Divergence]:
    """Compare runs bit by bit with the first one.

    Args:
        results: Results of at least one run.

    Returns:
        The first difference of each run that differs, in order; empty if all are equal.

    Raises:
        CheckpointError: If a run has no trace.
    """
    first, *others = results
    divergences = (_find_divergence(first, other) for other in others)
    return [divergence for divergence in divergences if divergence is not None]


def _find_divergence(first: RunResult, other: RunResult) -> Divergence | None:
    """Find the first difference between two runs; None if they are equal."""
    start_traces = _read_start_trace(first.folder), _read_start_trace(other.folder)
    changed_settings = _find_changed_values(
        start_traces[0]["settings"], start_traces[1]["settings"]
    )
    tensors = tuple(_find_changed_values(start_traces[0]["tensors"], start_traces[1]["tensors"]))
    name = other.folder.name
    # Compare in the order of time: initial weights, then measurements, then the end.
    if tensors:
        return Divergence(name, 0, tensors, changed_settings)
    rows = [read_metrics(result.folder / METRICS_FILE) for result in (first, other)]
    # Not strict: different numbers of measurements are reported below.
    for one, two in zip(*rows, strict=False):
        if one != two:
            step = min(one["step"], two["step"])
            return Divergence(
                name, int(step), tuple(_find_changed_values(one, two)), changed_settings
            )
    final_values = [_get_final_values(result) for result in (first, other)]
    if len(rows[0]) != len(rows[1]) or final_values[0] != final_values[1]:
        what = tuple(_find_changed_values(*final_values)) or ("number of measurements",)
        return Divergence(name, min(first.step, other.step), what, changed_settings)
    return None


def _get_final_values(result: RunResult) -> dict[str, Any]:
    """Return the final values of a run that must be equal in a repetition."""
    scores = {f"final {name}": value for name, value in result.scores.items()}
    return {"steps": result.step, "weights": result.weights_sha256, **scores}


def _find_changed_values(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Find the keys whose values differ; return each with both values."""
    keys = [*first, *(key for key in second if key not in first)]
    return {
        key: (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)
    }


def _read_start_trace(folder: Path) -> dict[str, Any]:
    """Read the trace of the state before the first step, `start.json`, from a run folder."""
    try:
        trace: dict[str, Any] = read_json(folder / START_FILE)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"`{folder}` holds no trace of its start ({error}); train"
            " it again with `RunSpec(trace=True)`"
        ) from None
    return trace
