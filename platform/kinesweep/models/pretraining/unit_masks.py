"""Random choices of one window each: visible mask units and dropped branches, from its seed.

They are drawn on the CPU, so a window has the same mask on every worker and processor.

Shapes: B windows, U mask units of a window, N visible mask units of the window with most of them,
L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinesweep.core.seeds import create_generator


@dataclass(frozen=True)
class UnitMasks:
    """The visible and the hidden mask units of a batch; units of padding are neither.

    Attributes:
        visible_BN: Indices of the visible units in ascending order; padding is 0.
        is_visible_BN: Whether the entry of `visible_BN` is a unit rather than padding.
        is_hidden_BU: Whether a unit is hidden and therefore predicted.
        is_real_BU: Whether a unit lies before the end of its clip.
    """

    visible_BN: Tensor
    is_visible_BN: Tensor
    is_hidden_BU: Tensor
    is_real_BU: Tensor

    def to(self, device: torch.device) -> "UnitMasks":
        """Return the masks on a device."""
        return UnitMasks(*(value.to(device) for value in vars(self).values()))

    @property
    def is_shown(self) -> Tensor:
        """Return whether a unit is visible, (B, U)."""
        return self.is_real_BU & ~self.is_hidden_BU


def draw_unit_masks(
    seeds_B: Sequence[int], num_real_steps_B: Sequence[int], units_per_step: int, mask_ratio: float
) -> UnitMasks:
    """Draw the hidden mask units of each window, a share of those before the end of its clip.

    At least one unit is visible and one hidden.

    Args:
        seeds_B: Seed of each window.
        num_real_steps_B: Number of time steps of each window before the end of its clip.
        units_per_step: Number of mask units of a time step, at least 2.
        mask_ratio: Share of hidden units; 0 hides none.
    """
    num_units = max(num_real_steps_B) * units_per_step
    visible_rows = []
    for seed, num_steps in zip(seeds_B, num_real_steps_B, strict=True):
        num_real = num_steps * units_per_step
        # Units of padding are never drawn, so every window hides the same share of its real ones.
        order = create_generator(seed, "mask").permutation(num_real)
        num_visible = num_real
        if mask_ratio:
            # Rounded down as published. The tolerance keeps 10 · (1 - 0.9) from giving 0.
            num_visible = max(1, min(num_real - 1, int(num_real * (1 - mask_ratio) + 1e-9)))
        # Sorted, so that neighbors in time remain neighbors in memory.
        visible_rows.append(np.sort(order[:num_visible]))
    longest = max(map(len, visible_rows))
    visible_BN = np.zeros((len(visible_rows), longest), np.int64)
    is_visible_BN = np.zeros(visible_BN.shape, bool)
    # All real units at first; the visible ones are taken out below.
    is_hidden_BU = np.arange(num_units) < np.array(num_real_steps_B)[:, None] * units_per_step
    is_real_BU = is_hidden_BU.copy()
    for window, visible in enumerate(visible_rows):
        visible_BN[window, : len(visible)] = visible
        is_visible_BN[window, : len(visible)] = True
        is_hidden_BU[window, visible] = False
    arrays = (visible_BN, is_visible_BN, is_hidden_BU, is_real_BU)
    return UnitMasks(*map(torch.from_numpy, arrays))


def draw_branch_factors(seeds_B: Sequence[int], num_layers: int, drop_path: float) -> Tensor:
    """Draw the factors of stochastic depth: 0 for a dropped branch, else 1 / (1 - rate), (B, L, 2).

    The rate grows linearly from 0 in the first layer to `drop_path` in the last one.

    Args:
        seeds_B: Seed of each window.
        num_layers: Number of layers, L; each has a branch of attention and one of its MLP.
        drop_path: Rate of the last layer.
    """
    rate_L1 = np.linspace(0, drop_path, num_layers)[:, None]
    noise_BL2 = np.stack(
        [create_generator(seed, "drop_path").random((num_layers, 2)) for seed in seeds_B]
    )
    # Kept branches are scaled up, so that the expected output does not change.
    return torch.from_numpy((noise_BL2 >= rate_L1) / (1 - rate_L1)).float()
