"""The content digest of a skeleton motion, by which the store recognizes unchanged clips."""

import hashlib

import numpy as np

from kinesweep.core.hashing import to_canonical_json
from kinesweep.sources.base import MediaDigest, SkeletonMotion


def compute_motion_digest(motion: SkeletonMotion) -> MediaDigest:
    """Compute the digest and the size of a clip's motion and its reference motion."""
    digest, num_bytes = hashlib.sha256(), 0
    for pose in (motion.pose, motion.reference_pose):
        if pose is None:
            continue
        # Rate, points and shape are hashed too: equal bytes may stand for different motions.
        properties = [pose.fps, pose.layout.to_json(), list(pose.points_TPJC.shape)]
        digest.update(to_canonical_json(properties).encode())
        for values in (pose.points_TPJC, pose.confidence_TPJ):
            digest.update(np.ascontiguousarray(values).data)
            num_bytes += values.nbytes
    return MediaDigest(digest.hexdigest(), num_bytes)
