"""Files in a sweep's folder: `sweep.json` describes the sweep, `result.json` holds its result.

Together with the journal and the run folders they are all that a report needs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import read_json, write_json
from kinesweep.core.provenance import provenance
from kinesweep.sweeps.journal.journal import RESULT
from kinesweep.sweeps.results.provisional import drop_provisional
from kinesweep.sweeps.results.ranking import Rank
from kinesweep.sweeps.results.sweep_result import SweepOutcome
from kinesweep.sweeps.space.space import SearchSpace

RECORD = "sweep.json"


@dataclass(frozen=True)
class Record:
    """The description of a sweep.

    Attributes:
        space: The search space.
        recipe: Recipe that the sweep tunes.
        store: Folder of the feature store.
        made_with: Version, commit, packages and machine.
    """

    space: SearchSpace
    recipe: Recipe
    store: Path
    made_with: Mapping[str, str] = field(default_factory=provenance)


def write_record(folder: Path, record: Record) -> None:
    """Write `sweep.json` atomically."""
    plain = {
        "space": record.space.model_dump(mode="json", by_alias=True),
        "recipe": record.recipe.model_dump(mode="json", by_alias=True),
        "store": str(record.store),
        "made_with": dict(record.made_with),
    }
    write_json(folder / RECORD, plain)


def read_record(folder: Path) -> Record:
    """Read the description that `write_record` wrote.

    Raises:
        CheckpointError: If the folder holds no sweep.
    """
    plain = _read(folder / RECORD)
    space = SearchSpace.model_validate(plain["space"])
    recipe = Recipe.model_validate(plain["recipe"])
    return Record(space, recipe, Path(plain["store"]), plain["made_with"])


def write_outcome(folder: Path, outcome: SweepOutcome) -> Path:
    """Write `result.json` atomically, remove the provisional ranking, and return the path."""
    write_json(folder / RESULT, asdict(outcome))
    # In this order a sweep always has a ranking to show, whenever it is killed.
    drop_provisional(folder)
    return folder / RESULT


def read_outcome(folder: Path) -> SweepOutcome:
    """Read the result that `write_outcome` wrote.

    Raises:
        CheckpointError: If the sweep has no result yet.
    """
    plain = _read(folder / RESULT)
    # JSON keys are strings, seeds are integers.
    ranking = [
        Rank(**{**line, "scores": {int(seed): score for seed, score in line["scores"].items()}})
        for line in plain["ranking"]
    ]
    return SweepOutcome(**{**plain, "ranking": ranking})


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON file from a sweep's folder."""
    if not path.is_file():
        raise CheckpointError(
            f"`{path.parent}` has no {path.name}: it is not a sweep folder, or the sweep has not"
            " finished yet; run `kinesweep status` to see its progress"
        )
    return dict(read_json(path))
