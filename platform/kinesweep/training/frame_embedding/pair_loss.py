"""The training loss of a frame embedder on a batch of pairs.

Shapes: B pairs, T frames, D width, E width of an embedding.
"""

from torch import Tensor

from kinesweep.config.embedding_recipe import CarlConfig, TccConfig
from kinesweep.data.pair_sampling import PaddedClips
from kinesweep.models.embedder import FrameEmbedder
from kinesweep.models.losses.cycle_consistency import (
    compute_cycle_classification_loss,
    compute_cycle_regression_loss,
)
from kinesweep.models.losses.sequence_contrastive import compute_sequence_contrastive_loss

# Default λ, as in the experiments of the paper (arXiv 1904.07846, appendix).
_DEFAULT_VARIANCE_WEIGHT = 0.001


def compute_pair_loss(
    config: TccConfig | CarlConfig,
    network: FrameEmbedder,
    first_side: PaddedClips,
    second_side: PaddedClips,
) -> Tensor:
    """Compute the training loss for a batch of pairs.

    Args:
        config: The `embedding` section of the recipe, which selects the loss.
        network: Frame embedder.
        first_side: First clip or view of each pair.
        second_side: Second clip or view of each pair.

    Returns:
        Scalar, the mean over the pairs.
    """
    u_BTE = network(first_side.x_BTD, first_side.mask_BT)
    v_BTE = network(second_side.x_BTD, second_side.mask_BT)
    if isinstance(config, CarlConfig):
        first_sequence = (u_BTE, first_side.mask_BT, first_side.frame_index_BT)
        second_sequence = (v_BTE, second_side.mask_BT, second_side.frame_index_BT)
        return compute_sequence_contrastive_loss(
            *first_sequence, *second_sequence, temperature=config.temperature, sigma=config.sigma
        )
    # The cycle loss is not symmetric, so average both directions.
    forward_cycle = (u_BTE, first_side.mask_BT, v_BTE, second_side.mask_BT, config.temperature)
    backward_cycle = (v_BTE, second_side.mask_BT, u_BTE, first_side.mask_BT, config.temperature)
    if config.cycle == "classification":
        return (
            compute_cycle_classification_loss(*forward_cycle)
            + compute_cycle_classification_loss(*backward_cycle)
        ) / 2
    variance_weight = (
        _DEFAULT_VARIANCE_WEIGHT if config.variance_weight is None else config.variance_weight
    )
    return (
        compute_cycle_regression_loss(*forward_cycle, variance_weight)
        + compute_cycle_regression_loss(*backward_cycle, variance_weight)
    ) / 2
