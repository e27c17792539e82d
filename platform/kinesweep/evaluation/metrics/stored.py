"""Scores of clips that a run leaves beside its predictions, such as the recall of a retrieval."""

from collections.abc import Sequence

from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics.base import ClipMeanMetric, TextPair


class StoredMetric(ClipMeanMetric):
    """A score of clips that a run computes and leaves beside its predictions.

    Texts alone do not give it: it is a property of the model, such as a recall of retrieval.
    """

    def score_pairs(self, pairs: Sequence[TextPair]) -> list[float]:
        """Raise an error, because the score does not follow from texts.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"`{self.metric}` is computed by the runs that have it and not from texts; the file"
            " `predictions/validation_clip_scores.json` of a run is missing or incomplete"
        )

    def format_settings(self) -> str:
        """Return that the score has no settings."""
        return "stored"
