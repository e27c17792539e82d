"""Numbers of vectors that encoders make of clips, as numbers of the host.

An encoder that defines `count_vectors` says how many vectors it makes of a clip, so the host does
not have to read them from the mask of its output, for which it would wait for the device.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


def knows_vector_counts(encoder: nn.Module) -> bool:
    """Return whether `count_vectors` of an encoder belongs to its `forward`.

    A class of another package may inherit `count_vectors` and override `forward`, so that both
    disagree.
    """
    classes = type(encoder).__mro__
    counts, computes = (
        next((index for index, each in enumerate(classes) if name in vars(each)), len(classes))
        for name in ("count_vectors", "forward")
    )
    return counts <= computes


def count_vectors(encoder: nn.Module, lengths: Sequence[int], mask_BN: Tensor) -> list[int]:
    """Count the vectors that an encoder has made of each clip.

    Args:
        encoder: Encoder.
        lengths: Number of frames of each clip; 0 for a clip without the stream.
        mask_BN: Mask of its output, which is read only if the encoder does not know the counts.
    """
    if not knows_vector_counts(encoder):
        counts: list[int] = mask_BN.sum(dim=1).tolist()
        return counts
    count: Any = encoder.count_vectors
    # A clip without the stream has no vectors, also where points have vectors of their own.
    return [int(count(length)) if length else 0 for length in lengths]
