"""Settings of a replica, which are sent to its process."""

from dataclasses import dataclass
from pathlib import Path

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
