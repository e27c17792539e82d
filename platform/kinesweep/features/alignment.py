"""A clip's reference, brought to the clip's frames: of each frame the one it is compared with.

Both motions come in as frames of equal width, normalised alike; out goes an array with a frame for
each of the clip's. Where several of the reference's belong to one of the clip's (dtw), the nearest
of them is taken, the earliest of equally near ones: a clip that does the same at another speed then
differs by nothing, where the middle one could be a frame off. Beyond a window's ends the end
frame is held. A clip of 100 frames of 66 values takes 0.3 ms (window), 1.2 ms (dtw), 4 ms
(soft_dtw), on one core; so it is done once, in extraction, and stored.

Shapes: T frames of the clip, R of the reference, D width, E width of what is compared.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.recipe.alignment import GAMMA, AlignmentConfig
from kinesweep.core.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.features.time_warping import best_window, dtw, soft_dtw, squared_distances

if TYPE_CHECKING:
    from kinesweep.features.embedder import Embedder

CODE_VERSION = 1
"""Raised when the numbers of unchanged configurations change."""
Frames = NDArray[np.float32]


def align(x_TD: Frames, r_RD: Frames, config: AlignmentConfig) -> Frames:
    """For every frame of a clip the frame of its reference that belongs to it.

    Args:
        x_TD: the clip, T ≥ 1.
        r_RD: its reference, R ≥ 1.
        config: how they are matched. The frames are compared as they are, or their embeddings.

    Returns:
        aligned_TD: frames of the reference; of `soft_dtw` weighted means of them, of `none` what
            lies between two of them.

    Raises:
        CheckpointError: the embedder's folder is no embedder.
        InputError: the embedder takes no such frames.
    """
    if config.method == "none":
        return _stretched(r_RD, len(x_TD))
    x_TE, r_RE = x_TD, r_RD
    if config.embedder is not None:
        embed = embedder_of(config.embedder)
        x_TE, r_RE = embed(x_TD), embed(r_RD)
    if config.method == "soft_dtw":
        return (_weights(x_TE, r_RE, config.gamma or GAMMA) @ r_RD).astype(np.float32)
    return r_RD[(_shifted if config.method == "window" else _warped)(x_TE, r_RE)]


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


def _stretched(r_RD: Frames, frames: int) -> Frames:
    """Evenly over so many frames, ends on ends; a single frame is the first."""
    place_T = np.linspace(0, len(r_RD) - 1, frames)
    before_T = np.floor(place_T).astype(np.intp)
    after_T = np.minimum(before_T + 1, len(r_RD) - 1)
    share_T1 = (place_T - before_T).astype(np.float32)[:, None]
    return (1 - share_T1) * r_RD[before_T] + share_T1 * r_RD[after_T]
