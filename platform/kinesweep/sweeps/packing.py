"""How many runs fit in a cluster at once; no Ray in it."""

from collections.abc import Mapping, Sequence

from kinesweep.core.errors import ResourceError
from kinesweep.core.recipe.training import ResourcesConfig

_EPSILON = 1e-4
"""Ray counts resources in steps of this size."""


def slots(resources: ResourcesConfig, nodes: Sequence[Mapping[str, float]]) -> int:
    """Runs at a time: a worker lies on one node, the workers of a run may lie on several.

    Args:
        resources: of one run.
        nodes: `{"CPU": …, "GPU": …}` of each node.

    Raises:
        ResourceError: not even one fits; says what would.
    """
    workers = sum(_workers_on(node, resources) for node in nodes)
    if workers >= resources.workers:
        return workers // resources.workers
    need = f"{resources.workers} × ({_shown(resources.cpus, resources.gpus)})"
    have = "; ".join(_shown(n.get("CPU", 0), n.get("GPU", 0)) for n in nodes) or "no node"
    advice = "raise the cluster's size or lower `resources.cpus` or `resources.gpus`"
    if workers:
        advice = f"`resources.workers: {workers}` would fit"
    raise ResourceError(f"one run needs {need}, but the cluster has {have}; {advice}")


def _workers_on(node: Mapping[str, float], resources: ResourcesConfig) -> int:
    """Workers that one node holds; a worker's share of a GPU never spans two GPUs."""
    by_cpu = int((node.get("CPU", 0) + _EPSILON) // resources.cpus)
    if not resources.gpus:
        return by_cpu
    gpus = int(node.get("GPU", 0))
    if resources.gpus >= 1:
        by_gpu = int((gpus + _EPSILON) // resources.gpus)
    else:
        by_gpu = gpus * int((1 + _EPSILON) // resources.gpus)
    return min(by_cpu, by_gpu)


def _shown(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU, {gpus:g} GPU" if gpus else f"{cpus:g} CPU"
