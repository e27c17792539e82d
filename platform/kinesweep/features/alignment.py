"""Alignment of a reference motion to the frames of a clip.

`compute_alignment` takes both motions as frames of equal width and normalization and returns the
frames of the reference motion that belong to each clip frame; `apply_alignment` then moves the
values of the reference motion to the frames of the clip. A frame of the reference motion is called
a reference frame below. If DTW assigns several reference frames to a clip frame, the nearest one is
used, and the earliest of equally near ones: the same motion at another speed then has no
difference, whereas the middle frame could be off by one. Outside of a window the end frame is
repeated. Undetected values are excluded from means. A clip of 100 frames with 66 values takes
0.3 ms (`window`), 1.2 ms (`dtw`) or 4 ms (`soft_dtw`) on one core, so alignment runs once, during
extraction, and the result is stored.

Shapes: T frames of the clip, R frames of the reference motion, D width, E width of the compared
vectors, L pairs of a DTW path.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.alignment import DEFAULT_GAMMA, POSITIONAL_METHODS, AlignmentConfig
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.dtw import (
    compute_dtw_path,
    compute_soft_dtw,
    compute_squared_distances,
    find_best_window,
)

if TYPE_CHECKING:
    from kinesweep.features.frame_embedder_io import Embedder

# Increase this when the values for an unchanged configuration change.
CODE_VERSION = 1
Frames = NDArray[np.float32]
# For each frame of a clip the index of its reference frame, (T,), or the weights of all reference
# frames, (T, R). The two are told apart by their number of dimensions.
Alignment = NDArray[np.intp] | NDArray[np.float64]


def compute_alignment(x_TD: Frames, r_RD: Frames, config: AlignmentConfig) -> Alignment:
    """Compute which frames of a reference motion correspond to each frame of a clip.

    Args:
        x_TD: Frames of the clip, T ≥ 1.
        r_RD: Frames of the reference motion, R ≥ 1.
        config: Alignment method; with an embedder, embeddings are compared instead of frames.

    Returns:
        For each clip frame the index of its reference frame, (T,), with most methods, or the
        weights of all reference frames, (T, R), with `soft_dtw` and `none`. With `given`, frame t
        of the reference belongs to frame t of the clip; with `first_frame`, its frame 0 does.

    Raises:
        ClipError: If the numbers of frames differ with `given`; reason `length`.
        CheckpointError: If the embedder's folder does not contain an embedder or it is damaged.
        InputError: If the embedder cannot process such frames or returns non-finite values.
    """
    if config.method in POSITIONAL_METHODS:
        return _align_by_position(len(x_TD), len(r_RD), config.method)
    if config.method == "none":
        return _align_by_stretching(len(r_RD), len(x_TD))
    x_TE, r_RE = x_TD, r_RD
    if config.embedder is not None:
        embed = load_cached_embedder(config.embedder)
        x_TE, r_RE = embed(x_TD), embed(r_RD)
        if not (np.isfinite(x_TE).all() and np.isfinite(r_RE).all()):
            raise InputError(
                f"the embedder `{config.embedder}` returns vectors with non-finite values; train"
                " another one with `kinesweep train-embedder`"
            )
    if config.method == "soft_dtw":
        return _align_by_soft_dtw(x_TE, r_RE, config.gamma or DEFAULT_GAMMA)
    return (_align_by_shift if config.method == "window" else _align_by_dtw)(x_TE, r_RE)


def apply_alignment(
    alignment: Alignment, r_RD: Frames, detected_RD: NDArray[np.bool_]
) -> tuple[Frames, NDArray[np.bool_]]:
    """Resample a reference motion to the frames of the clip; the results are copies.

    Args:
        alignment: Result of `compute_alignment`.
        r_RD: Values of the reference motion.
        detected_RD: Mask of the detected values, True where detected; others are excluded from
            means.

    Returns:
        The resampled values, float32 (T, D), and their mask, bool (T, D), True where at least one
        detected value contributes.
    """
    if alignment.ndim == 1:
        return r_RD[alignment], detected_RD[alignment]
    # Weighted mean over detected values only: each value is divided by the weight of the detected
    # frames, not by the total weight. A value without any detected frame becomes 0.
    detected_weight_TD = alignment @ detected_RD
    weighted_sum_TD = alignment @ (r_RD * detected_RD)
    x_TD = np.divide(
        weighted_sum_TD,
        detected_weight_TD,
        out=np.zeros_like(weighted_sum_TD),
        where=detected_weight_TD > 0,
    )
    return x_TD.astype(np.float32), detected_weight_TD > 0


def compute_alignment_fingerprint(config: AlignmentConfig) -> str:
    """Compute a hash of the alignment config, the embedder's network and the version of this code.

    Raises:
        CheckpointError: If the embedder's folder does not contain an embedder or it is damaged.
    """
    # The digest of the network replaces the embedder's path, so a moved folder changes nothing.
    settings = config.model_dump(mode="json", exclude={"embedder"})
    settings["gamma"] = config.gamma or DEFAULT_GAMMA
    if config.embedder is not None:
        from kinesweep.features.frame_embedder_io import (
            compute_embedder_digest,  # imports torch, which is slow
        )

        settings["embedder"] = compute_embedder_digest(Path(config.embedder))
    return compute_fingerprint({"config": settings, "code": CODE_VERSION})


def load_cached_embedder(folder: str) -> "Embedder":
    """Load the frame embedder in a folder, or return it from the cache if its files are unchanged.

    Each process caches the two embedders that it used last.

    Raises:
        CheckpointError: If there is no embedder or it is damaged.
    """
    from kinesweep.features.frame_embedder_io import compute_embedder_digest

    return _read_cached_embedder(folder, compute_embedder_digest(Path(folder)))


def check_embedder_normalization(config: SkeletonFeaturesConfig) -> None:
    """Check that the embedder was trained on frames with the normalization of the recipe.

    Distances between embeddings of other frames would be meaningless. The check passes if the
    recipe has no embedder, or if the embedder does not record its training features.

    Raises:
        CheckpointError: If the embedder's folder does not contain an embedder or it is damaged.
        InputError: If `kind`, `centre`, `scale` or `missing` differs; the message names the first
            one.
    """
    if config.reference is None or config.reference.embedder is None:
        return
    trained_features = load_cached_embedder(config.reference.embedder).features_config
    if trained_features:  # embedders from before this key were trained on zeros
        trained_features = {"missing": "zero", **trained_features}
    for key in ("kind", "centre", "scale", "missing"):
        expected = getattr(config, key)
        # The mask is no part of what is embedded, so `mask` gives the frames of `zero`.
        expected = "zero" if expected == "mask" else expected
        # Embedders without recorded training features pass; their settings are unknown.
        if key in trained_features and trained_features[key] != expected:
            raise InputError(
                f"the embedder `{config.reference.embedder}` was trained with `features.{key}:"
                f" {trained_features[key]}`, but the recipe has `{expected}`; use the same value,"
                " or train another embedder with"
                " `kinesweep train-embedder`"
            )


def check_embedder_points(config: AlignmentConfig, layout: PointLayout) -> None:
    """Check that the embedder was trained on the points of the clip.

    The width alone does not show this: 22 points × 3 and 33 points × 2 coordinates are both 66. The
    check passes if there is no embedder, or if the embedder does not record its points.

    Raises:
        CheckpointError: If the embedder's folder does not contain an embedder or it is damaged.
        InputError: If the embedder was trained on other points.
    """
    if config.embedder is None:
        return
    trained_layout = load_cached_embedder(config.embedder).layout
    if trained_layout is not None and trained_layout != layout:
        raise InputError(
            f"the embedder `{config.embedder}` was trained on {_describe_layout(trained_layout)},"
            " but the clip has"
            f" {_describe_layout(layout)}; train another one on such clips with `kinesweep"
            " train-embedder`"
        )


def _describe_layout(layout: PointLayout) -> str:
    """Format the names and numbers of points of a layout's components for an error message."""
    components = (f"`{name}` ({len(points)})" for name, points in layout.components)
    return "points of " + ", ".join(components)


