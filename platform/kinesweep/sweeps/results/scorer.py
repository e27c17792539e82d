"""The contract by which the runs of a sweep's finals are compared, whatever they were trained for.

A score is a function of sums over validation clips, so that a bootstrap can resample clips.

Shapes: N clips, K statistics of a clip.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.sweeps.results.ranking import RankingEntry
from kinesweep.sweeps.search.finals import Finalist
from kinesweep.training.run_records.result import RunResult

ResultsByFinalist = Mapping[str, Sequence[RunResult]]
"""Name of a finalist → results of its finished runs."""


class Scorer(Protocol):
    """Scores of the deciding objective."""

    @property
    def num_resamples(self) -> int:
        """Return the number of resamples that a ranking can afford."""

    @property
    def notes(self) -> Sequence[str]:
        """Return what readers must know about the scores of this kind of runs."""

    def compute_score_from_sum(self, total_K: NDArray[np.float64]) -> float:
        """Compute a score from statistics that are summed over clips."""

    def collect_statistics(
        self, finalists: Sequence[Finalist], results: ResultsByFinalist
    ) -> tuple[list[RankingEntry], list[str]]:
        """Collect the statistics of each validation clip for all ranked finalists.

        Finalists that are not ranked or have fewer than two finished seeds are left out.

        Args:
            finalists: Configurations of the finals.
            results: Name of a finalist → results of its finished runs.

        Returns:
            Entries of the ranking, and the document of each clip in the order of the statistics.

        Raises:
            InputError: If the statistics of a run cannot be read or computed.
        """

    def score_baselines(
        self, names: Sequence[str], finalists: Sequence[Finalist], results: ResultsByFinalist
    ) -> dict[str, float]:
        """Compute the scores of baselines that know nothing of the input.

        Args:
            names: Names of the baselines, as in `SearchSpace.sanity_baselines`.
            finalists: Configurations of the finals; those that are not ranked are sanity runs.
            results: Name of a finalist → results of its finished runs.

        Returns:
            Display name → score.
        """
