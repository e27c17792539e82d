"""Placement: computes how many runs fit in a cluster at the same time; independent of Ray."""

from collections.abc import Mapping, Sequence

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.errors import ResourceError

_EPSILON = 1e-4
"""Smallest resource unit of Ray; added before divisions so that rounding errors lose no slot."""


def count_slots(resources: ResourcesConfig, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the number of runs that fit in a cluster at the same time.

    Each worker is placed on one node; the workers of a run may be on several nodes.

    Args:
        resources: Resources of one run.
        nodes: Resources of each node, `{"CPU": …, "GPU": …}`.

    Raises:
        ResourceError: If no run fits; the message names a setting that would fit.
    """
    num_fitting_workers = sum(_count_workers_on_node(node, resources) for node in nodes)
    if num_fitting_workers >= resources.workers:
        return num_fitting_workers // resources.workers
    needed = f"{resources.workers} × ({_format_resources(resources.cpus, resources.gpus)})"
    available = (
        "; ".join(_format_resources(n.get("CPU", 0), n.get("GPU", 0)) for n in nodes) or "no node"
    )
    advice = "use a larger cluster, or lower `resources.cpus` or `resources.gpus`"
    if num_fitting_workers:
        # Some workers fit, so a run with fewer workers would fit.
        advice = f"`resources.workers: {num_fitting_workers}` would fit"
    raise ResourceError(f"one run needs {needed}, but the cluster has {available}; {advice}")


def _count_workers_on_node(node: Mapping[str, float], resources: ResourcesConfig) -> int:
    """Return the number of workers of a run that fit on a node; no GPU share spans two GPUs."""
    by_cpu = int((node.get("CPU", 0) + _EPSILON) // resources.cpus)
    if not resources.gpus:
        return by_cpu
    num_gpus = int(node.get("GPU", 0))
    if resources.gpus >= 1:
        by_gpu = int((num_gpus + _EPSILON) // resources.gpus)
    else:
        # Rounded per GPU: three shares of 0.6 need three GPUs, not two.
        by_gpu = num_gpus * int((1 + _EPSILON) // resources.gpus)
    return min(by_cpu, by_gpu)


def _format_resources(cpus: float, gpus: float) -> str:
    """Format numbers of CPUs and GPUs for a message; GPUs are left out if there are none."""
    return f"{cpus:g} CPU, {gpus:g} GPU" if gpus else f"{cpus:g} CPU"
