"""Graph partition of a skeleton: neighbors by number of bones, toward the root or away from it.

This is the spatial partition of ST-GCN (Yan et al., 2018) with several hops: the point itself, then
for each hop the points nearer to the root and those as near or farther, so 2 · hops + 1 graphs.
Separate trees of a skeleton are not connected. With 3 hops one block covers half a body, at the
cost of 7 matrices.

Shapes: V points, S skeleton graphs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from kinesweep.core.skeleton.skeleton import ROOT, Skeleton


def build_graph_partition(skeleton: Skeleton, hops: int) -> NDArray[np.float32]:
    """Build the graphs of a skeleton, float32 (S, V, V) with S = 2 · hops + 1.

    An entry is the weight with which a point (second dimension) receives another (third). The
    weights with which a point receives itself and all others sum to 1 over all graphs.

    Args:
        skeleton: Skeleton of V points.
        hops: Largest number of bones between two points that a graph connects.
    """
    hops_VV = compute_bone_distances(skeleton)
    depth_V = _compute_depths(skeleton)
    nearer_VV = depth_V[None, :] < depth_V[:, None]
    graphs = [hops_VV == 0]
    for hop in range(1, hops + 1):
        graphs += [(hops_VV == hop) & ~nearer_VV, (hops_VV == hop) & nearer_VV]
    graphs_SVV = np.stack(graphs).astype(np.float32)
    # One normalization over all graphs; a graph without neighbors for a point keeps zeros.
    return graphs_SVV / graphs_SVV.sum(axis=(0, 2))[None, :, None]


def compute_bone_distances(skeleton: Skeleton) -> NDArray[np.float64]:
    """Compute the number of bones between any two points, (V, V); infinity between trees."""
    num_points = skeleton.num_points
    children, parents = np.array(skeleton.bones, np.intp).reshape(-1, 2).T
    adjacency_VV = coo_array(
        (np.ones(len(children)), (children, parents)), shape=(num_points, num_points)
    )
    return shortest_path(adjacency_VV.tocsr(), directed=False, unweighted=True)


def _compute_depths(skeleton: Skeleton) -> NDArray[np.float64]:
    """Compute the number of bones from each point to the root of its tree, (V,)."""
    roots = [point for point, parent in enumerate(skeleton.parents) if parent == ROOT]
    # Roots of other trees are infinitely far, so the minimum is that of the point's own tree.
    return compute_bone_distances(skeleton)[:, roots].min(axis=1)
