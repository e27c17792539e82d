"""Where the runs of a sweep lie: `runs/CONFIG-sSEED` below its folder.

Apart from `sweep`, which loads Ray and PyTorch: tables of a sweep need neither.
"""

RUNS = "runs"


def run_name(config: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{config}-s{seed}"
