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
from kinesweep.training.run_records.run_identity import METRICS, START

# Maximum number of names in a message.
_SHOWN = 3


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

    def lines(self) -> list[str]:
        """Format the difference as lines of text."""
        named = ", ".join(f"`{name}`" for name in self.what[:_SHOWN])
        more = f" and {len(self.what) - _SHOWN} more" if len(self.what) > _SHOWN else ""
        where = "before the first step" if self.step == 0 else "first"
        found = [f"{self.run} differs at step {self.step}: {named}{more} {where}"]
        found += [
            f"  setting {name}: {first!r} in the first run, {own!r} in {self.run}"
            for name, (first, own) in self.settings.items()
        ]
        if not self.settings:
            found.append("  all recorded settings are equal: something in the run is not seeded")
        return found


def compare_runs(results: Sequence[RunResult]) -> list[Divergence]:
    """Compare each run with the first one.

    Args:
        results: Results of at least one run.

    Returns:
        The first difference of each run that differs, in order; empty if all are equal.

    Raises:
        CheckpointError: If a run has no trace.
    """
    first, *others = results
    found = (_parting(first, other) for other in others)
    return [parting for parting in found if parting is not None]


def _parting(first: RunResult, other: RunResult) -> Divergence | None:
    """Find the first difference between two runs, or None."""
    starts = _start(first.folder), _start(other.folder)
    changed = _changed(starts[0]["settings"], starts[1]["settings"])
    tensors = tuple(_changed(starts[0]["tensors"], starts[1]["tensors"]))
    name = other.folder.name
    # Compare in the order of time: initial weights, then measurements, then the end.
    if tensors:
        return Divergence(name, 0, tensors, changed)
    rows = [read_metrics(result.folder / METRICS) for result in (first, other)]
    # Not strict: different numbers of measurements are reported below.
    for one, two in zip(*rows, strict=False):
        if one != two:
            step = min(one["step"], two["step"])
            return Divergence(name, int(step), tuple(_changed(one, two)), changed)
    ends = [_end(result) for result in (first, other)]
    if len(rows[0]) != len(rows[1]) or ends[0] != ends[1]:
        what = tuple(_changed(*ends)) or ("number of measurements",)
        return Divergence(name, min(first.step, other.step), what, changed)
    return None


def _end(result: RunResult) -> dict[str, Any]:
    """Return the parts of a result that do not depend on a clock."""
    scores = {f"final {name}": value for name, value in result.scores.items()}
    return {"steps": result.step, "weights": result.weights_sha256, **scores}


def _changed(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ, with both values."""
    keys = [*one, *(key for key in two if key not in one)]
    return {key: (one.get(key), two.get(key)) for key in keys if one.get(key) != two.get(key)}


def _start(folder: Path) -> dict[str, Any]:
    """Read `start.json` of a run."""
    try:
        found: dict[str, Any] = read_json(folder / START)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"`{folder}` holds no trace of its start ({error}); train"
            " it again with `RunSpec(trace=True)`"
        ) from None
    return found
