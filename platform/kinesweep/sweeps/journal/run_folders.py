"""Names of a sweep's run folders: `runs/CONFIG-sSEED` in the sweep's folder.

Separate from `sweep`, which imports Ray and PyTorch; tables of a sweep need neither.
"""

RUNS = "runs"


def run_name(config: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{config}-s{seed}"
