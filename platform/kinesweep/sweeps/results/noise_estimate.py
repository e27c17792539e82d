"""The noise of a ranking: variances between seeds and between sentences, and their sum.

The two variances are added with Satterthwaite's degrees of freedom.

Shapes: R resamples of the sentences.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ErrorVariances(NamedTuple):
    """The variances of a mean or a difference, and their effective degrees of freedom.

    Attributes:
        seeds: Variance that is due to the choice of seeds.
        sentences: Variance that is due to the choice of sentences.
        dof: Satterthwaite's degrees of freedom of their sum.
    """

    seeds: float
    sentences: float
    dof: float


@dataclass(frozen=True)
class NoiseEstimate:
    """The noise of a ranking, from which the errors of means and differences are computed.

    Attributes:
        seed_variance: Variance of a score between seeds, pooled over all configurations.
        seed_dof: Degrees of freedom of `seed_variance`.
        bootstrap_means: Name of a configuration → mean score of each resample (R,).
        sentence_dof: Degrees of freedom of the bootstrap, one less than the number of groups.
        num_entries: Number of configurations in the ranking.
    """

    seed_variance: float
    seed_dof: int
    bootstrap_means: Mapping[str, NDArray[np.float64]]
    sentence_dof: int
    num_entries: int

    def compute_error_variances(
        self, inverse_seed_count: float, resampled_values_R: NDArray[np.float64]
    ) -> ErrorVariances:
        """Compute the error variances of a mean, or of a difference of two means.

        Args:
            inverse_seed_count: 1 / number of seeds, summed over the means involved.
            resampled_values_R: Value of the mean or of the difference in each resample (R,).
        """
        seeds = self.seed_variance * inverse_seed_count
        sentences = float(np.var(resampled_values_R, ddof=1))
        denominator = seeds**2 / max(1, self.seed_dof) + sentences**2 / max(1, self.sentence_dof)
        # Without any noise the formula is 0 / 0.
        dof = (seeds + sentences) ** 2 / denominator if denominator > 0 else float(self.seed_dof)
        return ErrorVariances(seeds, sentences, dof)
