"""`MetricContract`: what every metric of texts must do."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.evaluation.metrics.base import ConfiguredMetric
from kinesweep.evaluation.metrics.metric_parts import build_metric_part
from kinesweep.testing.parts import PartContract


class MetricContract(PartContract):
    """Checks of a metric.

    Attributes:
        config: An item of `evaluation.extra_metrics`.
        references: Clip id → reference sentences.
        hypotheses: Clip id → texts that differ from the references.
    """

    references: ClassVar[Mapping[str, Sequence[str]]] = {
        "a": ["the cat sits on the mat"],
        "b": ["it rains today", "rain falls today"],
        "c": ["we go home"],
    }
    hypotheses: ClassVar[Mapping[str, str]] = {
        "a": "the dog sits on a mat",
        "b": "snow fell",
        "c": "we go home now",
    }

    def build(self) -> ConfiguredMetric:
        """Build the metric on the CPU."""
        return build_metric_part(self.config, ScoringProtocol(), "cpu")

    def test_scores_are_numbers_and_the_same_twice(self) -> None:
        """Check that a new metric gives the same finite score."""
        score = self.build()(self.hypotheses, self.references)
        assert math.isfinite(score)
        assert score == self.build()(self.hypotheses, self.references)

    def test_the_order_of_clips_does_not_matter(self) -> None:
        """Check that the score is that of clips in another order."""
        metric = self.build()
        reversed_clips = dict(reversed(list(self.hypotheses.items())))
        assert metric(reversed_clips, self.references) == metric(self.hypotheses, self.references)

    def test_a_reference_is_the_best_hypothesis(self) -> None:
        """Check that texts equal to a reference score better, in the stated direction."""
        metric = self.build()
        perfect = metric({i: texts[-1] for i, texts in self.references.items()}, self.references)
        score = metric(self.hypotheses, self.references)
        assert perfect > score if self.config.direction == "max" else perfect < score

    def test_empty_hypotheses_are_scored(self) -> None:
        """Check that an untrained model, which writes nothing, gets a score."""
        assert math.isfinite(self.build()(dict.fromkeys(self.references, ""), self.references))

    def test_the_score_follows_from_statistics_of_clips(self) -> None:
        """Check that bootstrap resamples compute the same score as the corpus."""
        metric = self.build()
        rows = metric.compute_clip_statistics(self.hypotheses, self.references)
        assert len(rows) == len(self.references)
        score = metric.compute_score_from_sum(rows.sum(axis=0))
        # Not bit by bit, since sums are taken in another order.
        assert np.isclose(score, metric(self.hypotheses, self.references), rtol=1e-9)

    def test_the_signature_names_the_package(self) -> None:
        """Check that the signature states package, version and settings."""
        result = self.build().compute(self.hypotheses, self.references)
        assert "|package:" in result.signature
