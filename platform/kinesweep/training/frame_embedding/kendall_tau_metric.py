"""The validation metric of a frame embedder: Kendall's tau between clips of the same motion.

Shapes: T frames, D width, E width of an embedding.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kinesweep.evaluation.kendall_tau import compute_mean_tau, select_clip_pairs
from kinesweep.store.format.reader import Store


class KendallTauMetric:
    """Kendall's tau of embeddings: how well they preserve the temporal order between clips.

    It is the mean over pairs of validation clips that show the same motion.

    Args:
        store: Feature store.
        stream: Name of the feature stream to embed.
        max_pairs: Maximum number of clip pairs.

    Raises:
        InputError: If no two validation clips show the same motion.
    """

    def __init__(self, store: Store, stream: str, max_pairs: int) -> None:
        records = store.get_records("validation")
        pairs = select_clip_pairs(records, max_pairs, "validation")
        # Read each clip once, although it may be part of many pairs.
        record_indices = sorted({index for pair in pairs for index in pair})
        self._pairs = [
            (record_indices.index(first), record_indices.index(second)) for first, second in pairs
        ]
        self._features = [
            np.array(store.get_features(records[index])[stream], np.float32)
            for index in record_indices
        ]
        # The score of the raw features does not change during training.
        self._tau_frames = compute_mean_tau(self._features, self._pairs)

    def __call__(
        self, embed: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> dict[str, float]:
        """Compute Kendall's tau of the embeddings.

        Args:
            embed: Function from the frames (T, D) of a clip to its embeddings (T, E).

        Returns:
            `tau` of the embeddings and, for comparison, `tau_frames` of the raw features, both from
            -1 to 1.
        """
        embeddings = [embed(x_TD) for x_TD in self._features]
        return {"tau": compute_mean_tau(embeddings, self._pairs), "tau_frames": self._tau_frames}
