"""A skeleton as graphs: who is how many bones away, towards the root or away from it.

The spatial partition of ST-GCN (Yan et al., 2018) with several hops: a point itself, then for each
hop those nearer to the root than it and those as far or further, so 2 · hops + 1 graphs. Trees of
one skeleton do not touch. A stencil of 3 hops spans half a body in one block, at 7 matrices.

Shapes: V points, K graphs.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.skeleton import Skeleton

_APART = np.iinfo(np.int64).max
"""Hops between points of two trees."""


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


def distances(skeleton: Skeleton) -> NDArray[np.int64]:
    """Bones between any two points, int64 (V, V); a huge number between two trees."""
    count = skeleton.num_points
    hops_VV = np.full((count, count), _APART)
    joined_VV = np.zeros((count, count), bool)
    for child, parent in skeleton.bones:
        joined_VV[child, parent] = joined_VV[parent, child] = True
    reached_VV, hop = np.eye(count, dtype=bool), 0
    while (reached_VV & (hops_VV == _APART)).any():
        hops_VV[reached_VV & (hops_VV == _APART)] = hop
        reached_VV, hop = reached_VV @ joined_VV, hop + 1
    return hops_VV


def _depths(skeleton: Skeleton) -> NDArray[np.int64]:
    """Bones between each point and the root of its tree, int64 (V,)."""
    roots = sorted(set(range(skeleton.num_points)) - {child for child, _ in skeleton.bones})
    return distances(skeleton)[:, roots].min(axis=1)