# `digest` serves only as a part of the cache key: a changed embedder is read again.
@lru_cache(maxsize=2)
def _read_cached_embedder(folder: str, digest: str) -> "Embedder":
    """Read the embedder in a folder; the result is cached by folder and digest.

    Raises:
        CheckpointError: If there is no embedder or it is damaged.
    """
    from kinesweep.features.frame_embedder_io import read_embedder

    del digest
    return read_embedder(Path(folder))


def _align_by_shift(x_TE: Frames, r_RE: Frames) -> NDArray[np.intp]:
    """Align by one constant shift in time, without changing the speed.

    Returns:
        Index of the reference frame of each clip frame, (T,).
    """
    offset = find_best_window(x_TE, r_RE)
    frames_T = np.arange(len(x_TE))
    if len(r_RE) >= len(x_TE):
        return frames_T + offset
    # The reference motion is shorter: clip frames before and after it take its first or last frame.
    return np.clip(frames_T - offset, 0, len(r_RE) - 1)


def _align_by_dtw(x_TE: Frames, r_RE: Frames) -> NDArray[np.intp]:
    """Align by DTW and use the nearest reference frame that the path assigns to a clip frame.

    Returns:
        Index of the reference frame of each clip frame, (T,).
    """
    path_L2, _ = compute_dtw_path(x_TE, r_RE)
    clip_L, reference_L = path_L2.T
    distances_L = ((x_TE[clip_L].astype(np.float64) - r_RE[reference_L]) ** 2).sum(axis=1)
    # Sort by clip frame, then distance, then reference frame (lexsort's last key is the primary
    # one). The first entry of each clip frame is then its nearest and earliest reference frame.
    sorted_L = np.lexsort((reference_L, distances_L, clip_L))
    _, first_T = np.unique(clip_L[sorted_L], return_index=True)
    return np.asarray(reference_L[sorted_L[first_T]])


