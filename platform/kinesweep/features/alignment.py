"""A clip's reference, brought to the clip's frames: of each frame the one it is compared with.

Both motions come in as frames of equal width, normalised alike (`match`); out goes which frames of
the reference belong to each of the clip's, over which its values are then carried (`carry`). Where
several belong to one of the clip's (dtw), the nearest of them is taken, the earliest of equally
near ones: a clip that does the same at another speed then differs by nothing, where the middle one
could be a frame off. Beyond a window's ends the end frame is held. Values that were not found are
in no mean. A clip of 100 frames of 66 values takes 0.3 ms (window), 1.2 ms (dtw), 4 ms (soft_dtw),
on one core; so it is done once, in extraction, and stored.

Shapes: T frames of the clip, R of the reference, D width, E width of what is compared.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.pose import PointLayout
from kinesweep.core.recipe.alignment import GAMMA, AlignmentConfig
from kinesweep.core.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.features.time_warping import best_window, dtw, soft_dtw, squared_distances

if TYPE_CHECKING:
    from kinesweep.features.embedder import Embedder

CODE_VERSION = 1
"""Raised when the numbers of unchanged configurations change."""
Frames = NDArray[np.float32]
Match = NDArray[np.intp] | NDArray[np.float64]
"""Of each frame of a clip the reference's, (T,); or how much each of them belongs to it, (T, R)."""


def match(x_TD: Frames, r_RD: Frames, config: AlignmentConfig) -> Match:
    """Which frames of a reference belong to each of a clip's.

    Args:
        x_TD: the clip, T ≥ 1.
        r_RD: its reference, R ≥ 1.
        config: how they are matched: the frames as they are, or their embeddings.

    Raises:
        CheckpointError: the embedder's folder is no embedder.
        InputError: the embedder takes no such frames, or gives no numbers.
    """
    if config.method == "none":
        return _stretched(len(r_RD), len(x_TD))
    x_TE, r_RE = x_TD, r_RD
    if config.embedder is not None:
        embed = embedder_of(config.embedder)
        x_TE, r_RE = embed(x_TD), embed(r_RD)
        if not (np.isfinite(x_TE).all() and np.isfinite(r_RE).all()):
            raise InputError(
                f"the embedder `{config.embedder}` gives vectors that are no finite numbers; train"
                " another with `kinesweep embed`"
            )
    if config.method == "soft_dtw":
        return _weights(x_TE, r_RE, config.gamma or GAMMA)
    return (_shifted if config.method == "window" else _warped)(x_TE, r_RE)


def carry(
    matched: Match, r_RD: Frames, found_RD: NDArray[np.bool_]
) -> tuple[Frames, NDArray[np.bool_]]:
    """A reference's values at the clip's frames, (T, D), and which of them are found; copies.

    Args:
        matched: what `match` gave.
        r_RD: values of the reference.
        found_RD: which of them mean something; others are in no mean.
    """
    if matched.ndim == 1:
        return r_RD[matched], found_RD[matched]
    seen_TD = matched @ found_RD
    sums_TD = matched @ (r_RD * found_RD)
    x_TD = np.divide(sums_TD, seen_TD, out=np.zeros_like(sums_TD), where=seen_TD > 0)
    return x_TD.astype(np.float32), seen_TD > 0


def alignment_fingerprint(config: AlignmentConfig) -> str:
    """Names the method, the embedder's network, wherever it lies, and the version of this code.

    Raises:
        CheckpointError: the embedder's folder is no embedder.
    """
    plain = config.model_dump(mode="json", exclude={"embedder"})
    plain["gamma"] = config.gamma or GAMMA
    if config.embedder is not None:
        from kinesweep.features.embedder import embedder_digest  # torch: only where it is needed

        plain["embedder"] = embedder_digest(Path(config.embedder))
    return fingerprint({"config": plain, "code": CODE_VERSION})


def embedder_of(folder: str) -> "Embedder":
    """The embedder of a folder, read once a process as long as it is the same one.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    from kinesweep.features.embedder import embedder_digest

    return _read(folder, embedder_digest(Path(folder)))


def check_embedder(config: SkeletonFeaturesConfig) -> None:
    """Refuses an embedder of frames that were normalised otherwise: it would compare noise.

    Raises:
        CheckpointError: the embedder's folder is no embedder.
        InputError: with the first setting that differs.
    """
    if config.reference is None or config.reference.embedder is None:
        return
    trained = embedder_of(config.reference.embedder).features
    for key in ("kind", "centre", "scale"):
        wanted = getattr(config, key)
        if key in trained and trained[key] != wanted:
            raise InputError(
                f"the embedder `{config.reference.embedder}` was trained with `features.{key}:"
                f" {trained[key]}`, but the recipe has `{wanted}`; set it alike, or train another"
                " with `kinesweep embed`"
            )


def check_points(config: AlignmentConfig, layout: PointLayout) -> None:
    """Refuses an embedder of other points, which may be as many values a frame: 22 × 3 or 33 × 2.

    Raises:
        CheckpointError: the embedder's folder is no embedder.
        InputError: it was trained on other points.
    """
    if config.embedder is None:
        return
    trained = embedder_of(config.embedder).layout
    if trained is not None and trained != layout:
        raise InputError(
            f"the embedder `{config.embedder}` was trained on {_points(trained)}, but the clip has"
            f" {_points(layout)}; train another on such clips with `kinesweep embed`"
        )


def _points(layout: PointLayout) -> str:
    return "points of " + ", ".join(f"`{name}` ({len(p)})" for name, p in layout.components)


@lru_cache(maxsize=2)
def _read(folder: str, digest: str) -> "Embedder":
    from kinesweep.features.embedder import read_embedder

    del digest
    return read_embedder(Path(folder))


def _shifted(x_TE: Frames, r_RE: Frames) -> NDArray[np.intp]:
    """Of each frame of the clip the reference's, which moves as a whole."""
    offset = best_window(x_TE, r_RE)
    frames_T = np.arange(len(x_TE))
    if len(r_RE) >= len(x_TE):
        return frames_T + offset
    return np.clip(frames_T - offset, 0, len(r_RE) - 1)


def _warped(x_TE: Frames, r_RE: Frames) -> NDArray[np.intp]:
    """Of each frame of the clip the nearest of those that the path matches it with."""
    path_L2, _ = dtw(x_TE, r_RE)
    clip_L, reference_L = path_L2.T
    apart_L = ((x_TE[clip_L].astype(np.float64) - r_RE[reference_L]) ** 2).sum(axis=1)
    order_L = np.lexsort((reference_L, apart_L, clip_L))
    _, firsts_T = np.unique(clip_L[order_L], return_index=True)
    return np.asarray(reference_L[order_L[firsts_T]])


def _weights(x_TE: Frames, r_RE: Frames, share: float) -> NDArray[np.float64]:
    """Of each frame of the clip how much each of the reference's belongs to it, (T, R)."""
    # Where all frames are equal every distance is 0, and so is every cost, whatever gamma.
    mean = float(squared_distances(x_TE, r_RE).mean()) or 1.0
    return soft_dtw(x_TE, r_RE, share * mean)[1]


def _stretched(others: int, frames: int) -> NDArray[np.float64]:
    """So many frames evenly over others, ends on ends; a single one is the first. (T, R)."""
    place_T = np.linspace(0, others - 1, frames)
    return np.maximum(0, 1 - np.abs(place_T[:, None] - np.arange(others)))
