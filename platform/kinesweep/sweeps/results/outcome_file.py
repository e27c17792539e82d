"""The file `result.json` in a sweep's folder: stores the `SweepOutcome` of a finished sweep."""

from dataclasses import asdict
from pathlib import Path

from kinesweep.core.io import write_json
from kinesweep.sweeps.journal.journal import RESULT
from kinesweep.sweeps.journal.sweep_metadata import read_sweep_json
from kinesweep.sweeps.results.provisional import remove_provisional_ranking
from kinesweep.sweeps.results.ranking import RankedConfiguration
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome


def write_sweep_outcome(folder: Path, outcome: SweepOutcome) -> Path:
    """Write the `SweepOutcome` of a sweep to `result.json` and remove `provisional.json`.

    The file is replaced atomically.

    Args:
        folder: Folder of the sweep.
        outcome: Outcome of the sweep.

    Returns:
        Path of `result.json`.
    """
    write_json(folder / RESULT, asdict(outcome))
    # In this order a sweep always has a ranking, even if it is killed between the two steps.
    remove_provisional_ranking(folder)
    return folder / RESULT


def read_sweep_outcome(folder: Path) -> SweepOutcome:
    """Read the `SweepOutcome` of a finished sweep from `result.json`.

    Raises:
        CheckpointError: If the folder holds no `result.json`.
    """
    fields = read_sweep_json(folder / RESULT)
    # JSON keys are strings, seeds are integers.
    ranking = [
        RankedConfiguration(
            **{**entry, "scores": {int(seed): score for seed, score in entry["scores"].items()}}
        )
        for entry in fields["ranking"]
    ]
    return SweepOutcome(**{**fields, "ranking": ranking})
