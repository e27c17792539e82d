"""One criterion of a judge as a metric, for rankings."""

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.evaluation import SCORING_PROTOCOLS
from kinesweep.evaluation.judges.panel import JudgePanel
from kinesweep.evaluation.metrics.base import (
    ConfiguredMetric,
    MetricResult,
    References,
    Texts,
    build_mean_statistics,
)


class JudgeMetric(ConfiguredMetric):
    """One criterion of a judge as a metric; clips without a valid answer have no statistics.

    Args:
        name: Name of the score.
        panel: Judge with its criteria.
    """

    def __init__(self, name: str, panel: JudgePanel) -> None:
        # A judge reads texts with case and punctuation, as a person would.
        super().__init__(name, SCORING_PROTOCOLS["raw"])
        self._panel = panel

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the mean grade with its signature, see `JudgePanel.compute`."""
        return self._panel.compute(hypotheses, references, [self.metric])[self.metric]

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Compute the grade of each clip and the number 1, or zeros without a grade, (clips, 2)."""
        grades = self.compute(hypotheses, references).clip_scores
        assert grades is not None
        return build_mean_statistics(grades, sorted(hypotheses))

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the mean grade of a set of clips from the sum of their statistics."""
        return float(summed_statistics[0] / summed_statistics[1])

    def format_settings(self) -> str:
        """Format the model, the prompt and the sampling settings."""
        return self._panel.format_signature(self.metric).split("|", 2)[2]
