"""What a sweep's folder says of itself: what was asked, and what was found.

`sweep.json` and `result.json`, together with the journal and the run folders, are all that a report
is made of.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.core.errors import CheckpointError
from kinesweep.core.provenance import provenance
from kinesweep.core.recipe import Recipe
from kinesweep.sweeps.journal import RESULT
from kinesweep.sweeps.outcome import Outcome
from kinesweep.sweeps.provisional import drop_provisional
from kinesweep.sweeps.ranking import Rank
from kinesweep.sweeps.space import SearchSpace
from kinesweep.training.files import read_json, write_json

RECORD = "sweep.json"


@dataclass(frozen=True)
class Record:
    """What was asked.

    Attributes:
        space: the question.
        recipe: of whom it was asked.
        store: folder of the features.
        made_with: version, commit, packages, machine.
    """

    space: SearchSpace
    recipe: Recipe
    store: Path
    made_with: Mapping[str, str] = field(default_factory=provenance)


def write_record(folder: Path, record: Record) -> None:
    """Writes `sweep.json`, in one step."""
    plain = {
        "space": record.space.model_dump(mode="json", by_alias=True),
        "recipe": record.recipe.model_dump(mode="json", by_alias=True),
        "store": str(record.store),
        "made_with": dict(record.made_with),
    }
    write_json(folder / RECORD, plain)


def read_record(folder: Path) -> Record:
    """What `write_record` wrote.

    Raises:
        CheckpointError: no sweep there.
    """
    plain = _read(folder / RECORD)
    space = SearchSpace.model_validate(plain["space"])
    recipe = Recipe.model_validate(plain["recipe"])
    return Record(space, recipe, Path(plain["store"]), plain["made_with"])


def write_outcome(folder: Path, outcome: Outcome) -> Path:
    """Write `result.json` in one step, in place of the provisional ranking. Returns its path."""
    write_json(folder / RESULT, asdict(outcome))
    drop_provisional(folder)
    return folder / RESULT


def read_outcome(folder: Path) -> Outcome:
    """What `write_outcome` wrote.

    Raises:
        CheckpointError: the sweep has no result yet.
    """
    plain = _read(folder / RESULT)
    ranking = [
        Rank(**{**line, "scores": {int(seed): score for seed, score in line["scores"].items()}})
        for line in plain["ranking"]
    ]
    return Outcome(**{**plain, "ranking": ranking})


def _read(path: Path) -> dict[str, Any]:
    """A file of a sweep's folder."""
    if not path.is_file():
        raise CheckpointError(
            f"`{path.parent}` has no {path.name}: it is no sweep, or one that is not at its end;"
            " `kinesweep status` shows how far it is"
        )
    return dict(read_json(path))
