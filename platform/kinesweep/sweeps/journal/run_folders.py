"""Names of a sweep's run folders: `runs/CONFIG-sSEED` in the sweep's folder.

Separate from `sweep`, which imports Ray and PyTorch; tables of a sweep need neither.
"""

RUNS = "runs"


def format_run_name(config_hash: str, seed: int) -> str:
    """Return the name of a run's folder, `CONFIG-sSEED`.

    Args:
        config_hash: Configuration hash.
        seed: Random seed of the run.
    """
    return f"{config_hash}-s{seed}"
