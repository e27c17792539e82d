"""Settings of a replica, which are sent to its process, and the choice of its GPUs."""

import math
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.serving.limits import ServeLimits


@dataclass(frozen=True)
class ReplicaSettings:
    """What a replica loads and uses.

    Attributes:
        bundle_dir: Absolute path of the bundle, the same on all nodes.
        manifest_sha256: SHA-256 of the manifest of the bundle when the server started.
        cpus: CPU cores of a replica, which are also its threads.
        gpus: GPUs of a replica, or a fraction of one.
        accept_rate: Whether all clips may have another frame rate than the training data.
        estimator: Name of an estimator of poses, or YAML file with one.
        limits: Limits of the server.
    """

    bundle_dir: Path
    manifest_sha256: str
    cpus: int
    gpus: float
    accept_rate: bool
    estimator: str | None
    limits: ServeLimits


def choose_replica_gpus(
    device: str, gpus: float | None, num_replicas: int, num_cluster_gpus: float
) -> float:
    """Choose the GPUs of each replica.

    Args:
        device: `cpu`; `cuda`: GPUs also if the cluster lacks them, which is an error later; `auto`:
            GPUs if the cluster has some.
        gpus: Requested number for each replica; None: one, or an equal part of fewer.
        num_replicas: Number of replicas.
        num_cluster_gpus: Number of GPUs of the cluster.

    Returns:
        Number of GPUs, or the fraction of one; 0: the CPU.
    """
    if gpus is not None:
        return gpus
    if device == "cpu" or (device == AUTO_DEVICE and num_cluster_gpus < 1):
        return 0.0
    num_sharing = math.ceil(num_replicas / max(1, math.floor(num_cluster_gpus)))
    # Rounded down to Ray's unit of 0.0001, so that a GPU holds all that share it.
    return math.floor(10_000 / num_sharing) / 10_000
