"""Placement: the number of runs that fit in a cluster at the same time; independent of Ray."""

from collections.abc import Mapping, Sequence

from kinesweep.config.recipe.training import ResourcesConfig
from kinesweep.core.errors import ResourceError

_EPSILON = 1e-4
"""Smallest resource unit of Ray; added before divisions so that rounding loses no slot."""


def slots(resources: ResourcesConfig, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the number of runs that fit at a time.

    Each worker is placed on one node; the workers of a run may be on several nodes.

    Args:
        resources: Resources of one run.
        nodes: Resources of each node, `{"CPU": …, "GPU": …}`.

    Raises:
        ResourceError: If no run fits; the message says which setting would.
    """
    workers = sum(_workers_on(node, resources) for node in nodes)
    if workers >= resources.workers:
        return workers // resources.workers
    need = f"{resources.workers} × ({_shown(resources.cpus, resources.gpus)})"
    have = "; ".join(_shown(n.get("CPU", 0), n.get("GPU", 0)) for n in nodes) or "no node"
    advice = "use a larger cluster, or lower `resources.cpus` or `resources.gpus`"
    if workers:
        # Some workers fit, so a smaller run would fit, too.
        advice = f"`resources.workers: {workers}` would fit"
    raise ResourceError(f"one run needs {need}, but the cluster has {have}; {advice}")


def _workers_on(node: Mapping[str, float], resources: ResourcesConfig) -> int:
    """Return the number of workers that fit on a node; no worker's GPU share spans two GPUs."""
    by_cpu = int((node.get("CPU", 0) + _EPSILON) // resources.cpus)
    if not resources.gpus:
        return by_cpu
    gpus = int(node.get("GPU", 0))
    if resources.gpus >= 1:
        by_gpu = int((gpus + _EPSILON) // resources.gpus)
    else:
        # Rounded per GPU: three shares of 0.6 need three GPUs, not two.
        by_gpu = gpus * int((1 + _EPSILON) // resources.gpus)
    return min(by_cpu, by_gpu)


def _shown(cpus: float, gpus: float) -> str:
    """Format resources for a message."""
    return f"{cpus:g} CPU, {gpus:g} GPU" if gpus else f"{cpus:g} CPU"
