"""A skeleton as graphs: who is how many bones away, towards the root or away from it.

The spatial partition of ST-GCN (Yan et al., 2018) with several hops: a point itself, then for each
hop those nearer to the root than it and those as far or further, so 2 · hops + 1 graphs. Trees of
one skeleton do not touch. A stencil of 3 hops spans half a body in one block, at 7 matrices.

Shapes: V points, K graphs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from kinesweep.core.skeleton import ROOT, Skeleton


def partition(skeleton: Skeleton, hops: int) -> NDArray[np.float32]:
    """Graphs (K, V, V): what a point (second) takes of each point (third), all in all 1."""
    hops_VV = distances(skeleton)
    depth_V = _depths(skeleton)
    nearer_VV = depth_V[None, :] < depth_V[:, None]
    graphs = [hops_VV == 0]
    for hop in range(1, hops + 1):
        graphs += [(hops_VV == hop) & ~nearer_VV, (hops_VV == hop) & nearer_VV]
    graphs_KVV = np.stack(graphs).astype(np.float32)
    return graphs_KVV / graphs_KVV.sum(axis=(0, 2))[None, :, None]


def distances(skeleton: Skeleton) -> NDArray[np.float64]:
    """Bones between any two points, (V, V); infinity between two trees."""
    count = skeleton.num_points
    children, parents = np.array(skeleton.bones, np.intp).reshape(-1, 2).T
    joined_VV = coo_array((np.ones(len(children)), (children, parents)), shape=(count, count))
    return shortest_path(joined_VV.tocsr(), directed=False, unweighted=True)


def _depths(skeleton: Skeleton) -> NDArray[np.float64]:
    """Bones between each point and the root of its tree, (V,)."""
    roots = [point for point, parent in enumerate(skeleton.parents) if parent == ROOT]
    return distances(skeleton)[:, roots].min(axis=1)
