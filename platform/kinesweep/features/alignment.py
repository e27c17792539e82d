"""Alignment of a reference motion to the frames of a clip.

`match` takes both motions as frames of equal width and normalization and returns the reference
frames that belong to each clip frame; `apply_alignment` then moves the values of the reference to
the frames of the clip. If DTW assigns several reference frames to a clip frame, the nearest one is
used, and the earliest of equally near ones: the same motion at another speed then has no
difference, whereas the middle frame could be off by one. Outside of a window the end frame is
repeated. Undetected values are excluded from means. A clip of 100 frames with 66 values takes 0.3
ms (`window`), 1.2 ms (`dtw`) or 4 ms (`soft_dtw`) on one core, so alignment runs once, during
extraction, and the result is stored.

Shapes: T frames of the clip, R of the reference, D width, E width of the compared vectors.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.alignment import GAMMA, AlignmentConfig
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.pose import PointLayout
from kinesweep.features.dtw import best_window, dtw, soft_dtw, squared_distances

if TYPE_CHECKING:
    from kinesweep.features.frame_embedder_io import Embedder

# Increase this when the values for an unchanged configuration change.
CODE_VERSION = 1
Frames = NDArray[np.float32]
# For each frame of a clip the index of its reference frame, (T,), or the weights of all reference
# frames, (T, R). The two are told apart by their number of dimensions.
Match = NDArray[np.intp] | NDArray[np.float64]


def match(x_TD: Frames, r_RD: Frames, config: AlignmentConfig) -> Match:
    """Match each frame of a clip with frames of its reference.

    Args:
        x_TD: Frames of the clip, T ≥ 1.
        r_RD: Frames of the reference, R ≥ 1.
        config: Alignment method; with an embedder, embeddings are compared instead of frames.

    Returns:
        Indices (T,) or weights (T, R) of the reference frames.

    Raises:
        CheckpointError: If the embedder's folder does not contain an embedder.
        InputError: If the embedder cannot process such frames or returns non-finite values.
    """
    if config.method == "none":
        return _stretched(len(r_RD), len(x_TD))
    x_TE, r_RE = x_TD, r_RD
    if config.embedder is not None:
        embed = embedder_of(config.embedder)
        x_TE, r_RE = embed(x_TD), embed(r_RD)
        if not (np.isfinite(x_TE).all() and np.isfinite(r_RE).all()):
            raise InputError(
                f"the embedder `{config.embedder}` returns vectors with non-finite values; train"
                " another one with `kinesweep train-embedder`"
            )
    if config.method == "soft_dtw":
        return _weights(x_TE, r_RE, config.gamma or GAMMA)
    return (_shifted if config.method == "window" else _warped)(x_TE, r_RE)


def apply_alignment(
    matched: Match, r_RD: Frames, found_RD: NDArray[np.bool_]
) -> tuple[Frames, NDArray[np.bool_]]:
    """Move the values of a reference to the frames of the clip; the results are copies.

    Args:
        matched: Result of `match`.
        r_RD: Values of the reference.
        found_RD: Mask of the detected values; others are excluded from means.

    Returns:
        Values (T, D) and the mask of the detected ones (T, D).
    """
    if matched.ndim == 1:
        return r_RD[matched], found_RD[matched]
    # Weighted mean over detected values only: each value is divided by the weight of the detected
    # frames, not by the total weight. A value without any detected frame becomes 0.
    seen_TD = matched @ found_RD
    sums_TD = matched @ (r_RD * found_RD)
    x_TD = np.divide(sums_TD, seen_TD, out=np.zeros_like(sums_TD), where=seen_TD > 0)
    return x_TD.astype(np.float32), seen_TD > 0


def alignment_fingerprint(config: AlignmentConfig) -> str:
    """Hash the method, the embedder's network and the version of this code.

    Raises:
        CheckpointError: If the embedder's folder does not contain an embedder.
    """
    # The digest of the network replaces the embedder's path, so a moved folder changes nothing.
    plain = config.model_dump(mode="json", exclude={"embedder"})
    plain["gamma"] = config.gamma or GAMMA
    if config.embedder is not None:
        from kinesweep.features.frame_embedder_io import (
            embedder_digest,  # imports torch, which is slow
        )

        plain["embedder"] = embedder_digest(Path(config.embedder))
    return fingerprint({"config": plain, "code": CODE_VERSION})


def embedder_of(folder: str) -> "Embedder":
    """Load the embedder in a folder; a process reads it again only if it has changed.

    Raises:
        CheckpointError: If there is no embedder or it is damaged.
    """
    from kinesweep.features.frame_embedder_io import embedder_digest

    return _read(folder, embedder_digest(Path(folder)))


def check_embedder(config: SkeletonFeaturesConfig) -> None:
    """Check that the embedder was trained on frames with the same normalization.

    Distances between embeddings of other frames would be meaningless.

    Raises:
        CheckpointError: If the embedder's folder does not contain an embedder.
        InputError: If a setting differs; the message names the first one.
    """
    if config.reference is None or config.reference.embedder is None:
        return
    trained = embedder_of(config.reference.embedder).features
    for key in ("kind", "centre", "scale"):
        wanted = getattr(config, key)
        # Embedders without recorded training features pass; their settings are unknown.
        if key in trained and trained[key] != wanted:
            raise InputError(
                f"the embedder `{config.reference.embedder}` was trained with `features.{key}:"
                f" {trained[key]}`, but the recipe has `{wanted}`; use the same value, or train"
                " another embedder with `kinesweep train-embedder`"
            )


def check_points(config: AlignmentConfig, layout: PointLayout) -> None:
    """Check that the embedder was trained on the same points.

    The width alone does not show this: 22 points × 3 and 33 points × 2 coordinates are both 66.

    Raises:
        CheckpointError: If the embedder's folder does not contain an embedder.
        InputError: If the embedder was trained on other points.
    """
    if config.embedder is None:
        return
    trained = embedder_of(config.embedder).layout
    if trained is not None and trained != layout:
        raise InputError(
            f"the embedder `{config.embedder}` was trained on {_points(trained)}, but the clip has"
            f" {_points(layout)}; train another one on such clips with `kinesweep train-embedder`"
        )


def _points(layout: PointLayout) -> str:
    """Describe a layout for error messages."""
    return "points of " + ", ".join(f"`{name}` ({len(p)})" for name, p in layout.components)


# `digest` serves only as a part of the cache key: a changed embedder is read again.
@lru_cache(maxsize=2)
def _read(folder: str, digest: str) -> "Embedder":
    from kinesweep.features.frame_embedder_io import read_embedder

    del digest
    return read_embedder(Path(folder))


def _shifted(x_TE: Frames, r_RE: Frames) -> NDArray[np.intp]:
    """Return the reference frame of each clip frame, (T,), for the best shift as a whole."""
    offset = best_window(x_TE, r_RE)
    frames_T = np.arange(len(x_TE))
    if len(r_RE) >= len(x_TE):
        return frames_T + offset
    # The reference is shorter: clip frames before and after it take its first or last frame.
    return np.clip(frames_T - offset, 0, len(r_RE) - 1)


def _warped(x_TE: Frames, r_RE: Frames) -> NDArray[np.intp]:
    """Return for each clip frame the nearest of the reference frames on the DTW path, (T,)."""
    path_L2, _ = dtw(x_TE, r_RE)
    clip_L, reference_L = path_L2.T
    apart_L = ((x_TE[clip_L].astype(np.float64) - r_RE[reference_L]) ** 2).sum(axis=1)
    # Sort by clip frame, then distance, then reference frame (lexsort's last key is the primary
    # one). The first entry of each clip frame is then its nearest and earliest reference frame.
    order_L = np.lexsort((reference_L, apart_L, clip_L))
    _, firsts_T = np.unique(clip_L[order_L], return_index=True)
    return np.asarray(reference_L[order_L[firsts_T]])


def _weights(x_TE: Frames, r_RE: Frames, share: float) -> NDArray[np.float64]:
    """Return the soft-DTW weights of all reference frames for each clip frame, (T, R)."""
    # Gamma is relative to the mean distance, so one setting suits features of any scale. If all
    # frames are equal the mean is 0; then gamma has no effect, but must not be 0.
    mean = float(squared_distances(x_TE, r_RE).mean()) or 1.0
    return soft_dtw(x_TE, r_RE, share * mean)[1]


def _stretched(others: int, frames: int) -> NDArray[np.float64]:
    """Return weights (T, R) that stretch the reference linearly to the length of the clip.

    First and last frames coincide; a clip of one frame takes the first frame of the reference.
    """
    place_T = np.linspace(0, others - 1, frames)
    # Linear interpolation: two neighbors share the weight, all other frames have weight 0.
    return np.maximum(0, 1 - np.abs(place_T[:, None] - np.arange(others)))
