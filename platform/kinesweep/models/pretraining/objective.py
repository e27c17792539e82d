"""The contract of a pretraining objective.

The training loop knows nothing of masks or texts: it asks an objective for the share of a loss, for
values of validation windows and for the encoder. All randomness of a window comes from its seed, so
the numbers of workers, of accumulated batches and of loader processes do not change it.

Shapes: B windows.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from kinesweep.core.windows.window_batch import WindowBatch
from kinesweep.features.encoders.signhiera import SignHiera

ClipSums = Mapping[str, tuple[float, float]]
"""Clip → sum of a score over its windows or queries, and their number; the ratio of both totals is
the score of validation."""


@dataclass(frozen=True)
class LossShare:
    """The share of one worker's batch in the loss of a step.

    Attributes:
        loss: Share of the loss, a scalar with gradients. The shares of all batches and workers of a
            step add up to the loss, and their gradients to its gradient.
        parts: Name → share of a part of the loss, for logs; without gradients.
    """

    loss: Tensor
    parts: Mapping[str, Tensor]


class PretrainingObjective(nn.Module, ABC):
    """An objective: a module with the encoder and everything that only pretraining needs.

    Attributes:
        encoder: The video model that is pretrained.
        metric: Name of the validation score that selects the best checkpoint.
        lower_is_better: Whether a lower value of that score is better.
    """

    encoder: SignHiera
    metric: str
    lower_is_better: bool

    @abstractmethod
    def forward(self, batch: WindowBatch, num_windows: int) -> LossShare:
        """Compute the share of a batch in the loss of a step.

        Args:
            batch: Training windows of this worker.
            num_windows: Number of windows of the whole step, of all workers.
        """

    @abstractmethod
    def compute_values(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Compute values of validation windows without gradients: name → tensor (B, …)."""

    @abstractmethod
    def compute_scores(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, float]:
        """Compute the scores of validation from the values of all its windows.

        Args:
            values: Name → values of all windows in order, on the CPU; float32 (windows, …).
            clip_ids: Clip of each window.

        Returns:
            Score name → value, with `metric` among them.
        """

    @abstractmethod
    def compute_clip_sums(
        self, values: Mapping[str, Tensor], clip_ids: Sequence[str]
    ) -> dict[str, ClipSums]:
        """Compute the scores of validation that are means, clip by clip, by their names.

        Sweeps resample clips to estimate how far a score depends on their choice.

        Args:
            values: As for `compute_scores`.
            clip_ids: As for `compute_scores`.
        """

    def get_other_weights(self) -> dict[str, Tensor]:
        """Return the weights and buffers outside of the encoder by their names."""
        return {
            name: value
            for name, value in self.state_dict().items()
            # The encoder has a file of its own, which `signhiera` loads.
            if not name.startswith("encoder.")
        }
