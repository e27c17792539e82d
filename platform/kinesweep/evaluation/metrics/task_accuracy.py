"""The accuracy of a side task as a metric of a ranking, which reads the answers of finished runs.

Answers are given to questions and not to a request for a translation, so the texts of a run say
nothing about them. Runs leave the result of each clip beside their predictions.
"""

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics.base import ConfiguredMetric, MetricResult, References, Texts


class TaskAccuracy(ConfiguredMetric):
    """The share of right answers in a side task, in percent: the mean of the clips' results."""

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Raise an error, because translations are no answers.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"`{self.metric}` is a score of answers, which cannot be computed from translations"
        )

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Raise an error, because translations are no answers.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"`{self.metric}` has no results of the clips beside the predictions of a run; train it"
            " with `evaluation.tasks`"
        )

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the accuracy of a set of clips from the sum of their results."""
        return float(summed_statistics[0] / summed_statistics[1])

    def format_settings(self) -> str:
        """Return an empty text: the signature of an evaluation names the seed of the questions."""
        return ""