def _align_by_soft_dtw(x_TE: Frames, r_RE: Frames, relative_gamma: float) -> NDArray[np.float64]:
    """Align by soft-DTW.

    Args:
        x_TE: Vectors of the clip frames.
        r_RE: Vectors of the reference frames.
        relative_gamma: Smoothing relative to the mean squared distance.

    Returns:
        Weights of the reference frames for each clip frame, (T, R); each row has the sum 1.
    """
    # Gamma is relative to the mean distance, so one setting suits features of any scale. If all
    # frames are equal the mean is 0; then gamma has no effect, but must not be 0.
    mean_distance = float(compute_squared_distances(x_TE, r_RE).mean()) or 1.0
    return compute_soft_dtw(x_TE, r_RE, relative_gamma * mean_distance)[1]


def _align_by_position(
    num_clip_frames: int, num_reference_frames: int, method: str
) -> NDArray[np.intp]:
    """Align frames by their positions alone.

    Args:
        num_clip_frames: Number of frames of the clip, T.
        num_reference_frames: Number of frames of the reference motion, R.
        method: `given` keeps the positions; `first_frame` repeats the first frame.

    Returns:
        Index of the reference frame of each clip frame, (T,).

    Raises:
        ClipError: If the numbers of frames differ with `given`; reason `length`.
    """
    if method == "first_frame":
        return np.zeros(num_clip_frames, np.intp)
    if num_clip_frames != num_reference_frames:
        text = f"it has {num_reference_frames} frames, but the clip has {num_clip_frames}"
        advice = (
            "correct its span (`reference_start`), or align by `features.reference.method: dtw`"
        )
        raise ClipError(f"{text}; `method: given` needs equal numbers: {advice}", "length")
    return np.arange(num_clip_frames)


def _align_by_stretching(num_reference_frames: int, num_clip_frames: int) -> NDArray[np.float64]:
    """Align by stretching the reference motion linearly to the length of the clip.

    First and last frames coincide; a clip of one frame takes the first reference frame.

    Returns:
        Weights of the reference frames for each clip frame, (T, R); each row has the sum 1.
    """
    positions_T = np.linspace(0, num_reference_frames - 1, num_clip_frames)
    # Linear interpolation: two neighbors share the weight, all other frames have weight 0.
    return np.maximum(0, 1 - np.abs(positions_T[:, None] - np.arange(num_reference_frames)))
