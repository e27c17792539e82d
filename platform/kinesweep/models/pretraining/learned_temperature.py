"""The learned temperature of contrastive pretraining (CLIP, Radford et al. 2021, 2103.00020)."""

import math

import torch
from torch import Tensor, nn

# Initial temperature and largest factor of CLIP.
_INITIAL_TEMPERATURE, _MAX_SCALE = 0.07, 100.0


class LearnedTemperature(nn.Module):
    """The factor of the similarities, 1 / temperature, learned as its logarithm and clamped.

    Args:
        temperature: Initial temperature.
        max_scale: Largest factor; a larger one would let a few pairs decide the loss.
    """

    def __init__(
        self, temperature: float = _INITIAL_TEMPERATURE, max_scale: float = _MAX_SCALE
    ) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        # Compared as a logarithm, which is what the optimizer changes.
        self.max_log_scale = math.log(max_scale)

    def forward(self) -> Tensor:
        """Return the factor as a scalar, at most `max_scale`."""
        with torch.no_grad():
            # Clamped in place: a clamp in the graph would leave no gradient to come back with.
            self.log_scale.clamp_(max=self.max_log_scale)
        return self.log_scale.exp()
