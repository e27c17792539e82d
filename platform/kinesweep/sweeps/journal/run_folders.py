"""Names of a sweep's run folders: `runs/CONFIG-sSEED` in the sweep's folder.

Separate from `sweep`, which imports Ray and PyTorch; tables of a sweep need neither.
"""

import re
from typing import NamedTuple

RUNS = "runs"
_RUN_NAME = re.compile(r"(?P<config_hash>.+)-s(?P<seed>\d+)")


class RunNameParts(NamedTuple):
    """The configuration hash and the random seed in the name of a run."""

    config_hash: str
    seed: int


def format_run_name(config_hash: str, seed: int) -> str:
    """Return the name of a run's folder, `CONFIG-sSEED`.

    Args:
        config_hash: Configuration hash.
        seed: Random seed of the run.
    """
    return f"{config_hash}-s{seed}"


def parse_run_name(name: str) -> RunNameParts:
    """Parse the name of a run's folder.

    Raises:
        ValueError: If the name does not have the form `CONFIG-sSEED`.
    """
    match = _RUN_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"`{name}` is not the name of a run; it must end in `CONFIG-sSEED`")
    return RunNameParts(match["config_hash"], int(match["seed"]))
