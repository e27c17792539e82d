"""Whether runs of one identity are the same, and where they part if they are not.

Reads the folders of finished runs that were traced (`RunSpec.trace`); trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import CheckpointError
from kinesweep.training.files import read_json
from kinesweep.training.identity import METRICS, START
from kinesweep.training.metrics import read_metrics
from kinesweep.training.result import RunResult

_SHOWN = 3


@dataclass(frozen=True)
class Parting:
    """Where a run leaves the first one.

    Attributes:
        run: its name.
        step: the first at which something differs; 0: before training began.
        what: tensors at step 0, measurements later.
        settings: name → its value in the first run and in this one, where they differ.
    """

    run: str
    step: int
    what: tuple[str, ...]
    settings: dict[str, tuple[Any, Any]]

    def lines(self) -> list[str]:
        """For people."""
        named = ", ".join(f"`{name}`" for name in self.what[:_SHOWN])
        more = f" and {len(self.what) - _SHOWN} more" if len(self.what) > _SHOWN else ""
        where = "before the first step" if self.step == 0 else "first"
        found = [f"{self.run} differs at step {self.step}: {named}{more} {where}"]
        found += [
            f"  setting {name}: {first!r} in the first run, {own!r} in {self.run}"
            for name, (first, own) in self.settings.items()
        ]
        if not self.settings:
            found.append("  all recorded settings are the same: something in the run is not seeded")
        return found


def compare_runs(results: Sequence[RunResult]) -> list[Parting]:
    """Each run that is not the first one's equal, in order; none where all are.

    Raises:
        CheckpointError: a run has not been traced.
    """
    first, *others = results
    found = (_parting(first, other) for other in others)
    return [parting for parting in found if parting is not None]


def _parting(first: RunResult, other: RunResult) -> Parting | None:
    starts = _start(first.folder), _start(other.folder)
    changed = _changed(starts[0]["settings"], starts[1]["settings"])
    tensors = tuple(_changed(starts[0]["tensors"], starts[1]["tensors"]))
    name = other.folder.name
    if tensors:
        return Parting(name, 0, tensors, changed)
    rows = [read_metrics(result.folder / METRICS) for result in (first, other)]
    for one, two in zip(*rows, strict=False):
        if one != two:
            step = min(one["step"], two["step"])
            return Parting(name, int(step), tuple(_changed(one, two)), changed)
    ends = [_end(result) for result in (first, other)]
    if len(rows[0]) != len(rows[1]) or ends[0] != ends[1]:
        what = tuple(_changed(*ends)) or ("number of measurements",)
        return Parting(name, min(first.step, other.step), what, changed)
    return None


def _end(result: RunResult) -> dict[str, Any]:
    """What a result says that no clock has measured."""
    scores = {f"final {name}": value for name, value in result.scores.items()}
    return {"steps": result.step, "weights": result.weights_sha256, **scores}


def _changed(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, with both."""
    keys = [*one, *(key for key in two if key not in one)]
    return {key: (one.get(key), two.get(key)) for key in keys if one.get(key) != two.get(key)}


def _start(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(folder / START)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"`{folder}` holds no trace of its start ({error})") from None
    return found
